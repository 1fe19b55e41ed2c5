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
const FIRST: Duration = Duration::from_millis(250);
/// The longest from one look to the next.
const LONGEST: Duration = Duration::from_secs(5);
/// The same for what somebody has to mend: a name (unless an action that claims a resource waits for it), a driver, or whatever keeps coming back.
const LONGEST_FAULT: Duration = Duration::from_mins(1);
/// How long a trouble must be gone before it counts as a new one.
const FORGOTTEN: Duration = Duration::from_mins(10);
/// The longest that one look may take.
const LOOK: Duration = Duration::from_secs(20);

/// The troubles of this process.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    known: Mutex<BTreeMap<String, Known>>,
    opened: Notify,
}

#[derive(Debug)]
struct Known {
    trouble: Trouble,
    phase: Phase,
    /// How long it is left alone before the next look.
    wait: Duration,
    /// The longest that it is left alone while it goes on.
    longest: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
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

impl Troubles {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Known>) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An action was suspended by `trouble`, for this reason.
    pub(super) fn meet(&self, trouble: &Trouble, action: &RunningAction, reason: &str) {
        self.meet_at(Instant::now(), trouble, action, reason);
    }

    fn meet_at(&self, now: Instant, trouble: &Trouble, action: &RunningAction, reason: &str) {
        let key = trouble.key();
        let (is_first, is_back) = self.with(|known| {
            known.retain(|_, one| !matches!(one.phase, Phase::Over { at } if now - at >= FORGOTTEN));
            let is_kind_open =
                known.values().any(|one| one.is_open() && one.trouble.kind() == trouble.kind());
            let is_back = known.contains_key(&key);
            let is_name = matches!(trouble, Trouble::Local(LocalTrouble::Name(_)));
            let one = known.entry(key).or_insert_with(|| Known {
                trouble: trouble.clone(),
                phase: Phase::Over { at: now },
                wait: FIRST / 2,
                longest: if is_name { LONGEST_FAULT } else { LONGEST },
            });
            if !action.claims.is_empty() {
                // Something may be left undone until it is over, and others wait for what it holds.
                one.longest = LONGEST;
            }
            match &mut one.phase {
                Phase::Open { suspended, .. } => *suspended += 1,
                Phase::Over { .. } => {
                    one.wait = (one.wait * 2).min(LONGEST_FAULT);
                    one.phase = Phase::Open { since: now, look_at: now + one.wait, suspended: 1 };
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
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// What the actions that are not to be begun by this process are suspended by.
    pub(super) fn keys(&self) -> Vec<String> {
        self.with(|known| known.iter().filter(|(_, one)| one.is_open()).map(|(key, _)| key.clone()).collect())
    }

    /// The troubles that go on.
    pub(super) fn list(&self) -> Vec<OpenTrouble> {
        let open = |one: &Known| match one.phase {
            Phase::Open { since, suspended, .. } if one.trouble != Trouble::Renewal => Some(OpenTrouble {
                kind: one.trouble.kind(),
                trouble: one.trouble.to_string(),
                for_s: since.elapsed().as_secs(),
                suspended,
            }),
            Phase::Open { .. } | Phase::Over { .. } => None,
        };
        self.with(|known| known.values().filter_map(open).collect())
    }

    /// When one of them is to be looked at.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let look_at = |one: &Known| match one.phase {
            Phase::Open { look_at, .. } => Some(look_at),
            Phase::Over { .. } => None,
        };
        self.with(|known| known.values().filter_map(look_at).min())
    }

    fn due(&self, now: Instant) -> Vec<(String, Trouble)> {
        let is_due = |one: &Known| matches!(one.phase, Phase::Open { look_at, .. } if look_at <= now);
        self.with(|known| {
            let due = known.iter().filter(|(_, one)| is_due(one));
            due.map(|(key, one)| (key.clone(), one.trouble.clone())).collect()
        })
    }

    /// Looks at what is due; says whether anything is over.
    pub(super) async fn look(&self) -> bool {
        let looks = self.due(Instant::now()).into_iter().map(async |(key, trouble)| {
            #[expect(clippy::disallowed_methods, reason = "this is about this machine, not about the farm")]
            let is_over = tokio::time::timeout(LOOK, trouble.is_over()).await.unwrap_or(false);
            self.looked_at(Instant::now(), &key, is_over);
            is_over
        });
        join_all(looks).await.contains(&true)
    }

    fn looked_at(&self, now: Instant, key: &str, is_over: bool) {
        let over = self.with(|known| {
            let one = known.get_mut(key)?;
            let Phase::Open { since, suspended, look_at } = &mut one.phase else { return None };
            if !is_over {
                one.wait = (one.wait * 2).min(one.longest.max(one.wait));
                *look_at = now + one.wait;
                return None;
            }
            let told = (now - *since, *suspended, one.trouble.clone());
            one.phase = Phase::Over { at: now };
            let is_open = |other: &Known| other.is_open() && other.trouble.kind() == told.2.kind();
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

impl Known {
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
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
            is_rescue: false,
            action: ActionName::new("some").unwrap(),
            settings: Map::new(),
            limit: None,
            claims: resource.map(Claim::exclusive).into_iter().collect(),
            granted: Vec::new(),
            compensation: None,
        }
    }

    fn suspended(troubles: &Troubles) -> Vec<(&'static str, u64)> {
        troubles.list().into_iter().map(|open| (open.kind, open.suspended)).collect()
    }

    fn wait(troubles: &Troubles, now: Instant) -> Duration {
        troubles.next_look().unwrap() - now
    }

    #[test]
    fn what_is_over_is_handed_out_and_what_goes_on_is_looked_at_ever_more_seldom() {
        let (troubles, now) = (Troubles::default(), Instant::now());
        let name = Trouble::Local(LocalTrouble::Name("host-1.invalid".to_owned()));
        for _ in 0..3 {
            troubles.meet_at(now, &LocalTrouble::Descriptors.into(), &action(None), "no descriptor");
        }
        troubles.meet_at(now, &name, &action(None), "no name");
        assert_eq!(suspended(&troubles), [("descriptors", 3), ("name", 1)]);
        assert_eq!(troubles.keys(), ["descriptors", "name host-1.invalid"]);
        assert_eq!((troubles.due(now).len(), troubles.due(now + FIRST).len()), (0, 2));
        troubles.looked_at(now, "descriptors", true);
        assert_eq!(troubles.keys(), ["name host-1.invalid"]);
        let mut waits = vec![wait(&troubles, now).as_millis()];
        for _ in 0..9 {
            troubles.looked_at(now, &name.key(), false);
            waits.push(wait(&troubles, now).as_millis());
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
        // What holds a place is looked at more often.
        let (troubles, relay) =
            (Troubles::default(), Trouble::Local(LocalTrouble::Name("relay-1.invalid".to_owned())));
        troubles.meet_at(now, &relay, &action(Some("relay-1.invalid:502")), "no name");
        for _ in 0..9 {
            troubles.looked_at(now, &relay.key(), false);
        }
        assert_eq!(wait(&troubles, now), Duration::from_secs(5));
    }

    #[test]
    fn what_comes_back_soon_is_left_alone_for_longer_and_forgotten_in_the_end() {
        let (troubles, now) = (Troubles::default(), Instant::now());
        let meet = |now| troubles.meet_at(now, &LocalTrouble::Memory.into(), &action(None), "no memory");
        let mut waits = Vec::new();
        for _ in 0..10 {
            meet(now);
            waits.push(wait(&troubles, now).as_millis());
            troubles.looked_at(now, "memory", true);
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
        assert!(troubles.list().is_empty() && troubles.next_look().is_none());
        meet(now + FORGOTTEN);
        assert_eq!(wait(&troubles, now + FORGOTTEN), FIRST);
    }
}
