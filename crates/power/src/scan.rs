//! Scanning a device: which outlets it has, found by reading only.
//!
//! Outlets are read in order until the device refuses one, answers for one neither on nor off, or the scheme has no more.
//! What ended the scan is part of its result, in the words of the device or the driver: an operator sees whether all
//! outlets were found.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::Clock;
use device_io::address::{self, DeviceUrlError};
use device_io::{Evidence, RunErrorKind};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::drivers::SCHEMES;
use crate::error::{OutletError, OutletErrorKind};
use crate::operate::{PowerContext, PowerRunError, PowerRunErrorKind};
use crate::outlet::{OutletReading, PowerState, Readback};
use crate::outlet_reader::OutletReader;
use crate::parameters::PowerUrlParameters;
use crate::scheme::{DeviceScan, OutletAccess, PowerScheme};
use crate::switching::SwitchingRun;
use crate::url::PowerUrl;

/// The longest time that a scan takes: slow devices need a second for each outlet.
pub const MAX_SCAN_TIME: Duration = Duration::from_mins(3);

/// Kind of URL named in errors.
const URL_KIND: &str = "device";

/// A device whose outlets can be found by reading, described by its URL: `modbus://relay-3.lab?unit=1`.
#[derive(Debug, Clone)]
pub struct ScanUrl {
    url: Url,
    scheme: &'static PowerScheme,
    scan: DeviceScan,
    outlets: Vec<String>,
    first: PowerUrl,
}

impl ScanUrl {
    /// The resource of the device, if it serves one client at a time.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.first.resource()
    }

    /// The device in canonical spelling: `modbus://relay-3.lab:502`.
    #[must_use]
    pub fn device(&self) -> &str {
        self.first.device()
    }

    /// Creates the reader of its outlets; nothing is sent.
    fn open(&self, access: OutletAccess) -> Result<Box<dyn OutletReader>, String> {
        match self.scan.reader {
            Some(open) => {
                let parameters = PowerUrlParameters::read(&self.url, self.scheme.parameters)?;
                open(&self.url, &parameters, access)
            }
            None => Ok(Box::new(EachOutlet { url: self.clone(), access, attempts: 0 })),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let url = address::parse(text, &forms())?;
        let scheme = SCHEMES.iter().find(|scheme| scheme.name == url.scheme());
        let scheme = scheme.ok_or_else(|| format!("unknown scheme `{}`; write {}", url.scheme(), forms()))?;
        let Some((scan, form)) = scheme.scan.zip(scheme.scan_form()) else {
            return Err(format!(
                "outlets of `{}://` cannot be found by reading; those of {} can",
                scheme.name,
                forms()
            ));
        };
        if !matches!(url.path(), "" | "/") {
            return Err(format!("a scan takes the device alone, without an outlet: `{form}`"));
        }
        let outlets = (scan.outlets)();
        let first = outlets.first().map(|outlet| outlet_url(&url, outlet, None));
        let first = PowerUrl::parse(&first.unwrap_or_default())?;
        if first.capabilities().readback == Readback::None {
            return Err("its outlets are not read (`readback=none`), so they cannot be found".to_owned());
        }
        Ok(Self { url, scheme, scan, outlets, first })
    }
}

impl FromStr for ScanUrl {
    type Err = DeviceUrlError;

    fn from_str(text: &str) -> Result<Self, DeviceUrlError> {
        Self::parse(text).map_err(|problem| DeviceUrlError::new(text, URL_KIND, problem))
    }
}

/// The forms of the URLs of all devices that can be scanned.
fn forms() -> String {
    let forms: Vec<String> = SCHEMES.iter().filter_map(PowerScheme::scan_form).collect();
    forms.iter().map(|form| format!("`{form}`")).collect::<Vec<_>>().join(" or ")
}

/// The power URL of an outlet of the device at `device`.
fn outlet_url(device: &Url, outlet: &str, required: Option<(&str, &str)>) -> String {
    let mut url = device.clone();
    // A device with one outlet has it in no path.
    url.set_path(&if outlet.is_empty() { String::new() } else { format!("/{outlet}") });
    if let Some((name, value)) = required
        && !url.query_pairs().any(|(given, _)| given == name)
    {
        url.query_pairs_mut().append_pair(name, value);
    }
    url.into()
}

/// Reads which outlets the device has. Nothing is switched.
///
/// The evidence has `outlets`, each with its power `url` and `observed`, and `ended_by`.
///
/// # Errors
///
/// [`PowerRunError`] when not even the first outlet could be read.
pub async fn scan(
    url: &ScanUrl,
    context: &PowerContext,
    cancel: &CancellationToken,
) -> Result<Evidence, PowerRunError> {
    let mut reader = url.open(context.access()).map_err(PowerRunError::misconfigured)?;
    let mut readings: Vec<OutletReading> = Vec::new();
    let ended_by = loop {
        if readings.len() >= url.outlets.len() {
            break format!("no more than {} are read", formatting::count(url.outlets.len(), "outlet"));
        }
        match reader.read_from(readings.len(), cancel).await {
            Ok(more) => readings.extend(more),
            Err(error) if readings.is_empty() || cancel.is_cancelled() => {
                return Err(run_error(error, reader.attempts()));
            }
            Err(error) => break error.reason,
        }
    };
    let required = reader.required_parameter();
    let outlets = url.outlets.iter().zip(readings).map(|(outlet, reading)| {
        let mut found = json!({
            "url": outlet_url(&url.url, outlet, required),
            "observed": reading.power_state.map_or("unknown", PowerState::name),
        });
        if let Some(answer) = reading.answer {
            found["answer"] = answer.into();
        }
        found
    });
    Ok(Evidence::from_iter([
        ("outlets".to_owned(), outlets.collect::<Vec<Value>>().into()),
        ("ended_by".to_owned(), ended_by.into()),
        ("attempts".to_owned(), reader.attempts().into()),
    ]))
}

fn run_error(error: OutletError, attempts: u32) -> PowerRunError {
    let mut evidence = Evidence::from_iter([("attempts".to_owned(), attempts.into())]);
    if let Some(answer) = error.answer {
        evidence.insert("answer".to_owned(), answer.into());
    }
    let kind: PowerRunErrorKind = match error.kind {
        OutletErrorKind::Local(trouble) => RunErrorKind::Suspended { trouble, has_acted: false },
        OutletErrorKind::Misconfigured | OutletErrorKind::WrongProtocol => RunErrorKind::Misconfigured,
        OutletErrorKind::LeaseExpired
        | OutletErrorKind::NotConnected
        | OutletErrorKind::Refused
        | OutletErrorKind::Unconfirmed
        | OutletErrorKind::AnswerPending
        | OutletErrorKind::ConnectionLost
        | OutletErrorKind::Cancelled
        | OutletErrorKind::ReadbackDiffers
        | OutletErrorKind::Interrupted => RunErrorKind::Failed,
    };
    PowerRunError { reason: error.reason, evidence, kind }
}

/// Reads each outlet by itself.
struct EachOutlet {
    url: ScanUrl,
    access: OutletAccess,
    attempts: u32,
}

#[async_trait]
impl OutletReader for EachOutlet {
    fn attempts(&self) -> u32 {
        self.attempts
    }

    async fn read_from(
        &mut self,
        first: usize,
        cancel: &CancellationToken,
    ) -> Result<Vec<OutletReading>, OutletError> {
        let outlet = self.url.outlets.get(first).map(String::as_str).unwrap_or_default();
        let url = PowerUrl::parse(&outlet_url(&self.url.url, outlet, None))
            .map_err(|reason| OutletError::new(OutletErrorKind::Misconfigured, reason))?;
        let clock: Arc<dyn Clock> = Arc::clone(&self.access.clock);
        let outlet = url.open(self.access.clone());
        let mut capabilities = url.capabilities();
        capabilities.readback = outlet.readback().unwrap_or(capabilities.readback);
        let mut run = SwitchingRun::new(clock, outlet, capabilities);
        let read = run.observe(cancel).await;
        self.attempts += run.outlet.attempts();
        match read {
            Ok(()) => Ok(vec![OutletReading { power_state: run.observed, answer: run.observed_answer }]),
            // The device's words go with a reading that was neither on nor off.
            Err(error) => Err(OutletError { answer: error.answer.clone().or(run.last_answer), ..error }),
        }
    }
}
