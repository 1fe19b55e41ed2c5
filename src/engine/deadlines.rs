//! Deadlines: an ordered set in memory, filled at start and told of every change.
//!
//! Nothing is written and nothing is asked of the database until one is due, however many are armed, and the board's
//! row needs no index on what changes with each transition. Each process knows all of them and fires its own share at
//! once: those whose number falls to it among the processes that live. What falls to another is looked at again a second
//! later and fired where it still stands, so that nobody has to know who died. A deadline fired twice, or after an event
//! came first, is stale: its visit has passed.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::machine::Visit;
use crate::store::instances::InstanceId;

/// How long another process may take over what falls to it, in real time.
const GRACE: Duration = Duration::from_secs(1);

/// A deadline that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Whose it is.
    pub(super) id: InstanceId,
    /// The visit that armed it.
    pub(super) visit: Visit,
    /// When it was due.
    pub(super) at: DateTime<Utc>,
}

/// Which deadlines fall to this process: those whose number leaves `rank` when divided by `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) rank: u32,
    pub(super) of: u32,
}

impl Share {
    fn has(self, id: InstanceId) -> bool {
        id.0.rem_euclid(i64::from(self.of.max(1))) == i64::from(self.rank)
    }
}

/// All deadlines that are armed.
#[derive(Default)]
pub(super) struct Deadlines {
    state: Mutex<State>,
}

struct State {
    /// In microseconds since 1970, which is a third of what a calendar's time takes.
    armed: HashMap<InstanceId, (i64, Visit)>,
    order: BTreeSet<(i64, InstanceId)>,
    /// What others should have fired, or what could not be fired, and when to look again.
    later: VecDeque<(Instant, Due)>,
    share: Share,
}

impl Default for State {
    fn default() -> Self {
        Self {
            armed: HashMap::new(),
            order: BTreeSet::new(),
            later: VecDeque::new(),
            share: Share { rank: 0, of: 1 },
        }
    }
}

impl Deadlines {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Learns that an instance is at `visit` with this deadline or none; true when nothing is due before it, so that
    /// whoever sleeps until the next one has to look again.
    ///
    /// News may come late and twice. Within one visit a deadline is only ever armed, so one that is known is kept; if it
    /// does not stand any more, that shows when it is fired.
    pub(super) fn learn(&self, id: InstanceId, visit: Visit, at: Option<DateTime<Utc>>) -> bool {
        self.with(|state| state.learn(id, visit, at.map(|at| at.timestamp_micros())))
    }

    /// Takes this process's share from now on.
    pub(super) fn set_share(&self, share: Share) {
        self.with(|state| state.share = share);
    }

    /// Whether something is due at `now`.
    pub(super) fn has_due(&self, now: DateTime<Utc>) -> bool {
        self.with(|state| state.order.first().is_some_and(|(at, _)| *at <= now.timestamp_micros()))
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        self.with(|state| state.order.first().map(|(at, _)| *at)).and_then(DateTime::from_timestamp_micros)
    }

    /// Ends when something that was left to others is to be looked at again.
    pub(super) async fn second_look(&self) {
        match self.with(|state| state.later.front().map(|(at, _)| *at)) {
            Some(at) => crate::clock::pause(at.saturating_duration_since(Instant::now())).await,
            None => std::future::pending().await,
        }
    }

    /// Takes at most `most` that are due at `now` and fall to this process, the oldest first.
    pub(super) fn take_due(&self, now: DateTime<Utc>, most: usize) -> Vec<Due> {
        self.with(|state| state.take_due(now.timestamp_micros(), most, Instant::now()))
    }

    /// Puts back what could not be fired; it is looked at again a moment later.
    pub(super) fn put_back(&self, due: Due) {
        self.with(|state| {
            state.armed.entry(due.id).or_insert((due.at.timestamp_micros(), due.visit));
            state.later.push_back((Instant::now() + GRACE, due));
        });
    }
}

impl State {
    fn learn(&mut self, id: InstanceId, visit: Visit, at: Option<i64>) -> bool {
        let known = self.armed.get(&id).copied();
        if known.is_some_and(|(_, known)| visit < known || (visit == known && at.is_none())) {
            return false;
        }
        if let Some((old, _)) = known {
            self.order.remove(&(old, id));
        }
        let Some(at) = at else {
            self.armed.remove(&id);
            return false;
        };
        self.armed.insert(id, (at, visit));
        self.order.insert((at, id));
        self.order.first() == Some(&(at, id))
    }

    fn take_due(&mut self, now: i64, most: usize, instant: Instant) -> Vec<Due> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((look_at, due)) = self.later.front().copied()
            && look_at <= instant
        {
            self.later.pop_front();
            if self.armed.get(&due.id) == Some(&(due.at.timestamp_micros(), due.visit)) {
                self.armed.remove(&due.id);
                taken.push(due);
            }
        }
        while taken.len() < most
            && let Some((at, id)) = self.order.first().copied()
            && at <= now
        {
            self.order.pop_first();
            let Some((_, visit)) = self.armed.get(&id).copied() else { continue };
            let Some(at) = DateTime::from_timestamp_micros(at) else { continue };
            let due = Due { id, visit, at };
            if self.share.has(id) {
                self.armed.remove(&id);
                taken.push(due);
            } else {
                self.later.push_back((instant + GRACE, due));
            }
        }
        taken
    }
}
