//! Where power is switched: `modbus://relay-3.lab:502/5?unit=1&off=2s`. The scheme says by which driver.

use std::str::FromStr;
use std::time::Duration;

use device_io::address;
use device_io::address::DeviceUrlError;

use crate::drivers::SCHEMES;
use crate::outlet::{ClientCapacity, Outlet, OutletCapabilities};
use crate::parameters::PowerUrlParameters;
use crate::scheme::{OutletAccess, OutletConfig, PowerScheme};

/// The longest time that a power cycle may keep an outlet off.
pub const MAX_OFF_TIME: Duration = Duration::from_secs(50);

/// How long a power cycle keeps an outlet off where nothing is said.
const DEFAULT_OFF_TIME: Duration = Duration::from_secs(2);
/// The longest that keeping an outlet off and the rests of a power cycle may take together: it looks, takes power away and
/// gives it back, and may need a second connection for each, within the minute that a state has for it.
const MAX_CYCLE_TIME: Duration = Duration::from_secs(45);
/// How many rests there are in a power cycle at a device that closes after each answer.
const RESTS_PER_CYCLE: u32 = 5;
/// What a bad URL is said not to be.
const URL_KIND: &str = "power";

/// One outlet, as its URL says.
#[derive(Debug, Clone)]
pub struct PowerUrl {
    scheme: &'static PowerScheme,
    config: OutletConfig,
    off_for: Duration,
}

/// Every scheme of power URLs that there is.
#[must_use]
pub fn schemes() -> &'static [PowerScheme] {
    SCHEMES
}

impl PowerUrl {
    /// Reads a URL that is to be stored. What was stored before is read whatever its times are.
    ///
    /// # Errors
    ///
    /// [`BadUrl`] when it is no power URL, or a power cycle there could never be over in time.
    pub fn read_new(text: &str) -> Result<Self, DeviceUrlError> {
        let url: Self = text.parse()?;
        let together = url.off_for + RESTS_PER_CYCLE * url.capabilities().settle_for;
        if together > MAX_CYCLE_TIME {
            let (together, longest) = (formatting::duration(together), formatting::duration(MAX_CYCLE_TIME));
            let asked_for = if has_rest(url.scheme) {
                format!("`off` and {RESTS_PER_CYCLE} times `rest` are {together} together")
            } else {
                format!("`off` is {together}")
            };
            let problem = format!(
                "{asked_for}, and a power cycle must be over within the minute that its state has: {longest} is the longest"
            );
            return Err(DeviceUrlError::new(text, URL_KIND, problem));
        }
        Ok(url)
    }

    /// The device, where it takes one client at a time: a resource of capacity 1, by name: `modbus://host:port`.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        match self.config.capabilities.client_capacity {
            ClientCapacity::One => Some(&self.config.device),
            ClientCapacity::Many => None,
        }
    }

    /// What is switched and nothing else, in one spelling: `modbus://host:port/5?unit=1`.
    #[must_use]
    pub fn outlet(&self) -> String {
        format!("{}/{}", self.config.device, self.config.outlet)
    }

    /// How long a power cycle keeps it off.
    #[must_use]
    pub fn off_for(&self) -> Duration {
        self.off_for
    }

    /// What the outlet can do and what it needs.
    #[must_use]
    pub fn capabilities(&self) -> OutletCapabilities {
        self.config.capabilities
    }

    /// The outlet; nothing is sent yet.
    #[must_use]
    pub fn open(&self, access: OutletAccess) -> Box<dyn Outlet> {
        (self.config.open)(access)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let url = address::parse(text, &forms())?;
        let scheme = SCHEMES.iter().find(|scheme| scheme.name == url.scheme());
        let scheme =
            scheme.ok_or_else(|| format!("there is no scheme `{}`; write {}", url.scheme(), forms()))?;
        let options = PowerUrlParameters::read(&url, scheme.parameters)?;
        let off_for = options.span("off", MAX_OFF_TIME)?.unwrap_or(DEFAULT_OFF_TIME);
        if off_for.is_zero() {
            return Err("`off` must be longer than nothing, as `off=2s`".to_owned());
        }
        let port = (scheme.parse)(&url, &options)?;
        Ok(Self { scheme, config: port, off_for })
    }
}

/// Whether devices of this scheme may need a rest between connections.
fn has_rest(scheme: &PowerScheme) -> bool {
    scheme.parameters.iter().any(|option| option.name == "rest")
}

/// What to write, by all schemes.
fn forms() -> String {
    SCHEMES.iter().map(PowerScheme::form).collect::<Vec<_>>().join(" or ")
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
    fn every_scheme_has_the_time_that_a_cycle_keeps_off_and_says_what_each_option_is_for() {
        assert_eq!(read("modbus://relay-3.lab/5?off=500ms").off_for(), Duration::from_millis(500));
        assert_eq!(read("modbus://relay-3.lab/5").off_for(), Duration::from_secs(2));
        for (index, scheme) in SCHEMES.iter().enumerate() {
            assert!(SCHEMES[..index].iter().all(|other| other.name != scheme.name), "{}", scheme.name);
            assert!(scheme.parameters.contains(&crate::parameters::OFF_PARAMETER), "{}", scheme.name);
            let help = scheme.help();
            assert!(help.lines().count() == 1 + scheme.parameters.len(), "{help}");
        }
    }

    #[test]
    fn every_scheme_and_option_is_in_the_users_page() {
        let page = include_str!("../../../docs/power.md");
        for scheme in SCHEMES {
            let title = format!("\n## `{}://{}`\n", scheme.name, scheme.path);
            let (_, section) = page.split_once(&title).unwrap_or_else(|| panic!("no section {title}"));
            let section = section.split("\n## ").next().unwrap();
            for option in
                scheme.parameters.iter().filter(|option| **option != crate::parameters::OFF_PARAMETER)
            {
                assert!(
                    section.contains(&format!("| `{}=", option.name)),
                    "{}: {}",
                    scheme.name,
                    option.name
                );
            }
        }
    }

    #[test]
    fn a_bad_power_url_is_refused_with_what_would_be_right() {
        for (text, right) in [
            ("relay-3.lab/5", "modbus://HOST"),
            ("http://relay-3.lab/5", "no scheme `http`; write `modbus://"),
            ("modbus://me:secret@relay-3.lab/5", "no user"),
            ("modbus://relay-3.lab/5#6", "no user"),
            ("modbus://relay-3.lab:65536/5", "modbus://HOST"),
            ("modbus://relay-3.lab/5?off=2", "`off=2s`"),
            ("modbus://relay-3.lab/5?off=0s", "longer than nothing"),
            ("modbus://relay-3.lab/5?off=51s", "50s"),
            ("modbus://relay-3.lab/5?pulse=1s", "`unit`, `invert`, `off`, `rest`, `readback`"),
            ("modbus://relay-3.lab/5?unit=1&unit=2", "give it once"),
        ] {
            let error = text.parse::<PowerUrl>().unwrap_err().to_string();
            assert!(error.contains(right) && error.contains("is not a power URL"), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
