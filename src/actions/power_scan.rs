//! Which outlets a device has, found by reading only.

use std::sync::Arc;
use std::time::Duration;

use ::power::{DEFAULT_CALL_TIMEOUT, MAX_SCAN_TIME, PowerContext, PowerSettings, ScanUrl, scan};
use async_trait::async_trait;
use device_io::DeviceUrlError;
use tokio_util::sync::CancellationToken;

use super::ending::{Evidence, UnfinishedAction};
use super::job::{Facts, Job};
use super::kind::{ActionDescription, ResourceClaim, TypedActionKind};
use super::settings::NoSettings;
use super::trouble::Trouble;
use crate::machine::SimulatedAction;

/// The fact with the URL of the device.
const SCAN_URL: &str = "scan_url";

/// Reads which outlets a device has.
#[derive(Debug, Clone)]
pub struct PowerScanAction {
    settings: PowerSettings,
}

impl PowerScanAction {
    /// The kind of action. URLs of devices can name these settings: credentials.
    #[must_use]
    pub fn new(settings: PowerSettings) -> Self {
        Self { settings }
    }
}

#[async_trait]
impl TypedActionKind for PowerScanAction {
    type Settings = NoSettings;

    fn description(&self) -> ActionDescription {
        ActionDescription {
            facts: &[SCAN_URL],
            simulation: SimulatedAction::of_resource(),
            ..ActionDescription::new(
                "power-scan",
                "Reads which outlets a device has, at its URL. Nothing is switched.",
                MAX_SCAN_TIME,
            )
        }
    }

    /// The device, as for the power URLs of its outlets.
    fn claims(&self, _: &NoSettings, facts: &Facts) -> Vec<ResourceClaim> {
        let url: Option<ScanUrl> =
            facts.get(SCAN_URL).and_then(serde_json::Value::as_str).and_then(|url| url.parse().ok());
        let resource = url.as_ref().and_then(ScanUrl::resource).map(str::to_owned);
        resource.map(|device| ResourceClaim::exclusive(device).probing()).into_iter().collect()
    }

    async fn run(
        &self,
        job: &Job,
        _: &NoSettings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, UnfinishedAction> {
        let text = job.fact(SCAN_URL).ok_or_else(|| {
            UnfinishedAction::misconfigured(format!("{} has no URL of a device to scan", job.subject))
        })?;
        let url: ScanUrl = text
            .parse()
            .map_err(|error: DeviceUrlError| UnfinishedAction::misconfigured(error.to_string()))?;
        let context = PowerContext {
            clock: Arc::clone(&job.clock),
            lease: job.lease.clone(),
            call_limit: DEFAULT_CALL_TIMEOUT,
            interrupted_runs: job.attempts,
            credentials: self.settings.credentials.clone(),
            commands: self.settings.commands.clone(),
            min_off: Duration::ZERO,
        };
        scan(&url, &context, cancel).await.map_err(|unfinished| unfinished.map_trouble(Trouble::from))
    }
}
