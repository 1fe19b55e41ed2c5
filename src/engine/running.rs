//! What this process is carrying out, and how to stop it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::pause;
use crate::store::actions::{ActionId, RunningAction};
use crate::store::instances::InstanceId;

/// How long a report waits for the end of an action that it may depend on.
const LONGEST_END: Duration = Duration::from_secs(5);

/// What this process is carrying out.
///
/// An action is in here from before its start is committed until after its end is: one that the database gives this
/// process and that is not in here was lost with a connection, in the middle of a commit.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    held: Arc<Mutex<Held>>,
    /// The actions that have ended while that is not written down yet, and whose they are.
    ending: watch::Sender<HashMap<ActionId, InstanceId>>,
}

#[derive(Debug, Default)]
struct Held {
    actions: HashMap<ActionId, Stoppable>,
    let_go: LetGo,
}

#[derive(Debug)]
struct Stoppable {
    token: CancellationToken,
    is_short: bool,
}

/// What this process stops because it cannot or will not go on, what begins meanwhile included.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum LetGo {
    #[default]
    Nothing,
    /// What holds a resource, or would have to be made up for, is short and better ended than begun again elsewhere; the rest may go on for hours.
    Long,
    Everything,
}

impl LetGo {
    fn stops(self, action: &Stoppable) -> bool {
        match self {
            Self::Nothing => false,
            Self::Long => !action.is_short,
            Self::Everything => true,
        }
    }
}

impl Running {
    fn with<T>(&self, work: impl FnOnce(&mut Held) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn enter(&self, action: &RunningAction) -> Hold {
        let token = CancellationToken::new();
        let stoppable = Stoppable {
            token: token.clone(),
            is_short: !action.claims.is_empty() || action.compensation.is_some(),
        };
        self.with(|held| {
            if held.let_go.stops(&stoppable) {
                token.cancel();
            }
            held.actions.insert(action.id, stoppable);
        });
        Hold { running: self.clone(), action: action.id, instance: action.instance, token }
    }

    pub(super) fn has(&self, action: ActionId) -> bool {
        self.with(|held| held.actions.contains_key(&action))
    }

    pub(super) fn cancel(&self, action: ActionId) {
        self.with(|held| held.actions.get(&action).map(|one| one.token.cancel()));
    }

    pub(super) fn let_go(&self, what: LetGo) {
        self.with(|held| {
            held.let_go = what;
            for action in held.actions.values().filter(|action| what.stops(action)) {
                action.token.cancel();
            }
        });
    }

    /// Whether this process lets go of everything, because others may have taken over.
    pub(super) fn lets_everything_go(&self) -> bool {
        self.with(|held| matches!(held.let_go, LetGo::Everything))
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
            () = pause(LONGEST_END) => {}
        }
    }
}

fn is_among(ending: &HashMap<ActionId, InstanceId>, instance: InstanceId) -> bool {
    ending.values().any(|one| *one == instance)
}

/// An action among what this process carries out; given up when this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    running: Running,
    action: ActionId,
    instance: InstanceId,
    /// Cancelled when the action is to stop.
    pub(super) token: CancellationToken,
}

impl Hold {
    /// Says that the action has ended and that this is about to be written down.
    pub(super) fn ends(&self) {
        self.running.ending.send_modify(|ending| _ = ending.insert(self.action, self.instance));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.running.with(|held| held.actions.remove(&self.action));
        self.running.ending.send_if_modified(|ending| ending.remove(&self.action).is_some());
    }
}
