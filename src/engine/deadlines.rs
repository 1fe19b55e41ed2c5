//! Deadlines: an ordered set in memory, filled at start and told of every change.
//!
//! Nothing is written and nothing is asked of the database until one is due, however many are armed, and the instance's
//! row needs no index on what changes with each transition. Each process knows all of them and fires its own share at
//! once: those whose number falls to it among the processes that live. What falls to another is looked at again a second
//! later and fired where it still stands, so that nobody has to know who died. A deadline fired twice, or after an event
//! came first, is stale: its visit has passed.
//!
//! They are held while this process is no worker or does not listen any more, and for a while after nobody listened: whoever
//! could not be heard is not judged by their silence.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::machine::Visit;
use crate::store::DatabaseLife;
use crate::store::instances::InstanceId;

/// How long another process may take over what falls to it, in real time.
const TAKEOVER_DELAY: Duration = Duration::from_secs(1);

/// A deadline that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DueDeadline {
    /// The life of the database that it was armed in.
    pub(super) life: DatabaseLife,
    /// Whose it is.
    pub(super) id: InstanceId,
    /// The visit that armed it.
    pub(super) visit: Visit,
    /// When it was due.
    pub(super) at: DateTime<Utc>,
}

/// Which deadlines fall to this process: those whose number leaves `rank` when divided by `of`.
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

/// All deadlines that are armed.
#[derive(Default)]
pub(super) struct Deadlines {
    state: Mutex<DeadlinesState>,
}

struct DeadlinesState {
    /// Deadlines pass only from then on,
    held_until: Instant,
    /// before this process's lease ends,
    lease_ends_at: Instant,
    /// and while it can be reported to, which it can until it stops.
    is_closed: bool,
    /// The life of the database that all of it is of.
    life: DatabaseLife,
    /// In microseconds since 1970, which is a third of what a calendar's time takes.
    armed: HashMap<InstanceId, (i64, Visit)>,
    by_time: BTreeSet<(i64, InstanceId)>,
    /// What others should have fired, or what could not be fired, and when to look again.
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

    /// Learns that an instance is at `visit` with this deadline or none; true when nothing is due before it, so that
    /// whoever sleeps until the next one has to look again.
    ///
    /// News may come late and twice. Within one visit a deadline is only ever armed, so one that is known is kept; if it
    /// does not stand any more, that shows when it is fired.
    ///
    /// In another life of the database visits are counted anew: what was known of the life before is forgotten then, and
    /// news of it comes too late.
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

    /// Forgets what is not of `life`, unless that has passed itself.
    pub(super) fn enter_life(&self, life: DatabaseLife) {
        self.with(|state| state.enter_life(life));
    }

    /// Learns all of these; true when one of them is the next that is due.
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

    /// Takes this process's share from now on; true when it is another one than before: then what was left to others is
    /// looked at again at once, for it may have become ours.
    pub(super) fn set_share(&self, share: DeadlineShare) -> bool {
        self.with(|state| {
            let is_other = std::mem::replace(&mut state.share, share) != share;
            if is_other {
                let now = Instant::now();
                for (look_at, _) in &mut state.retries {
                    *look_at = now.min(*look_at);
                }
            }
            is_other
        })
    }

    /// Lets them pass from `hold` after now, in real time, and for as long as this process's lease holds: `until`.
    pub(super) fn allow_after(&self, hold: Duration, until: Instant) {
        self.with(|state| (state.held_until, state.lease_ends_at) = (Instant::now() + hold, until));
    }

    /// Learns that the lease holds longer; true when it had ended, so that whoever waits has to look again.
    pub(super) fn extend_lease(&self, until: Instant) -> bool {
        self.with(|state| std::mem::replace(&mut state.lease_ends_at, until) <= Instant::now())
    }

    /// Lets none pass any more: nobody can report anything to this process from now on.
    pub(super) fn hold_all(&self) {
        self.with(|state| state.is_closed = true);
    }

    /// Whether others can report to this process.
    pub(super) fn is_listening(&self) -> bool {
        self.with(|state| !state.is_closed)
    }

    /// Whether all of them fall to this process: no other one lives.
    pub(super) fn is_alone(&self) -> bool {
        self.with(|state| state.share.of <= 1)
    }

    /// Whether something is due at `now`.
    pub(super) fn has_due(&self, now: DateTime<Utc>) -> bool {
        self.with(|state| {
            state.may_fire(Instant::now())
                && (state.by_time.first().is_some_and(|(at, _)| *at <= now.timestamp_micros())
                    || state.retries.front().is_some_and(|(look_at, _)| *look_at <= Instant::now()))
        })
    }

    /// When the next one is due; `None` while they are held.
    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        let next = |state: &mut DeadlinesState| {
            state.by_time.first().filter(|_| state.may_fire(Instant::now())).map(|(at, _)| *at)
        };
        self.with(next).and_then(DateTime::from_timestamp_micros)
    }

    /// Those that are due next, `most` of them, among those that fall to this process.
    pub(super) fn next_of_share(&self, most: usize) -> Vec<InstanceId> {
        self.with(|state| {
            let own = state.by_time.iter().map(|(_, id)| *id).filter(|id| state.share.includes(*id));
            own.take(most).collect()
        })
    }

    /// Ends when something that was left to others is to be looked at again, or when deadlines may pass again.
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

    /// Takes at most `most` that are due at `now` and fall to this process, the oldest first.
    pub(super) fn take_due(&self, now: DateTime<Utc>, most: usize) -> Vec<DueDeadline> {
        self.with(|state| state.take_due(now.timestamp_micros(), most, Instant::now()))
    }

    /// Puts back what could not be fired; it is looked at again a moment later.
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
    /// Whether `life` is the present one; where it is a later one, nothing is known yet.
    fn enter_life(&mut self, life: DatabaseLife) -> bool {
        if life > self.life {
            let Self { held_until: from, lease_ends_at: until, is_closed: has_ceased, share, .. } = *self;
            *self = Self {
                held_until: from,
                lease_ends_at: until,
                is_closed: has_ceased,
                life,
                share,
                ..Self::default()
            };
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

    fn take_due(&mut self, now: i64, most: usize, instant: Instant) -> Vec<DueDeadline> {
        let mut taken = Vec::new();
        if !self.may_fire(instant) {
            return taken;
        }
        while taken.len() < most
            && let Some((look_at, due)) = self.retries.front().copied()
            && look_at <= instant
        {
            self.retries.pop_front();
            if self.armed.get(&due.id) == Some(&(due.at.timestamp_micros(), due.visit)) {
                self.armed.remove(&due.id);
                taken.push(due);
            }
        }
        while taken.len() < most
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
    fn what_is_due_is_taken_once_and_the_oldest_first() {
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
    fn while_they_are_held_none_passes_however_long_ago_it_was_due() {
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
        assert_eq!(later(2 * rest), 0, "nobody listens");
        deadlines.with(|state| state.is_closed = false);
        assert_eq!(later(2 * rest), 1);
        learn(&deadlines, 2, 1, Some(20));
        deadlines.allow_after(Duration::ZERO, now);
        assert_eq!(take(&deadlines, 99), []);
        assert!(deadlines.extend_lease(now + rest) && !deadlines.extend_lease(now + 2 * rest));
        assert_eq!(take(&deadlines, 99), [(2, 1)]);
    }

    #[test]
    fn only_an_earlier_one_than_all_others_wakes_who_sleeps() {
        let deadlines = deadlines();
        assert!(learn(&deadlines, 1, 1, Some(20)));
        assert!(!learn(&deadlines, 2, 1, Some(30)));
        assert!(learn(&deadlines, 3, 1, Some(10)));
        assert!(!learn(&deadlines, 3, 2, None));
    }

    #[test]
    fn late_news_of_an_earlier_visit_changes_nothing() {
        let deadlines = deadlines();
        learn(&deadlines, 1, 5, Some(20));
        learn(&deadlines, 1, 4, Some(10));
        learn(&deadlines, 1, 4, None);
        assert_eq!(deadlines.next(), Some(at(20)));
        // Within a visit a deadline is armed after entry, and the news of both may come in any order.
        learn(&deadlines, 1, 5, None);
        assert_eq!(deadlines.next(), Some(at(20)));
        learn(&deadlines, 1, 6, None);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn what_falls_to_another_process_is_looked_at_again_and_fired_if_it_still_stands() {
        let deadlines = deadlines();
        deadlines.set_share(DeadlineShare { rank: 0, of: 2 });
        for id in 1..=4 {
            learn(&deadlines, id, 1, Some(10));
        }
        assert_eq!(take(&deadlines, 10), [(2, 1), (4, 1)]);
        // The other process has fired one of its own, and then died.
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
    fn what_was_left_to_a_process_that_is_gone_is_fired_as_soon_as_that_is_known() {
        let deadlines = deadlines();
        assert!(deadlines.set_share(DeadlineShare { rank: 0, of: 2 }));
        assert!(!deadlines.set_share(DeadlineShare { rank: 0, of: 2 }));
        learn(&deadlines, 1, 1, Some(10));
        assert_eq!(take(&deadlines, 10), []);
        assert!(deadlines.set_share(DeadlineShare { rank: 0, of: 1 }));
        assert_eq!(take(&deadlines, 10), [(1, 1)]);
    }

    #[test]
    fn what_could_not_be_fired_is_tried_again_unless_it_has_passed_meanwhile() {
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
    fn every_deadline_falls_to_exactly_one_of_the_processes() {
        for of in 1..5 {
            for id in -3..20 {
                let has = |rank: u32| DeadlineShare { rank, of }.includes(InstanceId(id));
                assert_eq!((0..of).filter(|rank| has(*rank)).count(), 1, "{id} of {of}");
            }
        }
    }
}
