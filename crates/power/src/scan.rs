//! Scanning a device: which outlets it has, found by reading only.
//!
//! Where the device lists its outlets, each of the list is read. Elsewhere outlets are read in order until the device refuses
//! one, answers for one neither on nor off, or the scheme has no more.
//! What ended the scan is part of its result, in the words of the device or the driver: an operator sees whether all
//! outlets were found.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::time_after;
use device_io::address::{self, DeviceUrlError};
use device_io::{Evidence, RunErrorKind};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::drivers::SCHEMES;
use crate::error::{OutletError, OutletErrorKind};
use crate::operate::{PowerContext, PowerRunError, PowerRunErrorKind};
use crate::outlet::{OutletReading, PowerState, Readback};
use crate::outlet_reader::{ListedOutlet, OutletLister, OutletReader, SEARCH_RETRY_TIME};
use crate::parameters::PowerUrlParameters;
use crate::scheme::{DeviceScan, OpenReader, OutletAccess, PowerScheme};
use crate::switching::{PHASE_TRIES, SwitchingRun};
use crate::url::PowerUrl;

/// The longest time that a scan takes: slow devices need a second for each outlet.
pub const MAX_SCAN_TIME: Duration = Duration::from_mins(3);

/// The longest time of a call to a device whose outlets are searched: one that does not speak the scheme may never answer.
const SEARCH_CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest time in which a device lists its outlets.
const MAX_LISTING_TIME: Duration = Duration::from_mins(1);
/// Outlets of a device's list that are read.
const MAX_LISTED_OUTLETS: usize = 256;

/// Kind of URL named in errors.
const URL_KIND: &str = "device";

/// A device whose outlets can be found by reading, described by its URL: `modbus://relay-3.lab?unit=1`.
#[derive(Debug, Clone)]
pub struct ScanUrl {
    url: Url,
    scheme: &'static PowerScheme,
    scan: DeviceScan,
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
    fn open(
        &self,
        reader: Option<OpenReader>,
        access: OutletAccess,
    ) -> Result<Box<dyn OutletReader>, String> {
        match reader {
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
        let first = match scan {
            DeviceScan::InOrder { outlets, .. } => outlets().into_iter().next().map(ListedOutlet::new),
            DeviceScan::Listed { sample, .. } => Some(sample()),
        };
        let first = first.map(|first| outlet_url(&url, &first.path, first.parameter));
        let first = PowerUrl::parse(&first.unwrap_or_default())?;
        if first.capabilities().readback == Readback::None {
            return Err("its outlets are not read (`readback=none`), so they cannot be found".to_owned());
        }
        Ok(Self { url, scheme, scan, first })
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

/// An outlet that was found.
struct FoundOutlet {
    url: String,
    reading: OutletReading,
    /// Why it could not be read, where it could not.
    problem: Option<String>,
}

/// Reads which outlets the device has. Nothing is switched.
///
/// The evidence has `outlets`, each with its power `url` and `observed`, and `ended_by`.
///
/// # Errors
///
/// [`PowerRunError`] when not even the first outlet could be read, or when the device did not list its outlets.
pub async fn scan(
    url: &ScanUrl,
    context: &PowerContext,
    cancel: &CancellationToken,
) -> Result<Evidence, PowerRunError> {
    let mut attempts = 0;
    let mut access = url.first.restrict(context.access());
    let scanned = match url.scan {
        DeviceScan::InOrder { outlets, reader } => {
            // A device with one outlet is read, not searched.
            if outlets().len() > 1 {
                access.call_limit = access.call_limit.min(SEARCH_CALL_TIMEOUT);
            }
            let mut reader = url.open(reader, access).map_err(PowerRunError::misconfigured)?;
            let scanned = read_in_order(url, &outlets(), &mut *reader, cancel).await;
            attempts += reader.attempts();
            scanned
        }
        DeviceScan::Listed { lister, .. } => {
            let parameters = PowerUrlParameters::read(&url.url, url.scheme.parameters);
            let lister = parameters.and_then(|parameters| lister(&url.url, &parameters, &access));
            let mut lister = lister.map_err(PowerRunError::misconfigured)?;
            let mut reader = EachOutlet { url: url.clone(), access, attempts: 0 };
            let scanned = read_listed(url, &mut *lister, &mut reader, cancel).await;
            attempts += lister.attempts() + reader.attempts;
            scanned
        }
    };
    let (found, ended_by) = scanned.map_err(|error| run_error(error, attempts))?;
    let outlets = found.into_iter().map(|FoundOutlet { url, reading, problem }| {
        let mut found =
            json!({ "url": url, "observed": reading.power_state.map_or("unknown", PowerState::name) });
        for (key, text) in [("answer", reading.answer), ("problem", problem)] {
            if let Some(text) = text {
                found[key] = text.into();
            }
        }
        found
    });
    Ok(Evidence::from_iter([
        ("outlets".to_owned(), outlets.collect::<Vec<Value>>().into()),
        ("ended_by".to_owned(), ended_by.into()),
        ("attempts".to_owned(), attempts.into()),
    ]))
}

/// Reads `outlets` in order, and says what ended that.
async fn read_in_order(
    url: &ScanUrl,
    outlets: &[String],
    reader: &mut dyn OutletReader,
    cancel: &CancellationToken,
) -> Result<(Vec<FoundOutlet>, String), OutletError> {
    let mut readings: Vec<OutletReading> = Vec::new();
    let ended_by = loop {
        if readings.len() >= outlets.len() {
            break format!("no more than {} are read", formatting::count(outlets.len(), "outlet"));
        }
        match reader.read_from(readings.len(), cancel).await {
            Ok(more) => readings.extend(more),
            Err(error) if cancel.is_cancelled() => return Err(error),
            Err(error) if readings.is_empty() => return Err(with_scheme(url, error)),
            Err(error) => break error.reason,
        }
    };
    let required = reader.required_parameter();
    let found = outlets.iter().zip(readings).map(|(outlet, reading)| {
        let url = outlet_url(&url.url, outlet, required);
        FoundOutlet { url, reading, problem: None }
    });
    Ok((found.collect(), ended_by))
}

/// Adds to the failure of a device that accepted the connection by which scheme it was asked.
fn with_scheme(url: &ScanUrl, error: OutletError) -> OutletError {
    match error.kind {
        OutletErrorKind::ConnectionLost | OutletErrorKind::AnswerPending | OutletErrorKind::Unconfirmed => {
            let reason = format!(
                "{}; asked by `{}://`: if the device speaks another protocol, scan it by that scheme (`lifeguard power drivers` \
                 lists them)",
                error.reason, url.scheme.name
            );
            OutletError { reason, ..error }
        }
        OutletErrorKind::Local(_)
        | OutletErrorKind::Misconfigured
        | OutletErrorKind::WrongProtocol
        | OutletErrorKind::LeaseExpired
        | OutletErrorKind::NotConnected
        | OutletErrorKind::Refused
        | OutletErrorKind::Cancelled
        | OutletErrorKind::ReadbackDiffers
        | OutletErrorKind::Interrupted => error,
    }
}

/// Reads each outlet that the device lists, and says what ended that.
async fn read_listed(
    url: &ScanUrl,
    lister: &mut dyn OutletLister,
    reader: &mut EachOutlet,
    cancel: &CancellationToken,
) -> Result<(Vec<FoundOutlet>, String), OutletError> {
    let listed = list(lister, &reader.access, cancel).await?;
    let mut found = Vec::new();
    for ListedOutlet { path, parameter } in &listed {
        let url = outlet_url(&url.url, path, *parameter);
        match reader.read(&url, cancel).await {
            Ok(reading) => found.push(FoundOutlet { url, reading, problem: None }),
            // It is one of the device's all the same: a system that is switching, or cannot be switched.
            Err(error)
                if matches!(error.kind, OutletErrorKind::Misconfigured | OutletErrorKind::Unconfirmed) =>
            {
                let reading = OutletReading { power_state: None, answer: error.answer };
                found.push(FoundOutlet { url, reading, problem: Some(error.reason) });
            }
            Err(error) if found.is_empty() || cancel.is_cancelled() => return Err(error),
            Err(error) => return Ok((found, error.reason)),
        }
    }
    let count = formatting::count(listed.len(), "outlet");
    let ended_by = if listed.len() < MAX_LISTED_OUTLETS {
        format!("the device lists {count}")
    } else {
        format!("no more than {count} are read")
    };
    Ok((found, ended_by))
}

/// Asks the device for its outlets, and again where it does not answer.
async fn list(
    lister: &mut dyn OutletLister,
    access: &OutletAccess,
    cancel: &CancellationToken,
) -> Result<Vec<ListedOutlet>, OutletError> {
    let mut last = None;
    for _ in 0..PHASE_TRIES {
        let limit = MAX_LISTING_TIME;
        let listing = access.clock.timeout(limit, lister.list(MAX_LISTED_OUTLETS));
        let listed = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(OutletError::cancelled()),
            listed = listing => listed,
        };
        match listed {
            Some(Ok(outlets)) => return Ok(outlets),
            Some(Err(error))
                if matches!(
                    error.kind,
                    OutletErrorKind::Misconfigured
                        | OutletErrorKind::WrongProtocol
                        | OutletErrorKind::LeaseExpired
                ) =>
            {
                return Err(error);
            }
            Some(Err(error)) => last = Some(error),
            None => {
                let reason =
                    format!("the device did not list its outlets within {}", formatting::duration(limit));
                return Err(OutletError::new(OutletErrorKind::ConnectionLost, reason));
            }
        }
    }
    Err(last.unwrap_or_else(OutletError::cancelled))
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
    // Nobody waits for a device that is scanned, so a scan opens no incident.
    PowerRunError { reason: error.reason, evidence, kind, unreachable: None }
}

/// Reads each outlet by itself.
struct EachOutlet {
    url: ScanUrl,
    access: OutletAccess,
    attempts: u32,
}

impl EachOutlet {
    /// Reads the outlet of a power URL.
    async fn read(&mut self, url: &str, cancel: &CancellationToken) -> Result<OutletReading, OutletError> {
        let url = PowerUrl::parse(url)
            .map_err(|reason| OutletError::new(OutletErrorKind::Misconfigured, reason))?;
        let outlet = url.open(self.access.clone());
        let mut capabilities = url.capabilities();
        capabilities.readback = outlet.readback().unwrap_or(capabilities.readback);
        let mut run = SwitchingRun::new(Arc::clone(&self.access.clock), outlet, capabilities);
        if matches!(self.url.scan, DeviceScan::InOrder { .. }) {
            let retry_for = SEARCH_RETRY_TIME + PHASE_TRIES * capabilities.settle_for;
            run.retry_until = Some(time_after(self.access.clock.now(), retry_for));
        }
        let read = run.observe(cancel).await;
        self.attempts += run.outlet.attempts();
        match read {
            Ok(()) => Ok(OutletReading { power_state: run.observed, answer: run.observed_answer }),
            // The device's words go with a reading that was neither on nor off.
            Err(error) => Err(OutletError { answer: error.answer.clone().or(run.last_answer), ..error }),
        }
    }
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
        let DeviceScan::InOrder { outlets, .. } = self.url.scan else { return Ok(Vec::new()) };
        let outlet = outlets().into_iter().nth(first).unwrap_or_default();
        let url = outlet_url(&self.url.url, &outlet, None);
        Ok(vec![self.read(&url, cancel).await?])
    }
}
