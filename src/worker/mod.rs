//! Who carries actions out: here, the worker inside the server's own process.
//!
//! A worker bounds an action's time and keeps its faults to itself; it knows neither instances nor the database.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::actions::{ActionEnding, ActionRegistry, Evidence, Job, ProcessLease, Trouble, UnfinishedAction};
use crate::clock::Clock;
use crate::formatting;
use crate::machine::ActionName;

/// How long an action that ran out of time may take to leave its board in a sane condition: for a power cycle, to end
/// the call under way, to restore power, and to let the relay board rest.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(45);

/// Carries actions out in this process.
#[derive(Clone)]
pub struct Worker {
    kinds: Arc<ActionRegistry>,
    clock: Arc<dyn Clock>,
    lease: ProcessLease,
}

impl Worker {
    /// Makes a worker that carries out actions of `kinds` and measures their time on `clock`.
    #[must_use]
    pub fn new(kinds: Arc<ActionRegistry>, clock: Arc<dyn Clock>) -> Self {
        Self { kinds, clock, lease: ProcessLease::default() }
    }

    /// The kinds of action that it carries out.
    #[must_use]
    pub fn kinds(&self) -> &Arc<ActionRegistry> {
        &self.kinds
    }

    /// Until when it may act.
    #[must_use]
    pub fn lease(&self) -> &ProcessLease {
        &self.lease
    }

    /// Carries `job` out within `limit`, or within its kind's own limit; ends soon after `cancel`.
    ///
    /// # Errors
    ///
    /// [`UnfinishedAction`]: as failed when it failed, took too long or was cancelled; as suspended when trouble of our own stood in
    /// the way, or this worker does not know the action, or it broke down.
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
        // A task of its own, so that a panic in it stops this action and nothing else.
        let mut task = JoinSet::new();
        // Its own: whoever asked must see whether it was they who cancelled, or the time that ran out.
        let stop = cancel.child_token();
        let stopped = stop.clone();
        // Not the child: that the lease ran out is no failure of the action.
        let (lease, given) = (self.lease.clone(), cancel.clone());
        let job = Job { lease: lease.clone(), clock: Arc::clone(&self.clock), ..job };
        let kind = Arc::clone(kind);
        task.spawn(async move {
            let mut run = kind.run(&job, &stopped);
            // Looked at whenever it goes on: a process that was paused for longer than its lease must not go on
            // as if nothing had happened, for others may have taken over.
            std::future::poll_fn(|context| {
                if !lease.may_act() {
                    given.cancel();
                }
                run.as_mut().poll(context)
            })
            .await
        });
        let result = |ended: Option<Result<Result<Evidence, UnfinishedAction>, JoinError>>| match ended {
            Some(Ok(result)) => result,
            Some(Err(fault)) => Err(broken_down(&action, &format!("the action broke down: {fault}"))),
            None => Err(broken_down(&action, "the action did not start")),
        };
        if let Some(ended) = self.clock.timeout(limit, task.join_next()).await {
            return result(ended);
        }
        stop.cancel();
        let reason = format!("not done within {}", formatting::duration(limit));
        // What it says of the board's condition belongs to the answer, late or not.
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

/// How an action stands that broke down: nobody knows what it had done by then.
fn broken_down(action: &ActionName, reason: &str) -> UnfinishedAction {
    UnfinishedAction::suspended_midway(Trouble::Program(action.to_string()), reason, Evidence::new())
}
