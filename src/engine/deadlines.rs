//! Deadlines: an ordered set in memory, loaded at start and updated with every change.
//!
//! Nothing is written to or read from the database until a deadline is due, and the row of an instance needs no index on a
//! column that changes with each transition. Each process knows all deadlines and fires its own share at once: those whose
//! instance number falls to it among the live processes. A deadline of another share is checked a second later and fired if
//! it still stands, so that a crashed process needs no special treatment. A deadline that fires twice, or after an event, is
//! stale: its visit has passed.
//!
//! Deadlines are held while this process has no lease or does not accept reports, and for a while after no server accepted
//! reports: the silence of an instance that could not report means nothing.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::machine::Visit;
use crate::store::DatabaseLife;
use crate::store::instances::InstanceId;

/// The time after which a deadline of another share is checked, in real time.
const TAKEOVER_DELAY: Duration = Duration::from_secs(1);

/// A deadline that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DueDeadline {
    /// The life of the database that it was armed in.
    pub(super) life: DatabaseLife,
    /// The instance.
    pub(super) id: InstanceId,
    /// The visit that armed it.
    pub(super) visit: Visit,
    /// When it was due.
    pub(super) at: DateTime<Utc>,
}

/// The share of deadlines of this process: those whose instance number leaves `rank` when divided by `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeadlineShare {
    pub(super) rank: u32,
    pub(super) of: u32,
}

impl DeadlineShare {
    fn includes(self, id: InstanceId) -> bool {
        id.0.rem_euclid(i64::from(self.of.max(1))) == i64::from(self.rank)
    }
}

/// All armed deadlines.
#[derive(Default)]
pub(super) struct Deadlines {
    state: Mutex<DeadlinesState>,
}

struct DeadlinesState {
    /// Deadlines do not fire before this time.
    held_until: Instant,
    /// Deadlines do not fire after this time, when the lease of this process ends.
    lease_ends_at: Instant,
    /// Whether this process accepts no more reports; deadlines do not fire then.
    is_closed: bool,
    /// The life of the database that the deadlines belong to.
    life: DatabaseLife,
    /// In microseconds since 1970, a third of the size of a `DateTime`.
    armed: HashMap<InstanceId, (i64, Visit)>,
    by_time: BTreeSet<(i64, InstanceId)>,
    /// Deadlines of other shares, and deadlines that could not be handled, with the times of their next check.
    retries: VecDeque<(Instant, DueDeadline)>,
    share: DeadlineShare,
}

impl Default for DeadlinesState {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            held_until: now,
            lease_ends_at: now,
            is_closed: false,
            life: DatabaseLife::default(),
            armed: HashMap::new(),
            by_time: BTreeSet::new(),
            retries: VecDeque::new(),
            share: DeadlineShare { rank: 0, of: 1 },
        }
    }
}

impl Deadlines {
    fn with<T>(&self, work: impl FnOnce(&mut DeadlinesState) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the deadline of an instance at `visit`; true when it is the next one, so that a waiting task has to check again.
    ///
    /// Updates can be late and repeated. Within one visit a deadline is only ever armed, so a known one is kept; if it no
    /// longer stands, that shows when it is fired.
    ///
    /// In another life of the database visits are counted from the beginning: the deadlines of the earlier life are dropped,
    /// and late updates for it are ignored.
    pub(super) fn update(
        &self,
        life: DatabaseLife,
        id: InstanceId,
        visit: Visit,
        at: Option<DateTime<Utc>>,
    ) -> bool {
        self.with(|state| {
            state.enter_life(life) && state.update(id, visit, at.map(|at| at.timestamp_micros()))
        })
    }

    /// Drops the deadlines of an earlier life than `life`.
    pub(super) fn enter_life(&self, life: DatabaseLife) {
        self.with(|state| state.enter_life(life));
    }

    /// Sets several deadlines; true when one of them is the next one.
    pub(super) fn update_all(
        &self,
        life: DatabaseLife,
        armed: impl Iterator<Item = (InstanceId, Visit, Option<DateTime<Utc>>)>,
    ) -> bool {
        self.with(|state| {
            if !state.enter_life(life) {
                return false;
            }
            armed.fold(false, |is_earlier, (id, visit, at)| {
                state.update(id, visit, at.map(|at| at.timestamp_micros())) || is_earlier
            })
        })
    }

    /// Sets the share of this process; true when it has changed. Deadlines of other shares are checked at once then, because
    /// they can belong to the new share.
    pub(super) fn set_share(&self, share: DeadlineShare) -> bool {
        self.with(|state| {
            let has_changed = std::mem::replace(&mut state.share, share) != share;
            if has_changed {
                let now = Instant::now();
                for (look_at, _) in &mut state.retries {
                    *look_at = now.min(*look_at);
                }
            }
            has_changed
        })
    }

    /// Allows deadlines to fire after `hold`, in real time, and until the lease of this process ends.
    pub(super) fn allow_after(&self, hold: Duration, lease_ends_at: Instant) {
        self.with(|state| (state.held_until, state.lease_ends_at) = (Instant::now() + hold, lease_ends_at));
    }

    /// Extends the lease; true when it had ended, so that a waiting task has to check again.
    pub(super) fn extend_lease(&self, lease_ends_at: Instant) -> bool {
        self.with(|state| std::mem::replace(&mut state.lease_ends_at, lease_ends_at) <= Instant::now())
    }

    /// Holds all deadlines, because this process accepts no more reports.
    pub(super) fn hold_all(&self) {
        self.with(|state| state.is_closed = true);
    }

    /// Whether this process accepts reports.
    pub(super) fn is_listening(&self) -> bool {
        self.with(|state| !state.is_closed)
    }

    /// Whether this is the only live process.
    pub(super) fn is_alone(&self) -> bool {
        self.with(|state| state.share.of <= 1)
    }

    /// Whether a deadline is due at `now`.
    pub(super) fn has_due(&self, now: DateTime<Utc>) -> bool {
        self.with(|state| {
            state.may_fire(Instant::now())
                && (state.by_time.first().is_some_and(|(at, _)| *at <= now.timestamp_micros())
                    || state.retries.front().is_some_and(|(look_at, _)| *look_at <= Instant::now()))
        })
    }

    /// When the next deadline is due; `None` while they are held.
    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        let next = |state: &mut DeadlinesState| {
            state.by_time.first().filter(|_| state.may_fire(Instant::now())).map(|(at, _)| *at)
        };
        self.with(next).and_then(DateTime::from_timestamp_micros)
    }

    /// Lists the instances with the next deadlines of this share, at most `max`.
    pub(super) fn next_of_share(&self, max: usize) -> Vec<InstanceId> {
        self.with(|state| {
            let own = state.by_time.iter().map(|(_, id)| *id).filter(|id| state.share.includes(*id));
            own.take(max).collect()
        })
    }

    /// Waits until a deadline of another share is to be checked, or until deadlines can fire again.
    pub(super) async fn wait_for_retry(&self) {
        let look_at = |state: &mut DeadlinesState| {
            let now = Instant::now();
            match state.retries.front() {
                _ if now >= state.lease_ends_at || state.is_closed => None,
                _ if now < state.held_until => Some(state.held_until),
                later => later.map(|(at, _)| *at),
            }
        };
        match self.with(look_at) {
            Some(at) => crate::clock::sleep_real_time(at.saturating_duration_since(Instant::now())).await,
            None => std::future::pending().await,
        }
    }

    /// Takes at most `max` deadlines of this share that are due at `now`, the oldest first.
    pub(super) fn take_due(&self, now: DateTime<Utc>, max: usize) -> Vec<DueDeadline> {
        self.with(|state| state.take_due(now.timestamp_micros(), max, Instant::now()))
    }

    /// Puts back a deadline that could not be handled; it is checked again a moment later.
    pub(super) fn put_back(&self, due: DueDeadline) {
        self.with(|state| {
            if due.life != state.life {
                return;
            }
            state.armed.entry(due.id).or_insert((due.at.timestamp_micros(), due.visit));
            state.retries.push_back((Instant::now() + TAKEOVER_DELAY, due));
        });
    }
}

impl DeadlinesState {
    /// Whether `life` is the present one; a later one becomes the present one, without deadlines.
    fn enter_life(&mut self, life: DatabaseLife) -> bool {
        if life > self.life {
            let Self { held_until, lease_ends_at, is_closed, share, .. } = *self;
            *self = Self { held_until, lease_ends_at, is_closed, life, share, ..Self::default() };
        }
        life == self.life
    }

    fn may_fire(&self, now: Instant) -> bool {
        self.held_until <= now && now < self.lease_ends_at && !self.is_closed
    }

    fn update(&mut self, id: InstanceId, visit: Visit, at: Option<i64>) -> bool {
        let known = self.armed.get(&id).copied();
        if known.is_some_and(|(_, known)| visit < known || (visit == known && at.is_none())) {
            return false;
        }
        if let Some((old, _)) = known {
            self.by_time.remove(&(old, id));
        }
        let Some(at) = at else {
            self.armed.remove(&id);
            return false;
        };
        self.armed.insert(id, (at, visit));
        self.by_time.insert((at, id));
        self.by_time.first() == Some(&(at, id))
    }

    fn take_due(&mut self, now: i64, max: usize, instant: Instant) -> Vec<DueDeadline> {
        let mut taken = Vec::new();
        if !self.may_fire(instant) {
            return taken;
        }
        while taken.len() < max
            && let Some((look_at, due)) = self.retries.front().copied()
            && look_at <= instant
        {
            self.retries.pop_front();
            if self.armed.get(&due.id) == Some(&(due.at.timestamp_micros(), due.visit)) {
                self.armed.remove(&due.id);
                taken.push(due);
            }
        }
        while taken.len() < max
            && let Some((at, id)) = self.by_time.first().copied()
            && at <= now
        {
            self.by_time.pop_first();
            let Some((_, visit)) = self.armed.get(&id).copied() else { continue };
            let Some(at) = DateTime::from_timestamp_micros(at) else { continue };
            let due = DueDeadline { life: self.life, id, visit, at };
            if self.share.includes(id) {
                self.armed.remove(&id);
                taken.push(due);
            } else {
                self.retries.push_back((instant + TAKEOVER_DELAY, due));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn deadlines() -> Deadlines {
        let deadlines = Deadlines::default();
        deadlines.allow_after(Duration::ZERO, Instant::now() + Duration::from_hours(1));
        deadlines
    }

    fn learn(deadlines: &Deadlines, id: i64, visit: i64, second: Option<i64>) -> bool {
        deadlines.update(DatabaseLife::default(), InstanceId(id), Visit(visit), second.map(at))
    }

    fn take(deadlines: &Deadlines, second: i64) -> Vec<(i64, i64)> {
        deadlines.take_due(at(second), 100).into_iter().map(|due| (due.id.0, due.visit.0)).collect()
    }

    #[test]
    fn due_deadlines_are_taken_once_and_the_oldest_first() {
        let deadlines = deadlines();
        for (id, second) in [(1, 30), (2, 10), (3, 20)] {
            learn(&deadlines, id, 1, Some(second));
        }
        assert!(!deadlines.has_due(at(9)) && deadlines.has_due(at(10)));
        assert_eq!(take(&deadlines, 9), []);
        assert_eq!(take(&deadlines, 20), [(2, 1), (3, 1)]);
        assert_eq!(deadlines.next(), Some(at(30)));
        assert_eq!(deadlines.take_due(at(30), 0), []);
        assert_eq!(take(&deadlines, 30), [(1, 1)]);
        assert_eq!((take(&deadlines, 99), deadlines.next()), (vec![], None));
    }

    #[test]
    fn held_deadlines_do_not_fire_however_late_they_are() {
        let deadlines = Deadlines::default();
        learn(&deadlines, 1, 1, Some(10));
        assert!(!deadlines.has_due(at(99)));
        assert_eq!((take(&deadlines, 99), deadlines.next()), (vec![], None));
        let (now, rest) = (Instant::now(), Duration::from_mins(1));
        deadlines.allow_after(rest, now + 3 * rest);
        assert_eq!(take(&deadlines, 99), []);
        let later = |after: Duration| {
            deadlines.with(|state| state.take_due(at(99).timestamp_micros(), 100, now + after)).len()
        };
        assert_eq!(later(3 * rest), 0, "the lease has ended");
        deadlines.hold_all();
        assert_eq!(later(2 * rest), 0, "no reports are accepted");
        deadlines.with(|state| state.is_closed = false);
        assert_eq!(later(2 * rest), 1);
        learn(&deadlines, 2, 1, Some(20));
        deadlines.allow_after(Duration::ZERO, now);
        assert_eq!(take(&deadlines, 99), []);
        assert!(deadlines.extend_lease(now + rest) && !deadlines.extend_lease(now + 2 * rest));
        assert_eq!(take(&deadlines, 99), [(2, 1)]);
    }

    #[test]
    fn only_the_new_next_deadline_wakes_a_waiting_task() {
        let deadlines = deadlines();
        assert!(learn(&deadlines, 1, 1, Some(20)));
        assert!(!learn(&deadlines, 2, 1, Some(30)));
        assert!(learn(&deadlines, 3, 1, Some(10)));
        assert!(!learn(&deadlines, 3, 2, None));
    }

    #[test]
    fn late_updates_of_an_earlier_visit_change_nothing() {
        let deadlines = deadlines();
        learn(&deadlines, 1, 5, Some(20));
        learn(&deadlines, 1, 4, Some(10));
        learn(&deadlines, 1, 4, None);
        assert_eq!(deadlines.next(), Some(at(20)));
        // Within a visit a deadline is armed after entry, and the updates can arrive in any order.
        learn(&deadlines, 1, 5, None);
        assert_eq!(deadlines.next(), Some(at(20)));
        learn(&deadlines, 1, 6, None);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_deadline_of_another_share_is_checked_later_and_fired_if_it_still_stands() {
        let deadlines = deadlines();
        deadlines.set_share(DeadlineShare { rank: 0, of: 2 });
        for id in 1..=4 {
            learn(&deadlines, id, 1, Some(10));
        }
        assert_eq!(take(&deadlines, 10), [(2, 1), (4, 1)]);
        // The other process has fired one of its own, and then crashed.
        learn(&deadlines, 1, 2, None);
        let now = at(10).timestamp_micros();
        let soon = deadlines.with(|state| state.take_due(now, 100, Instant::now()));
        assert_eq!(soon, []);
        let later = deadlines.with(|state| state.take_due(now, 100, Instant::now() + TAKEOVER_DELAY));
        assert_eq!(
            later,
            [DueDeadline { life: DatabaseLife::default(), id: InstanceId(3), visit: Visit(1), at: at(10) }]
        );
        assert_eq!(deadlines.with(|state| state.take_due(now, 100, Instant::now() + TAKEOVER_DELAY)), []);
    }

    #[test]
    fn deadlines_of_a_lost_process_are_fired_as_soon_as_that_is_known() {
        let deadlines = deadlines();
        assert!(deadlines.set_share(DeadlineShare { rank: 0, of: 2 }));
        assert!(!deadlines.set_share(DeadlineShare { rank: 0, of: 2 }));
        learn(&deadlines, 1, 1, Some(10));
        assert_eq!(take(&deadlines, 10), []);
        assert!(deadlines.set_share(DeadlineShare { rank: 0, of: 1 }));
        assert_eq!(take(&deadlines, 10), [(1, 1)]);
    }

    #[test]
    fn a_deadline_that_was_not_handled_is_retried_unless_its_visit_has_ended() {
        let deadlines = deadlines();
        learn(&deadlines, 1, 1, Some(10));
        learn(&deadlines, 2, 1, Some(10));
        let taken = deadlines.take_due(at(10), 100);
        for due in &taken {
            deadlines.put_back(*due);
        }
        learn(&deadlines, 2, 2, Some(50));
        let now = at(10).timestamp_micros();
        let again = deadlines.with(|state| state.take_due(now, 100, Instant::now() + TAKEOVER_DELAY));
        assert_eq!(again, taken[..1]);
        assert_eq!(deadlines.next(), Some(at(50)));
    }

    #[test]
    fn every_deadline_belongs_to_exactly_one_share() {
        for of in 1..5 {
            for id in -3..20 {
                let has = |rank: u32| DeadlineShare { rank, of }.includes(InstanceId(id));
                assert_eq!((0..of).filter(|rank| has(*rank)).count(), 1, "{id} of {of}");
            }
        }
    }
}
