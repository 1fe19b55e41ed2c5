//! What stands in the way of this process's actions, until it is over.
//!
//! ```text
//! an action meets it ─▶ open ─▶ looked at, ever more seldom ─▶ over: all actions that wait for it are handed out
//! ```
//!
//! Only this process's own view: actions that are suspended here may be begun by another process that has no such trouble.
//! Each is looked at without touching anything outside ([`Trouble::is_over`]), so that none is switched, and nothing is written,
//! only to find that it goes on. One that comes back soon after it was over is looked at later and later.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::actions::{LocalTrouble, Trouble};
use crate::store::actions::RunningAction;

/// When a trouble is first looked at.
const FIRST_CHECK_DELAY: Duration = Duration::from_millis(250);
/// The longest from one look to the next.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The same for what somebody has to mend: a name (unless an action that claims a resource waits for it), a driver, or whatever keeps coming back.
const MAX_FAULT_CHECK_INTERVAL: Duration = Duration::from_mins(1);
/// How long a trouble must be gone before it counts as a new one.
const FORGET_AFTER: Duration = Duration::from_mins(10);
/// The longest that one look may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// The troubles of this process.
#[derive(Debug, Default)]
pub(super) struct TroubleTracker {
    tracked: Mutex<BTreeMap<String, TrackedTrouble>>,
    opened: Notify,
}

#[derive(Debug)]
struct TrackedTrouble {
    trouble: Trouble,
    phase: TroublePhase,
    /// How long it is left alone before the next look.
    check_interval: Duration,
    /// The longest that it is left alone while it goes on.
    max_check_interval: Duration,
}

#[derive(Debug, Clone, Copy)]
enum TroublePhase {
    /// Actions wait for it.
    Open { since: Instant, look_at: Instant, suspended: u64 },
    /// It was over then.
    Over { at: Instant },
}

/// A trouble that goes on, for those who ask.
#[derive(Debug, Clone, Serialize)]
pub struct OpenTrouble {
    /// One word for its kind.
    pub kind: &'static str,
    /// The same in words.
    pub trouble: String,
    /// For how long, in seconds.
    pub for_s: u64,
    /// How many actions of this process were suspended by it.
    pub suspended: u64,
}

impl TroubleTracker {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, TrackedTrouble>) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.tracked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An action was suspended by `trouble`, for this reason.
    pub(super) fn report(&self, trouble: &Trouble, action: &RunningAction, reason: &str) {
        self.report_at(Instant::now(), trouble, action, reason);
    }

    fn report_at(&self, now: Instant, trouble: &Trouble, action: &RunningAction, reason: &str) {
        let key = trouble.key();
        let (is_first, is_back) = self.with(|known| {
            known
                .retain(|_, one| !matches!(one.phase, TroublePhase::Over { at } if now - at >= FORGET_AFTER));
            let is_kind_open =
                known.values().any(|one| one.is_open() && one.trouble.kind() == trouble.kind());
            let is_back = known.contains_key(&key);
            let is_name = matches!(trouble, Trouble::Local(LocalTrouble::Name(_)));
            let one = known.entry(key).or_insert_with(|| TrackedTrouble {
                trouble: trouble.clone(),
                phase: TroublePhase::Over { at: now },
                check_interval: FIRST_CHECK_DELAY / 2,
                max_check_interval: if is_name { MAX_FAULT_CHECK_INTERVAL } else { MAX_CHECK_INTERVAL },
            });
            if !action.claims.is_empty() {
                // Something may be left undone until it is over, and others wait for what it holds.
                one.max_check_interval = MAX_CHECK_INTERVAL;
            }
            match &mut one.phase {
                TroublePhase::Open { suspended, .. } => *suspended += 1,
                TroublePhase::Over { .. } => {
                    one.check_interval = (one.check_interval * 2).min(MAX_FAULT_CHECK_INTERVAL);
                    one.phase =
                        TroublePhase::Open { since: now, look_at: now + one.check_interval, suspended: 1 };
                }
            }
            (!is_kind_open, is_back)
        });
        self.opened.notify_one();
        let action = action.action.as_str();
        if *trouble == Trouble::Renewal {
            return;
        }
        if matches!(trouble, Trouble::Unrestored { .. }) {
            if !is_back {
                tracing::warn!(action, reason, "{trouble}: it is tried again");
            }
        } else if is_first {
            tracing::warn!(
                trouble = trouble.kind(),
                action,
                reason,
                "actions suspended: trouble of this machine or its configuration, not of what they act on"
            );
        } else {
            tracing::debug!(trouble = trouble.kind(), action, reason, "action suspended");
        }
    }

    /// Waits until there is another one.
    pub(super) async fn wait_for_opened(&self) {
        self.opened.notified().await;
    }

    /// What the actions that are not to be begun by this process are suspended by.
    pub(super) fn keys(&self) -> Vec<String> {
        self.with(|known| known.iter().filter(|(_, one)| one.is_open()).map(|(key, _)| key.clone()).collect())
    }

    /// The troubles that go on.
    pub(super) fn list(&self) -> Vec<OpenTrouble> {
        let open = |one: &TrackedTrouble| match one.phase {
            TroublePhase::Open { since, suspended, .. } if one.trouble != Trouble::Renewal => {
                Some(OpenTrouble {
                    kind: one.trouble.kind(),
                    trouble: one.trouble.to_string(),
                    for_s: since.elapsed().as_secs(),
                    suspended,
                })
            }
            TroublePhase::Open { .. } | TroublePhase::Over { .. } => None,
        };
        self.with(|known| known.values().filter_map(open).collect())
    }

    /// When one of them is to be looked at.
    pub(super) fn next_check_at(&self) -> Option<Instant> {
        let look_at = |one: &TrackedTrouble| match one.phase {
            TroublePhase::Open { look_at, .. } => Some(look_at),
            TroublePhase::Over { .. } => None,
        };
        self.with(|known| known.values().filter_map(look_at).min())
    }

    fn due(&self, now: Instant) -> Vec<(String, Trouble)> {
        let is_due =
            |one: &TrackedTrouble| matches!(one.phase, TroublePhase::Open { look_at, .. } if look_at <= now);
        self.with(|known| {
            let due = known.iter().filter(|(_, one)| is_due(one));
            due.map(|(key, one)| (key.clone(), one.trouble.clone())).collect()
        })
    }

    /// Looks at what is due; says whether anything is over.
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
        let over = self.with(|known| {
            let one = known.get_mut(key)?;
            let TroublePhase::Open { since, suspended, look_at } = &mut one.phase else { return None };
            if !is_over {
                one.check_interval =
                    (one.check_interval * 2).min(one.max_check_interval.max(one.check_interval));
                *look_at = now + one.check_interval;
                return None;
            }
            let told = (now - *since, *suspended, one.trouble.clone());
            one.phase = TroublePhase::Over { at: now };
            let is_open = |other: &TrackedTrouble| other.is_open() && other.trouble.kind() == told.2.kind();
            (!known.values().any(is_open)).then_some(told)
        });
        // Of these two it shows only when it is tried.
        let is_told = |trouble: &Trouble| !matches!(trouble, Trouble::Renewal | Trouble::Unrestored { .. });
        if let Some((lasted, suspended, trouble)) = over.filter(|(.., trouble)| is_told(trouble)) {
            tracing::info!(
                trouble = trouble.kind(),
                lasted_s = lasted.as_secs_f64(),
                suspended,
                "trouble over, suspended actions are handed out"
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
    fn what_is_over_is_handed_out_and_what_goes_on_is_looked_at_ever_more_seldom() {
        let (troubles, now) = (TroubleTracker::default(), Instant::now());
        let name = Trouble::Local(LocalTrouble::Name("host-1.invalid".to_owned()));
        for _ in 0..3 {
            troubles.report_at(now, &LocalTrouble::Descriptors.into(), &action(None), "no descriptor");
        }
        troubles.report_at(now, &name, &action(None), "no name");
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
        // What holds a place is looked at more often.
        let (troubles, relay) =
            (TroubleTracker::default(), Trouble::Local(LocalTrouble::Name("relay-1.invalid".to_owned())));
        troubles.report_at(now, &relay, &action(Some("relay-1.invalid:502")), "no name");
        for _ in 0..9 {
            troubles.record_check(now, &relay.key(), false);
        }
        assert_eq!(wait(&troubles, now), Duration::from_secs(5));
    }

    #[test]
    fn what_comes_back_soon_is_left_alone_for_longer_and_forgotten_in_the_end() {
        let (troubles, now) = (TroubleTracker::default(), Instant::now());
        let meet = |now| troubles.report_at(now, &LocalTrouble::Memory.into(), &action(None), "no memory");
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
}
