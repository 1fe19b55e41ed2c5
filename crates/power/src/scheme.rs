//! Schemes of power URLs: a name, parameters, and a parser.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use device_io::{Credentials, ProcessLease};
use url::Url;

use crate::commands::PowerCommands;
use crate::outlet::{Outlet, OutletCapabilities};
use crate::parameters::{PowerUrlParameters, SchemeParameter};

/// Description and parser of the power URLs of one kind of device.
pub struct PowerScheme {
    /// The scheme of the URL: `modbus`.
    pub(crate) name: &'static str,
    /// The URL between scheme and parameters: `HOST[:502]/COIL`.
    pub(crate) path: &'static str,
    /// Description, one line of help.
    pub(crate) about: &'static str,
    /// Its parameters, in the order of the help text.
    pub(crate) parameters: &'static [SchemeParameter],
    /// Parses a URL of this scheme, whose parameters have been checked.
    pub(crate) parse: fn(&Url, &PowerUrlParameters) -> Result<OutletConfig, String>,
}

impl PowerScheme {
    /// The scheme of the URL: `modbus`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The form of its URLs: `modbus://HOST[:502]/COIL[?unit=1&off=2s]`.
    #[must_use]
    pub fn form(&self) -> String {
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|parameter| format!("{}={}", parameter.name, parameter.example))
            .collect();
        format!("`{}://{}[?{}]`", self.name, self.path, parameters.join("&"))
    }

    /// Help text: the form, the description, and each parameter.
    #[must_use]
    pub fn help(&self) -> String {
        let parameters = self
            .parameters
            .iter()
            .map(|parameter| format!("\n  {}={}: {}", parameter.name, parameter.example, parameter.about));
        format!("{} {}{}", self.form(), self.about, parameters.collect::<String>())
    }
}

impl fmt::Debug for PowerScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PowerScheme").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a driver needs to reach an outlet.
#[derive(Clone)]
pub struct OutletAccess {
    /// The clock for all its times.
    pub clock: Arc<dyn Clock>,
    /// The lease of this process, which bounds writes.
    pub lease: ProcessLease,
    /// Timeout of one call to its device.
    pub call_limit: Duration,
    /// Whether an earlier run of the same operation was interrupted.
    pub is_resumed: bool,
    /// The credentials that power URLs name.
    pub credentials: Credentials,
    /// The power commands that power URLs name.
    pub commands: PowerCommands,
}

/// One outlet as parsed from its URL, not connected yet.
#[derive(Clone)]
pub(crate) struct OutletConfig {
    /// The device in canonical spelling: `modbus://host:port`.
    pub(crate) device: String,
    /// The outlet in canonical spelling: `5?unit=1`. Two URLs with the same device and outlet name the same outlet.
    pub(crate) outlet: String,
    /// Its capabilities and needs.
    pub(crate) capabilities: OutletCapabilities,
    /// Creates the driver's outlet. Nothing is sent.
    pub(crate) open: Arc<dyn Fn(OutletAccess) -> Box<dyn Outlet> + Send + Sync>,
}

impl fmt::Debug for OutletConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, outlet, capabilities, open: _ } = self;
        f.debug_struct("OutletConfig")
            .field("device", device)
            .field("outlet", outlet)
            .field("capabilities", capabilities)
            .finish_non_exhaustive()
    }
}
