//! Who carries actions out: here, the worker inside the server's own process.
//!
//! A worker bounds an action's time and keeps its faults to itself; it knows neither instances nor the database.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::action::{Drivers, Evidence, Failed, Job};
use crate::clock::Clock;

/// How long an action that ran out of time may take to leave its board in a sane condition: for a power cycle, to end
/// the call under way, to restore power, and to let the relay board rest.
const GRACE: Duration = Duration::from_secs(45);

/// Carries actions out in this process.
#[derive(Clone)]
pub struct Worker {
    drivers: Arc<Drivers>,
    clock: Arc<dyn Clock>,
}

impl Worker {
    /// Makes a worker that uses `drivers` and measures their time on `clock`.
    #[must_use]
    pub fn new(drivers: Arc<Drivers>, clock: Arc<dyn Clock>) -> Self {
        Self { drivers, clock }
    }

    /// Carries `job` out within `limit`, or within its driver's own limit; ends soon after `cancel`.
    ///
    /// # Errors
    ///
    /// [`Failed`] when it failed, took too long, was cancelled, or there is no driver for it.
    pub async fn run(
        &self,
        job: Job,
        limit: Option<Duration>,
        cancel: CancellationToken,
    ) -> Result<Evidence, Failed> {
        let Some(own_limit) = self.drivers.get(&job.action).map(crate::action::Driver::limit) else {
            return Err(failed(format!("this worker has no driver for {}", job.action)));
        };
        let limit = limit.unwrap_or(own_limit);
        // A task of its own, so that a panic in a driver is this action's failure and nobody else's.
        let mut task = JoinSet::new();
        let drivers = Arc::clone(&self.drivers);
        let stop = cancel.clone();
        task.spawn(async move {
            match drivers.get(&job.action) {
                Some(driver) => driver.run(&job, &stop).await,
                None => Err(failed("its driver is gone".to_owned())),
            }
        });
        match self.clock.timeout(limit, task.join_next()).await {
            Some(Some(Ok(result))) => result,
            Some(Some(Err(fault))) => Err(failed(format!("the driver broke down: {fault}"))),
            Some(None) => Err(failed("the driver did not start".to_owned())),
            None => {
                cancel.cancel();
                let _ = self.clock.timeout(GRACE, task.join_next()).await;
                Err(failed(format!("not done within {}", humantime::format_duration(limit))))
            }
        }
    }
}

fn failed(reason: String) -> Failed {
    Failed { reason, evidence: Evidence::new() }
}
