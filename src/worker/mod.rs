//! Who carries actions out: here, the worker inside the server's own process.
//!
//! A worker bounds an action's time and keeps its faults to itself; it knows neither instances nor the database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::action::{Drivers, Evidence, Failed, Job};
use crate::clock::Clock;

/// How long an action that ran out of time may take to leave its board in a sane condition: for a power cycle, to end
/// the call under way, to restore power, and to let the relay board rest.
const GRACE: Duration = Duration::from_secs(45);

/// Until when this process may act, in real time; for ever, where nobody has said.
#[derive(Debug, Clone, Default)]
pub struct Lease(Arc<Mutex<Option<Instant>>>);

impl Lease {
    fn holds_until(&self) -> MutexGuard<'_, Option<Instant>> {
        // A panic elsewhere cannot have left it half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets this process act until then.
    pub fn extend(&self, until: Instant) {
        *self.holds_until() = Some(until);
    }

    fn has_run_out(&self) -> bool {
        self.holds_until().is_some_and(|until| until <= Instant::now())
    }
}

/// Carries actions out in this process.
#[derive(Clone)]
pub struct Worker {
    drivers: Arc<Drivers>,
    clock: Arc<dyn Clock>,
    lease: Lease,
}

impl Worker {
    /// Makes a worker that uses `drivers` and measures their time on `clock`.
    #[must_use]
    pub fn new(drivers: Arc<Drivers>, clock: Arc<dyn Clock>) -> Self {
        Self { drivers, clock, lease: Lease::default() }
    }

    /// Until when it may act.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
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
        cancel: &CancellationToken,
    ) -> Result<Evidence, Failed> {
        let Some(driver) = self.drivers.get(&job.action) else {
            return Err(failed(format!("this worker has no driver for {}", job.action)));
        };
        let limit = limit.unwrap_or_else(|| driver.limit());
        // A task of its own, so that a panic in a driver is this action's failure and nobody else's.
        let mut task = JoinSet::new();
        // Its own: whoever asked must see whether it was they who cancelled, or the time that ran out.
        let stop = cancel.child_token();
        let stopped = stop.clone();
        // Not the child: that the lease ran out is no failure of the action.
        let (lease, given) = (self.lease.clone(), cancel.clone());
        task.spawn(async move {
            let mut run = driver.run(&job, &stopped);
            // Looked at whenever the driver goes on: a process that was paused for longer than its lease must not go on
            // as if nothing had happened, for others may have taken over. (A driver that has cut a board's power still
            // gives it back.)
            std::future::poll_fn(|context| {
                if lease.has_run_out() {
                    given.cancel();
                }
                run.as_mut().poll(context)
            })
            .await
        });
        if let Some(ended) = self.clock.timeout(limit, task.join_next()).await {
            return result(ended);
        }
        stop.cancel();
        let late = format!("not done within {}", humantime::format_duration(limit));
        // What it says of the board's condition belongs to the answer, late or not.
        match self.clock.timeout(GRACE, task.join_next()).await.map(result) {
            Some(Ok(evidence)) => Err(Failed { reason: late, evidence }),
            Some(Err(Failed { reason, evidence })) => {
                Err(Failed { reason: format!("{late}; {reason}"), evidence })
            }
            None => Err(failed(late)),
        }
    }
}

/// What a driver's task came to.
fn result(ended: Option<Result<Result<Evidence, Failed>, JoinError>>) -> Result<Evidence, Failed> {
    match ended {
        Some(Ok(result)) => result,
        Some(Err(fault)) => Err(failed(format!("the driver broke down: {fault}"))),
        None => Err(failed("the driver did not start".to_owned())),
    }
}

fn failed(reason: String) -> Failed {
    Failed { reason, evidence: Evidence::new() }
}
