//! Where a board's power is switched: `modbus://relay-3.lab:502/5?unit=1&invert=true&off=2s&rest=1s&readback=all8`.

use std::str::FromStr;
use std::time::Duration;

use crate::action::address::{self, BadUrl};
use crate::machine::parse_span;

/// The longest time that a power cycle may keep a board off.
pub const MAX_OFF: Duration = Duration::from_secs(50);
/// The longest rest that a relay board may ask for after a connection.
pub const MAX_REST: Duration = Duration::from_secs(5);

/// The longest that keeping a board off and the rests of a power cycle may take together: it looks, takes power away and gives
/// it back, and may need a second connection for each, within the minute that a state has for it.
const MAX_CYCLE: Duration = Duration::from_secs(45);
/// How many rests there are in a power cycle at a relay board that closes after each answer.
const RESTS: u32 = 5;

const FORM: &str = "`modbus://HOST[:502]/COIL[?unit=1&invert=true&off=2s&rest=1s&readback=all8]`";
/// Source: Modbus Messaging on TCP/IP Implementation Guide 1.0b, 4.2: the registered port.
const PORT: u16 = 502;

/// How a coil is read back after it was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Readback {
    /// Alone: `readback=coil`.
    #[default]
    Coil,
    /// With its bank of eight, for relay boards that read no fewer: `readback=all8`.
    Bank,
    /// Not at all, for relay boards that cannot: `readback=none`. What was written is then accepted and not observed.
    None,
}

/// One board's power: a coil of a relay board that speaks Modbus TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerUrl {
    /// The relay board's name or address; an IPv6 address is without brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The coil's address as it is on the wire, from 0.
    pub coil: u16,
    /// The Modbus unit that has the coil: 1 to 247, or 255 for the relay board itself.
    pub unit: u8,
    /// Whether the board has power while the coil is off (it is wired to the normally closed contact).
    pub is_inverted: bool,
    /// How long a power cycle keeps the board off.
    pub off_for: Duration,
    /// How long the relay board needs after a connection before it takes the next one.
    pub rest_for: Duration,
    /// How the coil is read back.
    pub readback: Readback,
}

impl PowerUrl {
    /// Reads a URL that is to be stored. What was stored before is read whatever its times are.
    ///
    /// # Errors
    ///
    /// [`BadUrl`] when it is no power URL, or a power cycle there could never be over in time.
    pub fn read_new(text: &str) -> Result<Self, BadUrl> {
        let url: Self = text.parse()?;
        let together = url.off_for + RESTS * url.rest_for;
        if together > MAX_CYCLE {
            let (together, longest) =
                (humantime::format_duration(together), humantime::format_duration(MAX_CYCLE));
            let problem = format!(
                "`off` and {RESTS} times `rest` are {together} together, and a power cycle must be over within the minute \
                 that its state has: {longest} is the longest"
            );
            return Err(BadUrl::new(text, "power", problem));
        }
        Ok(url)
    }

    /// What only one operation may hold at a time: the relay board, `modbus://host:port`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("modbus://{}", self.authority())
    }

    /// What switches this board and no other, in one spelling: `modbus://host:port/COIL?unit=N`.
    #[must_use]
    pub fn outlet(&self) -> String {
        format!("{}/{}?unit={}", self.place(), self.coil, self.unit)
    }

    /// The relay board as people write it: `host:port`.
    #[must_use]
    pub fn authority(&self) -> String {
        address::authority(&self.host, self.port)
    }

    /// What is read to see the coil: the first coil, and how many.
    #[must_use]
    pub(super) fn bank(&self) -> (u16, u8) {
        match self.readback {
            Readback::Bank => (self.coil & !7, 8),
            Readback::Coil | Readback::None => (self.coil, 1),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let url = address::parse(text, FORM)?;
        if url.scheme() != "modbus" {
            return Err(format!("there is no scheme `{}`; write {FORM}", url.scheme()));
        }
        let port = url.port().unwrap_or(PORT);
        if port == 0 {
            return Err("there is no port 0; a port is 1 to 65535".to_owned());
        }
        let coil = url.path().strip_prefix('/').unwrap_or_default();
        let coil =
            number(coil).ok_or_else(|| format!("`{coil}` is no coil; a coil is 0 to 65535: {FORM}"))?;
        let mut power = Self {
            host: address::host(&url)?,
            port,
            coil,
            unit: 1,
            is_inverted: false,
            off_for: Duration::from_secs(2),
            rest_for: Duration::ZERO,
            readback: Readback::Coil,
        };
        let mut seen = Vec::new();
        for (name, value) in url.query_pairs() {
            power.set(&name, &value)?;
            if seen.contains(&name) {
                return Err(format!("`{name}` is given twice; give it once"));
            }
            seen.push(name);
        }
        Ok(power)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "unit" => self.unit = unit(value)?,
            "invert" => {
                self.is_inverted =
                    value.parse().map_err(|_| format!("`invert={value}`: it is `true` or `false`"))?;
            }
            "off" => {
                self.off_for = span(name, value, MAX_OFF)?;
                if self.off_for.is_zero() {
                    return Err("`off` must be longer than nothing, as `off=2s`".to_owned());
                }
            }
            "rest" => self.rest_for = span(name, value, MAX_REST)?,
            "readback" => {
                self.readback = match value {
                    "coil" => Readback::Coil,
                    "all8" => Readback::Bank,
                    "none" => Readback::None,
                    _ => {
                        return Err(format!(
                            "`readback={value}`: it is `coil`, `all8` for a relay board that reads only whole banks of \
                             eight, or `none` for one that cannot be read"
                        ));
                    }
                };
            }
            _ => {
                return Err(format!(
                    "there is no parameter `{name}`; there are `unit`, `invert`, `off`, `rest`, `readback`"
                ));
            }
        }
        Ok(())
    }
}

impl FromStr for PowerUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        Self::parse(text).map_err(|problem| BadUrl::new(text, "power", problem))
    }
}

/// Reads plain digits: a sign is no part of a coil or a unit.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Source: Modbus over Serial Line 1.02, 2.2: 0 is broadcast, 1 to 247 are units, 248 to 255 are reserved; Modbus
/// Messaging on TCP/IP Implementation Guide 1.0b, 4.4.2: 255 addresses the device itself. 0 may do that as well, but
/// behind a gateway it switches the coil of *every* unit, so it is refused.
fn unit(value: &str) -> Result<u8, String> {
    match number(value) {
        Some(0) => {
            Err("`unit=0` is a broadcast to all units behind a gateway; write 1 to 247, or 255 for the \
                        relay board itself"
                .to_owned())
        }
        Some(unit @ (1..=247 | 255)) => Ok(unit),
        _ => Err(format!("`unit={value}`: a unit is 1 to 247, or 255 for the relay board itself")),
    }
}

fn span(name: &str, value: &str, longest: Duration) -> Result<Duration, String> {
    let longest_text = humantime::format_duration(longest);
    let span = parse_span(value).map_err(|error| {
        format!("`{name}={value}` is no time: {error}; write it as `{name}=2s` or `{name}=500ms`")
    })?;
    if span > longest {
        return Err(format!("`{name}={value}` is too long; the longest is {longest_text}"));
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> PowerUrl {
        text.parse().unwrap()
    }

    #[test]
    fn every_part_of_a_power_url_is_read() {
        let power =
            read("modbus://Relay-3.Lab:1502/65535?unit=247&invert=true&off=500ms&rest=1s&readback=all8");
        let expected = PowerUrl {
            host: "relay-3.lab".to_owned(),
            port: 1502,
            coil: 65535,
            unit: 247,
            is_inverted: true,
            off_for: Duration::from_millis(500),
            rest_for: Duration::from_secs(1),
            readback: Readback::Bank,
        };
        assert_eq!((power.bank(), &power), ((65528, 8), &expected));
        let plain = read("modbus://relay-3.lab/0");
        assert_eq!((plain.port, plain.coil, plain.unit, plain.is_inverted), (502, 0, 1, false));
        assert_eq!((plain.off_for, plain.rest_for), (Duration::from_secs(2), Duration::ZERO));
        assert_eq!(read("modbus://relay-3.lab/0?unit=255").unit, 255);
        assert_eq!((plain.readback, plain.bank()), (Readback::Coil, (0, 1)));
        assert_eq!(read("modbus://relay-3.lab/9?readback=coil"), read("modbus://relay-3.lab/9"));
        assert_eq!(read("modbus://relay-3.lab/9?readback=none").readback, Readback::None);
    }

    #[test]
    fn one_relay_board_is_one_place_however_it_is_written() {
        for text in ["modbus://RELAY.lab/1", "modbus://relay.lab.:502/2?unit=3", "MODBUS://relay.LAB:0502/3"]
        {
            assert_eq!(read(text).place(), "modbus://relay.lab:502");
        }
        for text in ["modbus://[::1]/1", "modbus://[0:0::1]:502/2"] {
            assert_eq!(read(text).place(), "modbus://[::1]:502");
            assert_eq!(read(text).host, "::1");
        }
        assert_ne!(read("modbus://relay.lab:503/1").place(), read("modbus://relay.lab/1").place());
    }

    #[test]
    fn one_coil_is_one_outlet_however_it_is_written() {
        for text in [
            "modbus://RELAY.lab/5",
            "modbus://relay.lab.:502/05?unit=1&off=9s",
            "modbus://relay.lab/5?invert=true",
        ] {
            assert_eq!(read(text).outlet(), "modbus://relay.lab:502/5?unit=1");
        }
        for text in ["modbus://relay.lab/6", "modbus://relay.lab/5?unit=2", "modbus://relay.lab:503/5"] {
            assert_ne!(read(text).outlet(), "modbus://relay.lab:502/5?unit=1", "{text}");
        }
    }

    #[test]
    fn a_power_cycle_that_could_never_be_over_in_time_is_refused_and_read_where_it_was_stored() {
        for (query, told) in [("off=50s", "are 50s together"), ("off=30s&rest=4s", "are 50s together")] {
            let text = format!("modbus://relay-3.lab/5?{query}");
            let error = PowerUrl::read_new(&text).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("45s is the longest"), "{error}");
            read(&text);
        }
        for query in ["off=45s", "off=20s&rest=5s"] {
            PowerUrl::read_new(&format!("modbus://relay-3.lab/5?{query}")).unwrap();
        }
    }

    #[test]
    fn a_bad_power_url_is_refused_with_what_would_be_right() {
        for (text, right) in [
            ("relay-3.lab/5", "modbus://HOST"),
            ("http://relay-3.lab/5", "no scheme `http`; write `modbus://"),
            ("modbus://relay-3.lab", "0 to 65535"),
            ("modbus://relay-3.lab/65536", "0 to 65535"),
            ("modbus://relay-3.lab/+5", "0 to 65535"),
            ("modbus://relay-3.lab/5/6", "0 to 65535"),
            ("modbus:///5", "a host is a name"),
            ("modbus://re%20lay/5", "a host is a name"),
            ("modbus://relay-3.lab:0/5", "1 to 65535"),
            ("modbus://relay-3.lab:65536/5", "modbus://HOST"),
            ("modbus://me:secret@relay-3.lab/5", "no user"),
            ("modbus://relay-3.lab/5#6", "no user"),
            ("modbus://relay-3.lab/5?unit=0", "1 to 247, or 255"),
            ("modbus://relay-3.lab/5?unit=248", "1 to 247, or 255"),
            ("modbus://relay-3.lab/5?invert=yes", "`true` or `false`"),
            ("modbus://relay-3.lab/5?off=2", "`off=2s`"),
            ("modbus://relay-3.lab/5?off=0s", "longer than nothing"),
            ("modbus://relay-3.lab/5?off=51s", "50s"),
            ("modbus://relay-3.lab/5?rest=6s", "5s"),
            ("modbus://relay-3.lab/5?readback=8", "`coil`, `all8`"),
            ("modbus://relay-3.lab/5?pulse=1s", "`unit`, `invert`, `off`, `rest`, `readback`"),
            ("modbus://relay-3.lab/5?unit=1&unit=2", "give it once"),
        ] {
            let error = text.parse::<PowerUrl>().unwrap_err().to_string();
            assert!(error.contains(right) && error.contains("is not a power URL"), "{text}: {error}");
        }
    }
}
