//! What a scheme of power URLs is: a name, its options, and what it makes of a URL.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use device_io::ProcessLease;
use url::Url;

use crate::outlet::{Outlet, OutletCapabilities};
use crate::parameters::{PowerUrlParameters, SchemeParameter};

/// How the power URLs of one kind of device are read.
pub struct PowerScheme {
    /// What its URLs begin with.
    pub(crate) name: &'static str,
    /// What follows the name, up to the options: `HOST[:502]/COIL`.
    pub(crate) path: &'static str,
    /// What it is for, in one line of help.
    pub(crate) about: &'static str,
    /// Its parameters, in the order in which people are told of them.
    pub(crate) parameters: &'static [SchemeParameter],
    /// Reads a URL of this scheme, whose options are known and given once.
    pub(crate) parse: fn(&Url, &PowerUrlParameters) -> Result<OutletConfig, String>,
}

impl PowerScheme {
    /// What its URLs begin with.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What to write: `modbus://HOST[:502]/COIL[?unit=1&off=2s]`.
    #[must_use]
    pub fn form(&self) -> String {
        let options: Vec<_> =
            self.parameters.iter().map(|option| format!("{}={}", option.name, option.example)).collect();
        format!("`{}://{}[?{}]`", self.name, self.path, options.join("&"))
    }

    /// What it is for, what to write, and what each parameter is for.
    #[must_use]
    pub fn help(&self) -> String {
        let options = self
            .parameters
            .iter()
            .map(|option| format!("\n  {}={}: {}", option.name, option.example, option.about));
        format!("{} {}{}", self.form(), self.about, options.collect::<String>())
    }
}

impl fmt::Debug for PowerScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheme").field("name", &self.name).finish_non_exhaustive()
    }
}

/// With what an outlet is reached.
#[derive(Clone)]
pub struct OutletAccess {
    /// What its times run on.
    pub clock: Arc<dyn Clock>,
    /// Until when it may be written to.
    pub lease: ProcessLease,
    /// The longest that one call to its device may take.
    pub call_limit: Duration,
}

/// What a scheme makes of a URL: one outlet, not connected yet.
#[derive(Clone)]
pub(crate) struct OutletConfig {
    /// The device, in one spelling: `modbus://host:port`.
    pub(crate) device: String,
    /// What is switched at the device, in one spelling: `5?unit=1`. Two outlets are one where device and this are the same.
    pub(crate) outlet: String,
    /// What it can do and needs.
    pub(crate) capabilities: OutletCapabilities,
    /// Reaches it. Nothing is sent.
    pub(crate) open: Arc<dyn Fn(OutletAccess) -> Box<dyn Outlet> + Send + Sync>,
}

impl fmt::Debug for OutletConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, outlet, capabilities, open: _ } = self;
        f.debug_struct("Port")
            .field("device", device)
            .field("outlet", outlet)
            .field("capabilities", capabilities)
            .finish_non_exhaustive()
    }
}
