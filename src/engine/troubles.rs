//! The local faults that suspend actions of this process.
//!
//! ```text
//! reported by an action ─▶ open ─▶ checked at growing intervals ─▶ cleared: the suspended actions are handed out
//! ```
//!
//! This is the view of one process: another process without the fault can start the suspended actions. A check does nothing to
//! the outside world ([`Trouble::is_over`]): nothing is written only to see that the fault persists. A fault
//! that returns soon after it was cleared is checked at longer intervals.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::actions::{JobSubject, LocalTrouble, Trouble};
use crate::store::actions::RunningAction;

/// The time to the first check.
const FIRST_CHECK_DELAY: Duration = Duration::from_millis(250);
/// The maximum interval of checks.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The maximum interval for faults that need a repair: unknown names (unless an action with claims waits), missing drivers,
/// and faults that return.
const MAX_FAULT_CHECK_INTERVAL: Duration = Duration::from_mins(1);
/// The time after which a cleared fault that returns counts as a new one.
const FORGET_AFTER: Duration = Duration::from_mins(10);
/// The time limit of a check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// The local faults of this process.
#[derive(Debug, Default)]
pub(super) struct TroubleTracker {
    tracked: Mutex<BTreeMap<String, TrackedTrouble>>,
    opened: Notify,
}

#[derive(Debug)]
struct TrackedTrouble {
    trouble: Trouble,
    /// When it began.
    since: Instant,
    phase: TroublePhase,
    /// The time to the next check.
    check_interval: Duration,
    /// The maximum interval of checks.
    max_check_interval: Duration,
}

#[derive(Debug, Clone, Copy)]
enum TroublePhase {
    /// Actions are suspended by it.
    Open { look_at: Instant, suspended: u64 },
    /// It was cleared at this time.
    Over { at: Instant },
}

/// An open local fault, for `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct OpenTrouble {
    /// Its kind in one word.
    pub kind: &'static str,
    /// Its description.
    pub trouble: String,
    /// How long it has lasted, in seconds. A compensation that fails again within ten minutes is the same trouble.
    pub for_s: u64,
    /// The number of suspensions by it in this process.
    pub suspended: u64,
}

/// A run that a fault ended, for the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedRun<'a> {
    pub(super) subject: &'a JobSubject,
    pub(super) reason: &'a str,
}

impl TroubleTracker {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, TrackedTrouble>) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.tracked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records and logs that `trouble` suspended an action.
    pub(super) fn report(&self, trouble: &Trouble, action: &RunningAction, failed: FailedRun<'_>) {
        if let Trouble::Incident(resource) = trouble {
            // All processes see the incident in the database.
            let FailedRun { subject, reason } = failed;
            tracing::debug!(%resource, %subject, action = %action.action, reason, "action suspended by incident");
            return;
        }
        let is_news = self.report_at(Instant::now(), trouble, action);
        let FailedRun { subject: JobSubject { machine, name: instance, .. }, reason } = failed;
        let (kind, action) = (trouble.kind(), action.action.as_str());
        if *trouble == Trouble::Renewal {
            return;
        }
        if !is_news {
            tracing::debug!(trouble = kind, %machine, %instance, %action, reason, "action suspended");
        } else if matches!(trouble, Trouble::Unrestored { .. }) {
            tracing::warn!(%machine, %instance, %action, reason, %trouble, "cannot complete compensation, will retry");
        } else {
            tracing::warn!(trouble = kind, %machine, %instance, %action, reason, "local fault, actions suspended");
        }
    }

    /// Records that `trouble` suspended an action; returns whether that is to be logged: it is the first of its kind, or the
    /// first that was not restored at its outlet.
    fn report_at(&self, now: Instant, trouble: &Trouble, action: &RunningAction) -> bool {
        let key = trouble.key();
        let (is_first, is_back) = self.with(|troubles| {
            troubles.retain(
                |_, tracked| !matches!(tracked.phase, TroublePhase::Over { at } if now - at >= FORGET_AFTER),
            );
            let is_kind_open = troubles
                .values()
                .any(|tracked| tracked.is_open() && tracked.trouble.kind() == trouble.kind());
            let is_back = troubles.contains_key(&key);
            let is_name = matches!(trouble, Trouble::Local(LocalTrouble::Name(_)));
            let tracked = troubles.entry(key).or_insert_with(|| TrackedTrouble {
                trouble: trouble.clone(),
                since: now,
                phase: TroublePhase::Over { at: now },
                check_interval: FIRST_CHECK_DELAY / 2,
                max_check_interval: if is_name { MAX_FAULT_CHECK_INTERVAL } else { MAX_CHECK_INTERVAL },
            });
            if !action.claims.is_empty() {
                // What the action changes may be in an intermediate state, and other actions wait for the resource.
                tracked.max_check_interval = MAX_CHECK_INTERVAL;
            }
            match &mut tracked.phase {
                TroublePhase::Open { suspended, .. } => *suspended += 1,
                TroublePhase::Over { .. } => {
                    // A compensation is tried without a check, so that it was over in between was not seen.
                    if !matches!(trouble, Trouble::Unrestored { .. }) {
                        tracked.since = now;
                    }
                    tracked.check_interval = (tracked.check_interval * 2).min(MAX_FAULT_CHECK_INTERVAL);
                    tracked.phase =
                        TroublePhase::Open { look_at: now + tracked.check_interval, suspended: 1 };
                }
            }
            (!is_kind_open, is_back)
        });
        self.opened.notify_one();
        if matches!(trouble, Trouble::Unrestored { .. }) { !is_back } else { is_first }
    }

    /// Waits until a fault is reported.
    pub(super) async fn wait_for_opened(&self) {
        self.opened.notified().await;
    }

    /// Lists the keys of open faults: this process does not start actions that are suspended by them.
    pub(super) fn keys(&self) -> Vec<String> {
        self.with(|troubles| {
            troubles.iter().filter(|(_, tracked)| tracked.is_open()).map(|(key, _)| key.clone()).collect()
        })
    }

    /// Lists the open faults.
    pub(super) fn list(&self) -> Vec<OpenTrouble> {
        let open = |tracked: &TrackedTrouble| match tracked.phase {
            TroublePhase::Open { suspended, .. } if tracked.trouble != Trouble::Renewal => {
                Some(OpenTrouble {
                    kind: tracked.trouble.kind(),
                    trouble: tracked.trouble.to_string(),
                    for_s: tracked.since.elapsed().as_secs(),
                    suspended,
                })
            }
            TroublePhase::Open { .. } | TroublePhase::Over { .. } => None,
        };
        self.with(|troubles| troubles.values().filter_map(open).collect())
    }

    /// Returns the time of the next check.
    pub(super) fn next_check_at(&self) -> Option<Instant> {
        let look_at = |tracked: &TrackedTrouble| match tracked.phase {
            TroublePhase::Open { look_at, .. } => Some(look_at),
            TroublePhase::Over { .. } => None,
        };
        self.with(|troubles| troubles.values().filter_map(look_at).min())
    }

    fn due(&self, now: Instant) -> Vec<(String, Trouble)> {
        let is_due = |tracked: &TrackedTrouble| matches!(tracked.phase, TroublePhase::Open { look_at, .. } if look_at <= now);
        self.with(|troubles| {
            let due = troubles.iter().filter(|(_, tracked)| is_due(tracked));
            due.map(|(key, tracked)| (key.clone(), tracked.trouble.clone())).collect()
        })
    }

    /// Runs the checks that are due; returns whether a fault was cleared.
    pub(super) async fn check_due(&self) -> bool {
        let looks = self.due(Instant::now()).into_iter().map(async |(key, trouble)| {
            #[expect(clippy::disallowed_methods, reason = "this is about this machine, not about the farm")]
            let is_over = tokio::time::timeout(CHECK_TIMEOUT, trouble.is_over()).await.unwrap_or(false);
            self.record_check(Instant::now(), &key, is_over);
            is_over
        });
        join_all(looks).await.contains(&true)
    }

    fn record_check(&self, now: Instant, key: &str, is_over: bool) {
        let over = self.with(|troubles| {
            let tracked = troubles.get_mut(key)?;
            let TroublePhase::Open { suspended, look_at } = &mut tracked.phase else { return None };
            if !is_over {
                tracked.check_interval =
                    (tracked.check_interval * 2).min(tracked.max_check_interval.max(tracked.check_interval));
                *look_at = now + tracked.check_interval;
                return None;
            }
            let summary = (now - tracked.since, *suspended, tracked.trouble.clone());
            tracked.phase = TroublePhase::Over { at: now };
            let is_open =
                |other: &TrackedTrouble| other.is_open() && other.trouble.kind() == summary.2.kind();
            (!troubles.values().any(is_open)).then_some(summary)
        });
        // Only another try shows whether these are cleared.
        let is_logged = |trouble: &Trouble| !matches!(trouble, Trouble::Renewal | Trouble::Unrestored { .. });
        if let Some((lasted, suspended, trouble)) = over.filter(|(.., trouble)| is_logged(trouble)) {
            tracing::info!(
                trouble = trouble.kind(),
                lasted_s = lasted.as_secs(),
                actions = suspended,
                "local fault cleared, handing out suspended actions"
            );
        }
    }
}

impl TrackedTrouble {
    fn is_open(&self) -> bool {
        matches!(self.phase, TroublePhase::Open { .. })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::machine::{ActionName, Visit};
    use crate::store::actions::ActionId;
    use crate::store::claims::Claim;
    use crate::store::instances::InstanceId;

    fn action(resource: Option<&str>) -> RunningAction {
        RunningAction {
            id: ActionId(1),
            instance: InstanceId(1),
            visit: Visit(1),
            is_compensation: false,
            action: ActionName::new("some").unwrap(),
            settings: Map::new(),
            limit: None,
            claims: resource.map(Claim::exclusive).into_iter().collect(),
            granted: Vec::new(),
            compensation: None,
        }
    }

    fn suspended(troubles: &TroubleTracker) -> Vec<(&'static str, u64)> {
        troubles.list().into_iter().map(|open| (open.kind, open.suspended)).collect()
    }

    fn wait(troubles: &TroubleTracker, now: Instant) -> Duration {
        troubles.next_check_at().unwrap() - now
    }

    #[test]
    fn a_cleared_fault_is_closed_and_an_open_one_is_checked_at_growing_intervals() {
        let (troubles, now) = (TroubleTracker::default(), Instant::now());
        let name = Trouble::Local(LocalTrouble::Name("host-1.invalid".to_owned()));
        for _ in 0..3 {
            troubles.report_at(now, &LocalTrouble::Descriptors.into(), &action(None));
        }
        troubles.report_at(now, &name, &action(None));
        assert_eq!(suspended(&troubles), [("descriptors", 3), ("name", 1)]);
        assert_eq!(troubles.keys(), ["descriptors", "name host-1.invalid"]);
        assert_eq!((troubles.due(now).len(), troubles.due(now + FIRST_CHECK_DELAY).len()), (0, 2));
        troubles.record_check(now, "descriptors", true);
        assert_eq!(troubles.keys(), ["name host-1.invalid"]);
        let mut waits = vec![wait(&troubles, now).as_millis()];
        for _ in 0..9 {
            troubles.record_check(now, &name.key(), false);
            waits.push(wait(&troubles, now).as_millis());
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
        // A fault of an action with claims is checked more often.
        let (troubles, relay) =
            (TroubleTracker::default(), Trouble::Local(LocalTrouble::Name("relay-1.invalid".to_owned())));
        troubles.report_at(now, &relay, &action(Some("relay-1.invalid:502")));
        for _ in 0..9 {
            troubles.record_check(now, &relay.key(), false);
        }
        assert_eq!(wait(&troubles, now), Duration::from_secs(5));
    }

    #[test]
    fn a_fault_that_returns_is_checked_at_longer_intervals_until_it_is_forgotten() {
        let (troubles, now) = (TroubleTracker::default(), Instant::now());
        let meet = |now| _ = troubles.report_at(now, &LocalTrouble::Memory.into(), &action(None));
        let mut waits = Vec::new();
        for _ in 0..10 {
            meet(now);
            waits.push(wait(&troubles, now).as_millis());
            troubles.record_check(now, "memory", true);
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
        assert!(troubles.list().is_empty() && troubles.next_check_at().is_none());
        meet(now + FORGET_AFTER);
        assert_eq!(wait(&troubles, now + FORGET_AFTER), FIRST_CHECK_DELAY);
    }

    #[test]
    fn a_compensation_that_fails_again_lasts_since_its_first_failure_and_a_fault_that_was_cleared_does_not() {
        let (troubles, now) = (TroubleTracker::default(), Instant::now());
        let unrestored = Trouble::Unrestored { what: "power", at: "relay:502".to_owned() };
        let first = now.checked_sub(Duration::from_mins(9)).unwrap();
        for trouble in [unrestored, LocalTrouble::Memory.into()] {
            troubles.report_at(first, &trouble, &action(None));
            troubles.record_check(first, &trouble.key(), true);
            troubles.report_at(now, &trouble, &action(None));
        }
        let long = troubles.list().into_iter().filter(|open| open.for_s >= 9 * 60).map(|open| open.kind);
        assert_eq!(long.collect::<Vec<_>>(), ["power"]);
    }
}
