//! What waits to be decided on: events in the order of their arrival, and deadlines as they become due.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::deadlines::Deadlines;
use super::work::Work;
use crate::clock::Clock;

/// The most that one group decides on. Source: reference measurements; larger groups gained nothing.
pub(super) const GROUP: usize = 256;
/// How much of a group is kept for deadlines while they and events both wait: neither starves the other.
const FOR_DEADLINES: usize = GROUP / 4;
/// How many events may wait; at ten thousand a second that is under a second's work.
pub(super) const MOST: usize = 8192;

/// The queue before the pipeline.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
    deadlines: Deadlines,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    is_closed: bool,
}

/// Why something was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too much waits already.
    Full,
    /// This process stops.
    Closed,
}

impl Queue {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { waiting: Mutex::default(), changed: Notify::new(), deadlines: Deadlines::default(), clock }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Waiting) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what somebody waits for; what comes from outside is refused where too much waits.
    pub(super) fn push(&self, work: Work) -> Result<(), Refused> {
        self.with(|waiting| match work {
            _ if waiting.is_closed => Err(Refused::Closed),
            Work::Happened { .. } if waiting.work.len() >= MOST => Err(Refused::Full),
            work => {
                waiting.work.push_back(work);
                Ok(())
            }
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

    /// Adds to `group` what has arrived and what is due. An empty group waits for its first; `None` when there will be
    /// nothing more.
    pub(super) async fn fill(&self, mut group: Vec<Work>) -> Option<Vec<Work>> {
        loop {
            // Listening begins before looking, so that nothing comes unnoticed in between.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let now = self.clock.now();
            let (is_closed, has_more) = self.with(|waiting| {
                let kept = if self.deadlines.has_due(now) { FOR_DEADLINES } else { 0 };
                let room = (GROUP - kept).saturating_sub(group.len()).min(waiting.work.len());
                group.extend(waiting.work.drain(..room));
                (waiting.is_closed, !waiting.work.is_empty())
            });
            if !is_closed {
                let room = GROUP.saturating_sub(group.len());
                group.extend(self.deadlines.take_due(now, room).into_iter().map(Work::Due));
            }
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
            let second_look = self.deadlines.second_look();
            tokio::select! {
                () = changed => {}
                () = due => {}
                () = second_look => {}
            }
        }
    }
}
