//! Logs failed actions: the first failure of an action of an instance, and the first success after it.
//!
//! What is away fails the same action every minute; the failures in between are logged at debug.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::actions::{ActionEnding, Evidence, JobSubject, UnfinishedAction};
use crate::machine::ActionName;
use crate::store::actions::RunningAction;
use crate::store::claims::GrantedUnits;
use crate::store::instances::InstanceId;

/// The maximum number of failing actions that are known; the oldest is forgotten, for it may be of a removed instance.
const MAX_FAILING_ACTIONS: usize = 10_000;

/// The actions whose last run in this process failed.
#[derive(Debug, Default)]
pub(super) struct FailingActions(Mutex<HashMap<(InstanceId, ActionName), FailureStreak>>);

/// Failures in a row.
#[derive(Debug)]
struct FailureStreak {
    since: Instant,
    failures: u64,
}

/// What a result adds to a streak.
#[derive(Debug, PartialEq, Eq)]
enum StreakChange {
    Begun,
    Continued { failures: u64 },
    Ended { failures: u64, for_s: u64 },
    None,
}

impl FailingActions {
    /// Logs how a run ended. A run that a local fault suspended has not failed.
    pub(super) fn note(
        &self,
        subject: &JobSubject,
        action: &RunningAction,
        granted: &[GrantedUnits],
        result: &Result<Evidence, UnfinishedAction>,
    ) {
        let failure = match result {
            Err(UnfinishedAction { kind: ActionEnding::Suspended { .. }, .. }) => return,
            Err(UnfinishedAction { reason, .. }) => Some(reason),
            Ok(_) => None,
        };
        let key = (action.instance, action.action.clone());
        let change = self.change(key, failure.is_some(), Instant::now());
        let JobSubject { machine, name: instance, .. } = subject;
        let action = &action.action;
        let resources = || granted.iter().map(|units| units.resource.as_str()).collect::<Vec<_>>().join(" ");
        let reason = failure.map_or("", String::as_str);
        match change {
            StreakChange::Begun => {
                tracing::warn!(%machine, %instance, %action, resource = resources(), reason, "action failed");
            }
            StreakChange::Continued { failures } => tracing::debug!(
                %machine, %instance, %action, resource = resources(), failures, reason, "action failed again"
            ),
            StreakChange::Ended { failures, for_s } => tracing::info!(
                %machine, %instance, %action, resource = resources(), failures, for_s, "action succeeded again"
            ),
            StreakChange::None => {}
        }
    }

    fn change(&self, key: (InstanceId, ActionName), is_failure: bool, now: Instant) -> StreakChange {
        let mut streaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_failure {
            let ended = streaks.remove(&key);
            return ended.map_or(StreakChange::None, |streak| StreakChange::Ended {
                failures: streak.failures,
                for_s: (now - streak.since).as_secs(),
            });
        }
        if let Some(streak) = streaks.get_mut(&key) {
            streak.failures += 1;
            return StreakChange::Continued { failures: streak.failures };
        }
        if streaks.len() >= MAX_FAILING_ACTIONS {
            let oldest = streaks.iter().min_by_key(|(_, streak)| streak.since).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| streaks.remove(&oldest));
        }
        streaks.insert(key, FailureStreak { since: now, failures: 1 });
        StreakChange::Begun
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_failure_and_the_first_success_after_it_stand_out() {
        let failing = FailingActions::default();
        let began = Instant::now();
        let at = |instance: i64, is_failure: bool, seconds: u64| {
            let key = (InstanceId(instance), ActionName::new("power-cycle").unwrap());
            failing.change(key, is_failure, began + Duration::from_secs(seconds))
        };
        assert_eq!(at(1, false, 0), StreakChange::None);
        assert_eq!(at(1, true, 0), StreakChange::Begun);
        assert_eq!(at(2, true, 1), StreakChange::Begun, "another instance");
        assert_eq!(at(1, true, 60), StreakChange::Continued { failures: 2 });
        assert_eq!(at(1, false, 120), StreakChange::Ended { failures: 2, for_s: 120 });
        assert_eq!(at(1, true, 180), StreakChange::Begun);
    }
}
