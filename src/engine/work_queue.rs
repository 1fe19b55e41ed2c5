//! What waits to be decided on: events in the order of their arrival, and deadlines as they become due.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::deadlines::Deadlines;
use super::work_item::WorkItem;
use crate::clock::Clock;
use crate::store;

/// How many groups are on their way at once: while one waits for the disk, another is decided on.
pub(super) const LANES: usize = store::BATCH_CONNECTIONS as usize;
/// The most that one group decides on. Source: reference measurements; larger groups gained nothing.
pub(super) const MAX_BATCH_SIZE: usize = 256;
/// How much of a group is kept for deadlines while they and events both wait: neither starves the other.
const RESERVED_FOR_DEADLINES: usize = MAX_BATCH_SIZE / 4;
/// How many events may wait; at ten thousand a second that is under a second's work.
pub(super) const MAX_WAITING_EVENTS: usize = 8192;

/// The queue before the pipeline.
pub(super) struct WorkQueue {
    waiting: Mutex<WaitingWork>,
    changed: Notify,
    deadlines: Deadlines,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct WaitingWork {
    work: VecDeque<WorkItem>,
    /// How much of what was handed out is not answered.
    in_progress: usize,
    is_closed: bool,
}

impl WaitingWork {
    /// How much of all that is to be done falls to each lane. Were one to take all that waits, then all would be answered
    /// together, ask together, and wait for one lane again, while the other has nothing to do.
    fn batch_share(&self) -> usize {
        (self.in_progress + self.work.len()).div_ceil(LANES)
    }
}

/// Why something was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueueRefusal {
    /// Too much waits already.
    Full,
    /// This process stops.
    Closed,
}

impl WorkQueue {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { waiting: Mutex::default(), changed: Notify::new(), deadlines: Deadlines::default(), clock }
    }

    fn with<T>(&self, work: impl FnOnce(&mut WaitingWork) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: what is counted is counted last. The deadlines' lock may be
        // taken meanwhile; whoever has that one never takes this one.
        work(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what somebody waits for; what comes from outside is refused where too much waits.
    pub(super) fn push(&self, work: WorkItem) -> Result<(), QueueRefusal> {
        self.with(|waiting| {
            if waiting.is_closed {
                return Err(QueueRefusal::Closed);
            }
            if matches!(work, WorkItem::Submitted { .. }) && waiting.work.len() >= MAX_WAITING_EVENTS {
                return Err(QueueRefusal::Full);
            }
            waiting.work.push_back(work);
            Ok(())
        })?;
        self.changed.notify_one();
        Ok(())
    }

    /// The deadlines.
    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Lets whoever waits look again: deadlines have changed.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Takes nothing more; what waits is still handed out.
    pub(super) fn close(&self) {
        self.with(|waiting| waiting.is_closed = true);
        self.changed.notify_waiters();
    }

    /// Gives a lane its next group: `again`, which is left of its last one after so many were `answered`, then what has
    /// arrived, up to the lane's share, and whatever is due. An empty group waits for its first; `None` when there will be
    /// nothing more.
    pub(super) async fn next_batch(&self, again: Vec<WorkItem>, answered: usize) -> Option<Vec<WorkItem>> {
        let mut group = again;
        self.with(|waiting| waiting.in_progress -= answered);
        let held = group.len();
        self.await_arrivals(held).await;
        loop {
            // Listening begins before looking, so that nothing comes unnoticed in between.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let now = self.clock.now();
            let (is_closed, has_more) = self.with(|waiting| {
                let kept = if self.deadlines.has_due(now) { RESERVED_FOR_DEADLINES } else { 0 };
                let room = waiting.batch_share().min(MAX_BATCH_SIZE - kept).saturating_sub(held);
                group.extend(waiting.work.drain(..room.min(waiting.work.len())));
                if !waiting.is_closed {
                    let room = MAX_BATCH_SIZE.saturating_sub(group.len());
                    group.extend(self.deadlines.take_due(now, room).into_iter().map(WorkItem::Due));
                }
                waiting.in_progress += group.len() - held;
                (waiting.is_closed, !waiting.work.is_empty())
            });
            if !group.is_empty() {
                if has_more || self.deadlines.has_due(now) {
                    // Another lane may be idle.
                    self.changed.notify_one();
                }
                return Some(group);
            }
            if is_closed {
                return None;
            }
            let next = self.deadlines.next();
            let due = async {
                match next {
                    Some(next) => self.clock.sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            let second_look = self.deadlines.wait_for_retry();
            tokio::select! {
                () = changed => self.await_arrivals(0).await,
                () = due => {}
                () = second_look => {}
            }
        }
    }

    /// Lets those run who are about to add something: whoever was answered together asks together, and the first of
    /// them must not be taken alone. Nobody is waited for.
    async fn await_arrivals(&self, taken: usize) {
        let mut size = 0;
        loop {
            tokio::task::yield_now().await;
            let grown = self.with(|waiting| waiting.work.len());
            if grown <= size || grown + taken >= MAX_BATCH_SIZE {
                return;
            }
            size = grown;
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;
    use crate::clock::ManualClock;
    use crate::engine::Submission;
    use crate::engine::work_item::InstanceNote;
    use crate::machine::{Cause, Links, Visit};
    use crate::store::DatabaseLife;
    use crate::store::instances::{InstanceId, InstanceKey};

    fn queue() -> (WorkQueue, ManualClock) {
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        let queue = WorkQueue::new(Arc::new(clock.clone()));
        let hour = std::time::Duration::from_hours(1);
        queue.deadlines().allow_after(std::time::Duration::ZERO, Instant::now() + hour);
        (queue, clock)
    }

    fn event(id: i64) -> WorkItem {
        let submission =
            Submission::new(InstanceKey::Id(InstanceId(id)), Cause::Created { links: Links::new() });
        WorkItem::Submitted {
            submission: Box::new(submission),
            since: Instant::now(),
            answer: oneshot::channel().0,
        }
    }

    fn note(id: i64) -> WorkItem {
        let note =
            InstanceNote { name: "asked", sender: None, evidence: serde_json::Map::new(), reason: None };
        WorkItem::Noted {
            id: InstanceId(id),
            note: Box::new(note),
            since: Instant::now(),
            answer: oneshot::channel().0,
        }
    }

    fn ids(group: &[WorkItem]) -> Vec<i64> {
        let id = |work: &WorkItem| match work.target().as_ref() {
            InstanceKey::Id(id) => id.0,
            InstanceKey::Name(..) => 0,
        };
        group.iter().map(id).collect()
    }

    #[tokio::test]
    async fn a_group_is_what_has_arrived_in_its_order() {
        let (queue, _) = queue();
        for id in 0..300 {
            queue.push(event(id)).unwrap();
        }
        let group = queue.next_batch(Vec::new(), 0).await.unwrap();
        assert!(ids(&group).into_iter().eq(0..150));
        // What is to be decided on anew comes before what has arrived since.
        let group = queue.next_batch(vec![event(7)], 149).await.unwrap();
        assert!(ids(&group).into_iter().eq(std::iter::once(7).chain(150..225)));
    }

    #[tokio::test]
    async fn lanes_share_what_there_is_to_do() {
        let (queue, _) = queue();
        for id in 0..256 {
            queue.push(event(id)).unwrap();
        }
        assert_eq!(queue.next_batch(Vec::new(), 0).await.unwrap().len(), 128);
        assert_eq!(queue.next_batch(Vec::new(), 0).await.unwrap().len(), 128);
        // While one lane has its half, whoever was answered by the other asks again.
        for id in 0..128 {
            queue.push(event(id)).unwrap();
        }
        assert_eq!(queue.next_batch(Vec::new(), 128).await.unwrap().len(), 128);
        // And where much more waits than lanes can have in hand, each has a whole group.
        for id in 0..1000 {
            queue.push(event(id)).unwrap();
        }
        assert_eq!(queue.next_batch(Vec::new(), 128).await.unwrap().len(), MAX_BATCH_SIZE);
        assert_eq!(queue.next_batch(Vec::new(), 128).await.unwrap().len(), MAX_BATCH_SIZE);
        // All that was handed out is answered or still in hand.
        assert_eq!(queue.with(|waiting| waiting.in_progress), 2 * MAX_BATCH_SIZE);
    }

    #[tokio::test]
    async fn a_lone_one_waits_for_no_company_whatever_the_other_lane_has() {
        let (queue, _) = queue();
        for in_hand in [0, 1, 100] {
            queue.with(|waiting| waiting.in_progress = in_hand);
            queue.push(note(7)).unwrap();
            assert_eq!(ids(&queue.next_batch(Vec::new(), 0).await.unwrap()), [7]);
        }
    }

    #[tokio::test]
    async fn neither_a_storm_of_deadlines_nor_one_of_events_starves_the_other() {
        let (queue, clock) = queue();
        for id in 0..1000 {
            queue.push(event(id)).unwrap();
            queue.deadlines().update(
                DatabaseLife::default(),
                InstanceId(10_000 + id),
                Visit(1),
                Some(clock.now()),
            );
        }
        let group = queue.next_batch(Vec::new(), 0).await.unwrap();
        let events = ids(&group).iter().filter(|id| **id < 10_000).count();
        assert_eq!((events, group.len()), (MAX_BATCH_SIZE - RESERVED_FOR_DEADLINES, MAX_BATCH_SIZE));
    }

    #[tokio::test]
    async fn what_comes_from_outside_is_refused_when_too_much_waits_and_nothing_else_is() {
        let (queue, _) = queue();
        for id in 0..8192 {
            queue.push(event(id)).unwrap();
        }
        assert_eq!(queue.push(event(0)), Err(QueueRefusal::Full));
        assert_eq!(queue.push(note(0)), Ok(()));
        queue.next_batch(Vec::new(), 0).await.unwrap();
        assert_eq!(queue.push(event(0)), Ok(()));
    }

    #[tokio::test]
    async fn a_closed_queue_hands_out_what_waits_and_takes_nothing_more() {
        let (queue, clock) = queue();
        queue.push(event(1)).unwrap();
        queue.deadlines().update(DatabaseLife::default(), InstanceId(2), Visit(1), Some(clock.now()));
        queue.close();
        assert_eq!(queue.push(note(3)), Err(QueueRefusal::Closed));
        assert_eq!(ids(&queue.next_batch(Vec::new(), 0).await.unwrap()), [1]);
        assert!(queue.next_batch(Vec::new(), 0).await.is_none());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_the_clock_and_by_an_earlier_deadline() {
        let (queue, clock) = queue();
        let second = std::time::Duration::from_secs(1);
        queue.deadlines().update(
            DatabaseLife::default(),
            InstanceId(1),
            Visit(1),
            Some(crate::clock::time_after(clock.now(), 5 * second)),
        );
        let (group, ()) = tokio::join!(queue.next_batch(Vec::new(), 0), async { clock.advance(5 * second) });
        assert_eq!(ids(&group.unwrap()), [1]);
        let (group, ()) = tokio::join!(queue.next_batch(Vec::new(), 0), async {
            assert!(queue.deadlines().update(
                DatabaseLife::default(),
                InstanceId(2),
                Visit(1),
                Some(clock.now())
            ));
            queue.wake();
        });
        assert_eq!(ids(&group.unwrap()), [2]);
    }
}
