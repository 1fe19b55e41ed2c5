//! Runs actions: the worker in the process of the server.
//!
//! A worker limits the time of an action and contains its panics; it knows neither instances nor the database.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::actions::{ActionEnding, ActionRegistry, Evidence, Job, ProcessLease, Trouble, UnfinishedAction};
use crate::clock::Clock;
use crate::formatting;
use crate::machine::ActionName;

/// How long a timed-out action may take to leave its device in a safe condition: for a power cycle, to end the phase to
/// switch off, to wait until that took effect, and to restore power. The phases have 15 s each; a device that follows orders
/// late may need 15 s more for each of the three.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(75);

/// Runs actions in this process.
#[derive(Clone)]
pub struct Worker {
    kinds: Arc<ActionRegistry>,
    clock: Arc<dyn Clock>,
    lease: ProcessLease,
}

impl Worker {
    /// Creates a worker for actions of `kinds` that measures time on `clock`.
    #[must_use]
    pub fn new(kinds: Arc<ActionRegistry>, clock: Arc<dyn Clock>) -> Self {
        Self { kinds, clock, lease: ProcessLease::default() }
    }

    /// The kinds of action that it runs.
    #[must_use]
    pub fn kinds(&self) -> &Arc<ActionRegistry> {
        &self.kinds
    }

    /// The lease of the process.
    #[must_use]
    pub fn lease(&self) -> &ProcessLease {
        &self.lease
    }

    /// Runs `job` within `limit`, or within the limit of its kind; ends soon after `cancel`.
    ///
    /// # Errors
    ///
    /// [`UnfinishedAction`]: failed when it failed, timed out or was cancelled; suspended when a local fault prevented it,
    /// when this worker does not know the action, or when the action panicked.
    pub async fn run(
        &self,
        job: Job,
        limit: Option<Duration>,
        cancel: &CancellationToken,
    ) -> Result<Evidence, UnfinishedAction> {
        let action = job.action.clone();
        let known = self.kinds.find(action.as_str()).zip(self.kinds.description(action.as_str()));
        let Some((kind, description)) = known else {
            let trouble = Trouble::Program(action.to_string());
            let reason = format!("this worker does not know the action {action}");
            return Err(UnfinishedAction::suspended(trouble, reason, Evidence::new()));
        };
        let (limit, late) = (limit.unwrap_or(description.limit), description.late_trouble.clone());
        // A task of its own, so that a panic ends only this action.
        let mut task = JoinSet::new();
        // A child token: the caller must see whether it cancelled the action or whether the action timed out.
        let stop = cancel.child_token();
        let stopped = stop.clone();
        // Not the child: an expired lease is no failure of the action.
        let (lease, cancelled) = (self.lease.clone(), cancel.clone());
        let job = Job { lease: lease.clone(), clock: Arc::clone(&self.clock), ..job };
        let kind = Arc::clone(kind);
        task.spawn(async move {
            let mut run = kind.run(&job, &stopped);
            // Checked on every poll: a process that was paused for longer than its lease must stop, because its actions
            // may have been reclaimed.
            std::future::poll_fn(|context| {
                if !lease.may_act() {
                    cancelled.cancel();
                }
                run.as_mut().poll(context)
            })
            .await
        });
        let result = |ended: Option<Result<Result<Evidence, UnfinishedAction>, JoinError>>| match ended {
            Some(Ok(result)) => result,
            Some(Err(fault)) => Err(panicked(&action, &format!("action panicked: {fault}"))),
            None => Err(panicked(&action, "the action did not start")),
        };
        if let Some(ended) = self.clock.timeout(limit, task.join_next()).await {
            return result(ended);
        }
        stop.cancel();
        let reason = format!("timed out after {}", formatting::duration(limit));
        // What it reports about the condition of the device is part of the result, even if it is late.
        let unfinished = match self.clock.timeout(CLEANUP_TIMEOUT, task.join_next()).await.map(result) {
            Some(Ok(evidence)) => UnfinishedAction::failed(reason, evidence),
            Some(Err(ended)) => UnfinishedAction { reason: format!("{reason}; {}", ended.reason), ..ended },
            None => UnfinishedAction::failed(reason, Evidence::new()),
        };
        Err(match (late, &unfinished.kind) {
            (Some(trouble), ActionEnding::Failed | ActionEnding::Misconfigured) => {
                UnfinishedAction { kind: ActionEnding::Suspended { trouble, has_acted: true }, ..unfinished }
            }
            (None, ActionEnding::Failed | ActionEnding::Misconfigured)
            | (_, ActionEnding::Unrestored { .. } | ActionEnding::Suspended { .. }) => unfinished,
        })
    }
}

/// The error of an action that panicked; it may have acted.
fn panicked(action: &ActionName, reason: &str) -> UnfinishedAction {
    UnfinishedAction::suspended_midway(Trouble::Program(action.to_string()), reason, Evidence::new())
}
