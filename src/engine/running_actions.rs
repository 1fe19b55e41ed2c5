//! What this process is carrying out, and how to stop it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::sleep_real_time;
use crate::store::actions::{ActionId, RunningAction};
use crate::store::instances::InstanceId;

/// How long a report waits for the end of an action that it may depend on.
const ACTION_END_TIMEOUT: Duration = Duration::from_secs(5);

/// What this process is carrying out.
///
/// An action is in here from before its start is committed until after its end is: one that the database gives this
/// process and that is not in here was lost with a connection, in the middle of a commit.
#[derive(Debug, Clone, Default)]
pub(super) struct RunningActions {
    state: Arc<Mutex<RunningState>>,
    /// The actions that have ended while that is not written down yet, and whose they are.
    ending: watch::Sender<HashMap<ActionId, InstanceId>>,
}

#[derive(Debug, Default)]
struct RunningState {
    actions: HashMap<ActionId, StoppableAction>,
    stop_scope: StopScope,
}

#[derive(Debug)]
struct StoppableAction {
    token: CancellationToken,
    is_short: bool,
}

/// What this process stops because it cannot or will not go on, what begins meanwhile included.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum StopScope {
    #[default]
    Nothing,
    /// What holds a resource, or would have to be made up for, is short and better ended than begun again elsewhere; the rest may go on for hours.
    LongRunning,
    Everything,
}

impl StopScope {
    fn stops(self, action: &StoppableAction) -> bool {
        match self {
            Self::Nothing => false,
            Self::LongRunning => !action.is_short,
            Self::Everything => true,
        }
    }
}

impl RunningActions {
    fn with<T>(&self, work: impl FnOnce(&mut RunningState) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn register(&self, action: &RunningAction) -> RunningActionGuard {
        let token = CancellationToken::new();
        let stoppable = StoppableAction {
            token: token.clone(),
            is_short: !action.claims.is_empty() || action.compensation.is_some(),
        };
        self.with(|held| {
            if held.stop_scope.stops(&stoppable) {
                token.cancel();
            }
            held.actions.insert(action.id, stoppable);
        });
        RunningActionGuard { running: self.clone(), action: action.id, instance: action.instance, token }
    }

    pub(super) fn has(&self, action: ActionId) -> bool {
        self.with(|held| held.actions.contains_key(&action))
    }

    pub(super) fn cancel(&self, action: ActionId) {
        self.with(|held| held.actions.get(&action).map(|one| one.token.cancel()));
    }

    pub(super) fn stop(&self, what: StopScope) {
        self.with(|held| {
            held.stop_scope = what;
            for action in held.actions.values().filter(|action| what.stops(action)) {
                action.token.cancel();
            }
        });
    }

    /// Whether this process lets go of everything, because others may have taken over.
    pub(super) fn is_stopping_all(&self) -> bool {
        self.with(|held| matches!(held.stop_scope, StopScope::Everything))
    }

    /// Whether an action of `instance` has ended and that is still to be written down.
    pub(super) fn is_ending(&self, instance: InstanceId) -> bool {
        is_among(&self.ending.borrow(), instance)
    }

    /// Waits until that is written down, or for a few seconds.
    pub(super) async fn wait_for_ends(&self, instance: InstanceId) {
        let mut ending = self.ending.subscribe();
        tokio::select! {
            // The sender lives as long as we do.
            _ = ending.wait_for(|ending| !is_among(ending, instance)) => {}
            () = sleep_real_time(ACTION_END_TIMEOUT) => {}
        }
    }
}

fn is_among(ending: &HashMap<ActionId, InstanceId>, instance: InstanceId) -> bool {
    ending.values().any(|one| *one == instance)
}

/// An action among what this process carries out; given up when this is dropped.
#[derive(Debug)]
pub(super) struct RunningActionGuard {
    running: RunningActions,
    action: ActionId,
    instance: InstanceId,
    /// Cancelled when the action is to stop.
    pub(super) token: CancellationToken,
}

impl RunningActionGuard {
    /// Says that the action has ended and that this is about to be written down.
    pub(super) fn mark_ended(&self) {
        self.running.ending.send_modify(|ending| _ = ending.insert(self.action, self.instance));
    }
}

impl Drop for RunningActionGuard {
    fn drop(&mut self) {
        self.running.with(|held| held.actions.remove(&self.action));
        self.running.ending.send_if_modified(|ending| ending.remove(&self.action).is_some());
    }
}
