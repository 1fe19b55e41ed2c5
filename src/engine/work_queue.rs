//! The queue before the pipeline: events in the order of their arrival, and due deadlines.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::deadlines::Deadlines;
use super::work_item::WorkItem;
use crate::clock::Clock;
use crate::store;

/// The number of concurrent batches: while one waits for the disk, another is decided on.
pub(super) const LANES: usize = store::BATCH_CONNECTIONS as usize;
/// The maximum size of a batch. Source: reference measurements; larger batches gained nothing.
pub(super) const MAX_BATCH_SIZE: usize = 256;
/// The part of a batch that is reserved for deadlines while both deadlines and events wait.
const RESERVED_FOR_DEADLINES: usize = MAX_BATCH_SIZE / 4;
/// The maximum number of waiting events; at ten thousand a second they take less than a second.
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
    /// The number of items in the present batches.
    in_progress: usize,
    is_closed: bool,
}

impl WaitingWork {
    /// Returns the share of each lane. If one lane took all items, all of them would be answered and followed by new ones at
    /// the same time, while the other lane is idle.
    fn batch_share(&self) -> usize {
        (self.in_progress + self.work.len()).div_ceil(LANES)
    }
}

/// Why an item was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueueRefusal {
    /// The queue is full.
    Full,
    /// The process is shutting down.
    Closed,
}

impl WorkQueue {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { waiting: Mutex::default(), changed: Notify::new(), deadlines: Deadlines::default(), clock }
    }

    fn with<T>(&self, work: impl FnOnce(&mut WaitingWork) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: counters are updated last. The lock of the deadlines can be
        // taken inside this one, never the other way round.
        work(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds an item; submissions are refused where the queue is full.
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

    /// Returns the deadlines.
    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Wakes the waiting lanes, because deadlines have changed.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Closes the queue; waiting items are still handed out.
    pub(super) fn close(&self) {
        self.with(|waiting| waiting.is_closed = true);
        self.changed.notify_waiters();
    }

    /// Returns the next batch of a lane: `again`, the rest of its last batch after `answered` items, then arrived items up to
    /// the share of the lane, and due deadlines. It waits for a first item; `None` when the queue is closed and empty.
    pub(super) async fn next_batch(&self, retries: Vec<WorkItem>, answered: usize) -> Option<Vec<WorkItem>> {
        let mut batch = retries;
        self.with(|waiting| waiting.in_progress -= answered);
        let retried = batch.len();
        self.await_arrivals(retried).await;
        loop {
            // Registered before the check, so that no arrival is missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let now = self.clock.now();
            let (is_closed, has_more) = self.with(|waiting| {
                let reserved = if self.deadlines.has_due(now) { RESERVED_FOR_DEADLINES } else { 0 };
                let room = waiting.batch_share().min(MAX_BATCH_SIZE - reserved).saturating_sub(retried);
                batch.extend(waiting.work.drain(..room.min(waiting.work.len())));
                if !waiting.is_closed {
                    let room = MAX_BATCH_SIZE.saturating_sub(batch.len());
                    batch.extend(self.deadlines.take_due(now, room).into_iter().map(WorkItem::Due));
                }
                waiting.in_progress += batch.len() - retried;
                (waiting.is_closed, !waiting.work.is_empty())
            });
            if !batch.is_empty() {
                if has_more || self.deadlines.has_due(now) {
                    // Another lane can be idle.
                    self.changed.notify_one();
                }
                return Some(batch);
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
            let retry = self.deadlines.wait_for_retry();
            tokio::select! {
                () = changed => self.await_arrivals(0).await,
                () = due => {}
                () = retry => {}
            }
        }
    }

    /// Yields to tasks that are about to add items: clients that were answered together send together, and their first item
    /// must not become a batch of its own. It does not wait.
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

    fn ids(batch: &[WorkItem]) -> Vec<i64> {
        let id = |work: &WorkItem| match work.target().as_ref() {
            InstanceKey::Id(id) => id.0,
            InstanceKey::Name(..) => 0,
        };
        batch.iter().map(id).collect()
    }

    #[tokio::test]
    async fn a_batch_is_what_has_arrived_in_order() {
        let (queue, _) = queue();
        for id in 0..300 {
            queue.push(event(id)).unwrap();
        }
        let batch = queue.next_batch(Vec::new(), 0).await.unwrap();
        assert!(ids(&batch).into_iter().eq(0..150));
        // Retried items come before items that arrived since.
        let batch = queue.next_batch(vec![event(7)], 149).await.unwrap();
        assert!(ids(&batch).into_iter().eq(std::iter::once(7).chain(150..225)));
    }

    #[tokio::test]
    async fn lanes_share_the_work() {
        let (queue, _) = queue();
        for id in 0..256 {
            queue.push(event(id)).unwrap();
        }
        assert_eq!(queue.next_batch(Vec::new(), 0).await.unwrap().len(), 128);
        assert_eq!(queue.next_batch(Vec::new(), 0).await.unwrap().len(), 128);
        // While one lane has its half, the clients answered by the other send again.
        for id in 0..128 {
            queue.push(event(id)).unwrap();
        }
        assert_eq!(queue.next_batch(Vec::new(), 128).await.unwrap().len(), 128);
        // Where more waits than all lanes can take, each has a full batch.
        for id in 0..1000 {
            queue.push(event(id)).unwrap();
        }
        assert_eq!(queue.next_batch(Vec::new(), 128).await.unwrap().len(), MAX_BATCH_SIZE);
        assert_eq!(queue.next_batch(Vec::new(), 128).await.unwrap().len(), MAX_BATCH_SIZE);
        // All handed-out items are answered or in a batch.
        assert_eq!(queue.with(|waiting| waiting.in_progress), 2 * MAX_BATCH_SIZE);
    }

    #[tokio::test]
    async fn a_single_item_does_not_wait_for_others() {
        let (queue, _) = queue();
        for in_hand in [0, 1, 100] {
            queue.with(|waiting| waiting.in_progress = in_hand);
            queue.push(note(7)).unwrap();
            assert_eq!(ids(&queue.next_batch(Vec::new(), 0).await.unwrap()), [7]);
        }
    }

    #[tokio::test]
    async fn neither_many_deadlines_nor_many_events_starve_the_other() {
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
        let batch = queue.next_batch(Vec::new(), 0).await.unwrap();
        let events = ids(&batch).iter().filter(|id| **id < 10_000).count();
        assert_eq!((events, batch.len()), (MAX_BATCH_SIZE - RESERVED_FOR_DEADLINES, MAX_BATCH_SIZE));
    }

    #[tokio::test]
    async fn only_submissions_are_refused_when_the_queue_is_full() {
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
    async fn a_closed_queue_hands_out_waiting_items_and_accepts_no_more() {
        let (queue, clock) = queue();
        queue.push(event(1)).unwrap();
        queue.deadlines().update(DatabaseLife::default(), InstanceId(2), Visit(1), Some(clock.now()));
        queue.close();
        assert_eq!(queue.push(note(3)), Err(QueueRefusal::Closed));
        assert_eq!(ids(&queue.next_batch(Vec::new(), 0).await.unwrap()), [1]);
        assert!(queue.next_batch(Vec::new(), 0).await.is_none());
    }

    #[tokio::test]
    async fn a_waiting_lane_is_woken_by_the_clock_and_by_an_earlier_deadline() {
        let (queue, clock) = queue();
        let second = std::time::Duration::from_secs(1);
        queue.deadlines().update(
            DatabaseLife::default(),
            InstanceId(1),
            Visit(1),
            Some(crate::clock::time_after(clock.now(), 5 * second)),
        );
        let (batch, ()) = tokio::join!(queue.next_batch(Vec::new(), 0), async { clock.advance(5 * second) });
        assert_eq!(ids(&batch.unwrap()), [1]);
        let (batch, ()) = tokio::join!(queue.next_batch(Vec::new(), 0), async {
            assert!(queue.deadlines().update(
                DatabaseLife::default(),
                InstanceId(2),
                Visit(1),
                Some(clock.now())
            ));
            queue.wake();
        });
        assert_eq!(ids(&batch.unwrap()), [2]);
    }
}
