//! Logs failed actions: the first failure of an action of an instance, and the first success after it.
//!
//! What is away fails the same action every minute; the failures in between are logged at debug. Another process can have had
//! the success that ended them, so failures long after the last one stand out again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::actions::{Evidence, JobSubject, UnfinishedAction};
use crate::machine::ActionName;
use crate::store::actions::RunningAction;
use crate::store::claims::GrantedUnits;
use crate::store::instances::InstanceId;

/// The maximum number of failing actions that are known; the oldest is forgotten, for it may be of a removed instance.
const MAX_FAILING_ACTIONS: usize = 10_000;

/// Failures that are further apart are no longer in a row.
const MAX_FAILURE_GAP: Duration = Duration::from_mins(15);

/// The actions whose last run in this process failed.
#[derive(Debug, Default)]
pub(super) struct FailingActions(Mutex<HashMap<(InstanceId, ActionName), FailureStreak>>);

/// Failures in a row.
#[derive(Debug)]
struct FailureStreak {
    since: Instant,
    last: Instant,
    failures: u64,
}

/// What a result adds to a streak.
#[derive(Debug, PartialEq, Eq)]
enum StreakChange {
    Begun,
    Continued { failures: u64 },
    Ended { failures: u64, lasted_s: u64 },
    None,
}

impl FailingActions {
    /// Logs how a run ended.
    pub(super) fn note(
        &self,
        subject: &JobSubject,
        action: &RunningAction,
        granted: &[GrantedUnits],
        result: &Result<Evidence, UnfinishedAction>,
    ) {
        let failure = result.as_ref().err().map(|UnfinishedAction { reason, .. }| reason);
        let key = (action.instance, action.action.clone());
        let change = self.change(key, failure.is_some(), Instant::now());
        let JobSubject { machine, name: instance, .. } = subject;
        let action = &action.action;
        let own = granted.iter().filter(|units| !units.is_of_container());
        let names: Vec<&str> = own.map(|units| units.resource.as_str()).collect();
        // Without a resource the field is left out.
        let resource = (!names.is_empty()).then(|| names.join(" "));
        let reason = failure.map_or("", String::as_str);
        match change {
            StreakChange::Begun => {
                tracing::warn!(%machine, %instance, %action, resource, reason, "action failed");
            }
            StreakChange::Continued { failures } => tracing::debug!(
                %machine, %instance, %action, resource, failures, reason, "action failed again"
            ),
            StreakChange::Ended { failures, lasted_s } => tracing::info!(
                %machine, %instance, %action, resource, failures, lasted_s, "action succeeded again"
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
                lasted_s: (now - streak.since).as_secs(),
            });
        }
        if streaks.get(&key).is_some_and(|streak| now - streak.last > MAX_FAILURE_GAP) {
            streaks.remove(&key);
        }
        if let Some(streak) = streaks.get_mut(&key) {
            streak.failures += 1;
            streak.last = now;
            return StreakChange::Continued { failures: streak.failures };
        }
        if streaks.len() >= MAX_FAILING_ACTIONS {
            let oldest = streaks.iter().min_by_key(|(_, streak)| streak.last).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| streaks.remove(&oldest));
        }
        streaks.insert(key, FailureStreak { since: now, last: now, failures: 1 });
        StreakChange::Begun
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(at(1, false, 120), StreakChange::Ended { failures: 2, lasted_s: 120 });
        assert_eq!(at(1, true, 180), StreakChange::Begun);
        assert_eq!(at(1, true, 180 + 900), StreakChange::Continued { failures: 2 });
        assert_eq!(
            at(1, true, 180 + 1801),
            StreakChange::Begun,
            "another process may have succeeded meanwhile"
        );
        assert_eq!(at(1, false, 180 + 1801 + 3600), StreakChange::Ended { failures: 1, lasted_s: 3600 });
    }
}
