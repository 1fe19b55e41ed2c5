//! The running actions of this process, and their cancellation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::sleep_real_time;
use crate::store::actions::{ActionId, RunningAction};
use crate::store::instances::InstanceId;

/// How long a report waits until the end of an action is committed.
const ACTION_END_TIMEOUT: Duration = Duration::from_secs(5);

/// The running actions of this process.
///
/// An action is registered from before its start is committed until after its end is committed: an action that the database
/// assigns to this process and that is not registered was lost with a connection during a commit.
#[derive(Debug, Clone, Default)]
pub(super) struct RunningActions {
    state: Arc<Mutex<RunningState>>,
    /// The actions whose end is not committed yet, with their instances.
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

/// The actions that this process stops, including those that start meanwhile.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum StopScope {
    #[default]
    Nothing,
    /// Actions without claims and compensations, which can run for hours; the others are short.
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
        self.with(|state| {
            if state.stop_scope.stops(&stoppable) {
                token.cancel();
            }
            state.actions.insert(action.id, stoppable);
        });
        RunningActionGuard { running: self.clone(), action: action.id, instance: action.instance, token }
    }

    pub(super) fn has(&self, action: ActionId) -> bool {
        self.with(|state| state.actions.contains_key(&action))
    }

    pub(super) fn cancel(&self, action: ActionId) {
        self.with(|state| state.actions.get(&action).map(|action| action.token.cancel()));
    }

    pub(super) fn stop(&self, scope: StopScope) {
        self.with(|state| {
            state.stop_scope = scope;
            for action in state.actions.values().filter(|action| scope.stops(action)) {
                action.token.cancel();
            }
        });
    }

    /// Whether this process stops all actions because its lease expired.
    pub(super) fn is_stopping_all(&self) -> bool {
        self.with(|state| matches!(state.stop_scope, StopScope::Everything))
    }

    /// Whether the end of an action of `instance` is not committed yet.
    pub(super) fn is_ending(&self, instance: InstanceId) -> bool {
        is_among(&self.ending.borrow(), instance)
    }

    /// Waits until the ends of all actions of `instance` are committed, or for a few seconds.
    pub(super) async fn wait_for_ends(&self, instance: InstanceId) {
        let mut ending = self.ending.subscribe();
        tokio::select! {
            // The sender lives as long as `self`.
            _ = ending.wait_for(|ending| !is_among(ending, instance)) => {}
            () = sleep_real_time(ACTION_END_TIMEOUT) => {}
        }
    }
}

fn is_among(ending: &HashMap<ActionId, InstanceId>, instance: InstanceId) -> bool {
    ending.values().any(|ending| *ending == instance)
}

/// The registration of a running action; it is removed on drop.
#[derive(Debug)]
pub(super) struct RunningActionGuard {
    running: RunningActions,
    action: ActionId,
    instance: InstanceId,
    /// Cancelled when the action is to stop.
    pub(super) token: CancellationToken,
}

impl RunningActionGuard {
    /// Records that the action has ended and that its end is not committed yet.
    pub(super) fn mark_ended(&self) {
        self.running.ending.send_modify(|ending| _ = ending.insert(self.action, self.instance));
    }
}

impl Drop for RunningActionGuard {
    fn drop(&mut self) {
        self.running.with(|state| state.actions.remove(&self.action));
        self.running.ending.send_if_modified(|ending| ending.remove(&self.action).is_some());
    }
}
