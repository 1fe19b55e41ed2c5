//! Schemes of power URLs: a name, parameters, and a parser.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use device_io::{Credentials, ProcessLease};
use url::Url;

use crate::commands::PowerCommands;
use crate::outlet::{Outlet, OutletCapabilities};
use crate::outlet_reader::{ListedOutlet, OutletLister, OutletReader};
use crate::parameters::{PowerUrlParameters, SchemeParameter};

/// Description and parser of the power URLs of one kind of device.
pub struct PowerScheme {
    /// The scheme of the URL: `modbus`.
    pub(crate) name: &'static str,
    /// The URL between scheme and parameters: `HOST[:502]/COIL`.
    pub(crate) path: &'static str,
    /// Description, one line of help.
    pub(crate) about: &'static str,
    /// A URL of this scheme.
    pub(crate) example: &'static str,
    /// Its parameters, in the order of the help text.
    pub(crate) parameters: &'static [SchemeParameter],
    /// Parses a URL of this scheme, whose parameters have been checked.
    pub(crate) parse: fn(&Url, &PowerUrlParameters) -> Result<OutletConfig, String>,
    /// How the outlets of a device are found by reading; `None` where reading does not tell which it has.
    pub(crate) scan: Option<DeviceScan>,
}

impl PowerScheme {
    /// The scheme of the URL: `modbus`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Description, one line.
    #[must_use]
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// A URL of this scheme.
    #[must_use]
    pub fn example(&self) -> &'static str {
        self.example
    }

    /// Lists its parameters, each with an example value and a description.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        self.parameters.iter().map(|parameter| (parameter.name, parameter.example, parameter.about))
    }

    /// The form of a device's URL without an outlet, `modbus://HOST[:502]`, where its outlets can be found by reading.
    #[must_use]
    pub fn scan_form(&self) -> Option<String> {
        let device = self.path.split('/').next().unwrap_or_default().trim_end_matches('[');
        self.scan.is_some().then(|| format!("{}://{device}", self.name))
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

    /// The form of its URLs without parameters: `modbus://HOST[:502]/COIL`.
    #[must_use]
    pub fn short_form(&self) -> String {
        format!("`{}://{}`", self.name, self.path)
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

/// How the outlets of a device are found by reading.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DeviceScan {
    /// Outlets are read in order until the device refuses one.
    InOrder {
        /// The outlets that a device may have, as in the paths of their URLs.
        outlets: fn() -> Vec<String>,
        /// Creates a reader that reads several of them at once; `None` where each is read as for a power URL.
        reader: Option<OpenReader>,
    },
    /// The device lists its outlets, and each of them is read.
    Listed {
        /// Any outlet, to check the URL of the device by that of an outlet.
        sample: fn() -> ListedOutlet,
        /// Creates what asks the device.
        lister: OpenLister,
    },
}

/// Creates the reader of a device's outlets. Nothing is sent.
pub(crate) type OpenReader =
    fn(&Url, &PowerUrlParameters, OutletAccess) -> Result<Box<dyn OutletReader>, String>;

/// Creates what asks a device for its outlets. Nothing is sent.
pub(crate) type OpenLister =
    fn(&Url, &PowerUrlParameters, &OutletAccess) -> Result<Box<dyn OutletLister>, String>;

impl DeviceScan {
    /// Each outlet is read by itself.
    pub(crate) const fn each_outlet(outlets: fn() -> Vec<String>) -> Self {
        Self::InOrder { outlets, reader: None }
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
