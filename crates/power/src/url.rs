//! Power URLs: `modbus://relay-3.lab:502/5?unit=1&off=2s`. The scheme selects the driver.

use std::str::FromStr;
use std::time::Duration;

use device_io::CredentialName;
use device_io::address;
use device_io::address::DeviceUrlError;

use crate::commands::{COMMANDS_PREFIX, PowerCommands};
use crate::credential::credential_name;
use crate::drivers::SCHEMES;
use crate::outlet::{ClientCapacity, MAX_OFF_TIME, Outlet, OutletCapabilities};
use crate::parameters::{EFFECT_PARAMETER, INVERT_PARAMETER, PowerUrlParameters, REST_PARAMETER};
use crate::scheme::{OutletAccess, OutletConfig, PowerScheme};

/// Default off time of a power cycle.
const DEFAULT_OFF_TIME: Duration = Duration::from_secs(2);
/// The longest sum of off time and settle times in a power cycle. A cycle reads, switches off and switches on, may need
/// a second connection for each, and must finish within the minute that its state allows.
const MAX_CYCLE_TIME: Duration = Duration::from_secs(45);
/// Settle times in one power cycle, at a device that closes after each answer.
const RESTS_PER_CYCLE: u32 = 5;
/// Orders in one power cycle.
const ORDERS_PER_CYCLE: u32 = 2;
/// Kind of URL named in errors.
const URL_KIND: &str = "power";

/// One outlet, described by its URL.
#[derive(Debug, Clone)]
pub struct PowerUrl {
    scheme: &'static PowerScheme,
    config: OutletConfig,
    credential: Option<CredentialName>,
    /// The host of the device; `None` where commands of the server switch it.
    host: Option<String>,
    off_for: Duration,
    is_inverted: bool,
}

/// Returns all schemes of power URLs.
#[must_use]
pub fn schemes() -> &'static [PowerScheme] {
    SCHEMES
}

impl PowerUrl {
    /// Parses a URL before it is stored. Stored URLs are parsed without the check of their times.
    ///
    /// # Errors
    ///
    /// [`DeviceUrlError`] when it is not a power URL, or when a power cycle could never finish in time.
    pub fn read_new(text: &str) -> Result<Self, DeviceUrlError> {
        let url: Self = text.parse()?;
        let OutletCapabilities { settle_for, effect_within, .. } = url.capabilities();
        let total = url.off_for + RESTS_PER_CYCLE * settle_for + ORDERS_PER_CYCLE * effect_within;
        if total > MAX_CYCLE_TIME {
            let (total, max) = (formatting::duration(total), formatting::duration(MAX_CYCLE_TIME));
            let mut parts = vec!["`off`".to_owned()];
            for (parameter, times) in
                [(REST_PARAMETER, RESTS_PER_CYCLE), (EFFECT_PARAMETER, ORDERS_PER_CYCLE)]
            {
                if url.scheme.parameters.iter().any(|known| known.name == parameter.name) {
                    parts.push(format!("{times} times `{}`", parameter.name));
                }
            }
            let verb = if parts.len() == 1 { "is" } else { "add up to" };
            let problem = format!(
                "{} {verb} {total}, but a power cycle must finish within the minute that its state allows: the maximum is {max}",
                parts.join(" and ")
            );
            return Err(DeviceUrlError::new(text, URL_KIND, problem));
        }
        Ok(url)
    }

    /// The resource of the device, `modbus://host:port`, if the device serves one client at a time.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        match self.config.capabilities.client_capacity {
            ClientCapacity::One => Some(&self.config.device),
            ClientCapacity::Many => None,
        }
    }

    /// The device in canonical spelling: `modbus://host:port`.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.config.device
    }

    /// The outlet in canonical spelling, without other parameters: `modbus://host:port/5?unit=1`.
    #[must_use]
    pub fn outlet(&self) -> String {
        format!("{}/{}", self.config.device, self.config.outlet)
    }

    /// Whether the URL can say to which contact of a relay the board is wired, by `invert`.
    #[must_use]
    pub fn has_wiring(&self) -> bool {
        self.scheme.parameters.iter().any(|known| known.name == INVERT_PARAMETER.name)
    }

    /// Whether the board has power while the relay is off.
    #[must_use]
    pub fn is_inverted(&self) -> bool {
        self.is_inverted
    }

    /// The credential that the outlet needs, if its URL names one.
    #[must_use]
    pub fn credential(&self) -> Option<&CredentialName> {
        self.credential.as_ref()
    }

    /// The off time of a power cycle.
    #[must_use]
    pub fn off_for(&self) -> Duration {
        self.off_for
    }

    /// The capabilities and needs of the outlet.
    #[must_use]
    pub fn capabilities(&self) -> OutletCapabilities {
        self.config.capabilities
    }

    /// Says what is wrong where the URL names commands that are not among `commands`, or that do not fit it.
    #[must_use]
    pub fn commands_problem(&self, commands: &PowerCommands) -> Option<String> {
        let OutletConfig { device, outlet, .. } = &self.config;
        let name = device.strip_prefix(COMMANDS_PREFIX)?;
        commands.find(name, Some(outlet.as_str()).filter(|outlet| !outlet.is_empty())).err()
    }

    /// Creates the driver's outlet; nothing is sent yet.
    #[must_use]
    pub fn open(&self, access: OutletAccess) -> Box<dyn Outlet> {
        (self.config.open)(self.restrict(access))
    }

    /// Restricts the credentials to those that may be sent to the device.
    pub(crate) fn restrict(&self, access: OutletAccess) -> OutletAccess {
        let credentials = match &self.host {
            Some(host) => access.credentials.for_host(host),
            None => access.credentials.clone(),
        };
        OutletAccess { credentials, ..access }
    }

    /// Parses a URL; the error is the problem alone.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = address::parse(text, &forms(text))?;
        let scheme = SCHEMES.iter().find(|scheme| scheme.name == url.scheme());
        let scheme =
            scheme.ok_or_else(|| format!("unknown scheme `{}`; write {}", url.scheme(), forms(text)))?;
        let parameters = PowerUrlParameters::read(&url, scheme.parameters)?;
        let off_for = parameters.span("off", MAX_OFF_TIME)?.unwrap_or(DEFAULT_OFF_TIME);
        if off_for.is_zero() {
            return Err("`off` must be longer than 0s, for example `off=2s`".to_owned());
        }
        let config = (scheme.parse)(&url, &parameters)?;
        let total = off_for + ORDERS_PER_CYCLE * config.capabilities.effect_within;
        if total > MAX_OFF_TIME {
            let (total, max) = (formatting::duration(total), formatting::duration(MAX_OFF_TIME));
            return Err(format!(
                "`off` and {ORDERS_PER_CYCLE} times `effect` are {total}; the maximum is {max}"
            ));
        }
        let credential = credential_name(&parameters)?;
        let host = address::host(&url).ok();
        let is_inverted = parameters.flag(INVERT_PARAMETER.name)?;
        Ok(Self { scheme, config, credential, host, off_for, is_inverted })
    }
}

/// The form of the scheme that `text` begins with; the short forms of all schemes where it begins with none.
fn forms(text: &str) -> String {
    let (name, _) = text.split_once(':').unwrap_or_default();
    match SCHEMES.iter().find(|scheme| scheme.name.eq_ignore_ascii_case(name)) {
        Some(scheme) => scheme.form(),
        None => SCHEMES.iter().map(PowerScheme::short_form).collect::<Vec<_>>().join(" or "),
    }
}

impl FromStr for PowerUrl {
    type Err = DeviceUrlError;

    fn from_str(text: &str) -> Result<Self, DeviceUrlError> {
        Self::parse(text).map_err(|problem| DeviceUrlError::new(text, URL_KIND, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> PowerUrl {
        text.parse().unwrap()
    }

    #[test]
    fn one_relay_board_is_one_resource_however_it_is_written() {
        let resource = |text| read(text).resource().map(str::to_owned);
        for text in ["modbus://RELAY.lab/1", "modbus://relay.lab.:502/2?unit=3", "MODBUS://relay.LAB:0502/3"]
        {
            assert_eq!(resource(text).as_deref(), Some("modbus://relay.lab:502"));
        }
        for text in ["modbus://[::1]/1", "modbus://[0:0::1]:502/2"] {
            assert_eq!(resource(text).as_deref(), Some("modbus://[::1]:502"));
        }
        assert_ne!(resource("modbus://relay.lab:503/1"), resource("modbus://relay.lab/1"));
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
    fn a_power_cycle_that_cannot_finish_in_time_is_refused_but_parsed_when_already_stored() {
        for (query, expected) in [("off=50s", "add up to 50s"), ("off=30s&rest=4s", "add up to 50s")] {
            let text = format!("modbus://relay-3.lab/5?{query}");
            let error = PowerUrl::read_new(&text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("the maximum is 45s"), "{error}");
            read(&text);
        }
        for query in ["off=45s", "off=20s&rest=5s"] {
            PowerUrl::read_new(&format!("modbus://relay-3.lab/5?{query}")).unwrap();
        }
    }

    #[test]
    fn every_scheme_has_an_off_time_and_describes_each_parameter() {
        assert_eq!(read("modbus://relay-3.lab/5?off=500ms").off_for(), Duration::from_millis(500));
        assert_eq!(read("modbus://relay-3.lab/5").off_for(), Duration::from_secs(2));
        for (index, scheme) in SCHEMES.iter().enumerate() {
            assert!(SCHEMES[..index].iter().all(|other| other.name != scheme.name), "{}", scheme.name);
            assert!(scheme.parameters.contains(&crate::parameters::OFF_PARAMETER), "{}", scheme.name);
            let example = PowerUrl::read_new(scheme.example).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(example.scheme.name, scheme.name);
            let help = scheme.help();
            assert!(help.lines().count() == 1 + scheme.parameters.len(), "{help}");
        }
    }

    #[test]
    fn every_scheme_and_parameter_is_documented_in_power_md() {
        let page = include_str!("../../../docs/power.md");
        for scheme in SCHEMES {
            // Schemes with and without TLS share a section.
            let name = format!("`{}://{}`", scheme.name, scheme.path);
            let is_titled =
                |section: &&str| section.lines().next().is_some_and(|title| title.contains(&name));
            let section = page.split("\n## ").skip(1).find(is_titled);
            let section = section.unwrap_or_else(|| panic!("no section {name}"));
            for parameter in
                scheme.parameters.iter().filter(|parameter| **parameter != crate::parameters::OFF_PARAMETER)
            {
                assert!(
                    section.contains(&format!("| `{}=", parameter.name)),
                    "{}: {}",
                    scheme.name,
                    parameter.name
                );
            }
        }
    }

    #[test]
    fn a_bad_power_url_is_refused_with_the_right_form() {
        for (text, right) in [
            ("relay-3.lab/5", "modbus://HOST"),
            ("ftp://relay-3.lab/5", "unknown scheme `ftp`; write `modbus://"),
            ("modbus://me:secret@relay-3.lab/5", "`#…`; write `modbus://HOST[:502]/COIL[?unit=1"),
            ("modbus://relay-3.lab/5#6", "no user"),
            ("modbus://relay-3.lab:65536/5", "modbus://HOST"),
            ("modbus://relay-3.lab/5?off=2", "`off=2s`"),
            ("modbus://relay-3.lab/5?off=0s", "longer than 0s"),
            ("modbus://relay-3.lab/5?off=51s", "50s"),
            ("modbus://relay-3.lab/5?pulse=1s", "`unit`, `invert`, `off`, `rest`, `readback`, `framing`"),
            ("modbus://relay-3.lab/5?unit=1&unit=2", "give it once"),
        ] {
            let error = text.parse::<PowerUrl>().unwrap_err().to_string();
            assert!(error.contains(right) && error.contains("is not a power URL"), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
