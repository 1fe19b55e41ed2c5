//! The queue of future events, in the order of their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use machine::Visit;

/// A future event of an instance, a dispatcher or a circuit.
///
/// Obsolete events stay in the queue; they carry a number by which they are recognized when they are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SimulationEvent {
    /// The deadline of a visit passes.
    Deadline { visit: Visit },
    /// An action ends.
    ActionEnds { run: u32 },
    /// The instance sends a report.
    Report { version: u32, report: usize },
    /// An operator sends a request.
    Request { version: u32, request: usize },
    /// The instance breaks.
    Breaks { version: u32, class: usize },
    /// A gap or a settle time of a resource ends.
    Dispatch,
    /// The power of the circuit fails.
    OutageBegins,
    /// The power of the circuit returns.
    OutageEnds,
}

/// A queued event with its time and target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueuedSimulationEvent {
    pub(super) at_ms: u64,
    /// Order among events of the same time: first in, first out.
    order: u64,
    /// Index of the instance, dispatcher or circuit in the shard.
    pub(super) target: usize,
    pub(super) event: SimulationEvent,
}

/// The queue of events until the end of the simulation.
#[derive(Debug)]
pub(super) struct SimulationQueue {
    entries: BinaryHeap<Reverse<QueuedSimulationEvent>>,
    entered: u64,
    end_ms: u64,
}

impl SimulationQueue {
    /// Creates a queue for events up to `end_ms`.
    pub(super) fn new(end_ms: u64) -> Self {
        Self { entries: BinaryHeap::new(), entered: 0, end_ms }
    }

    /// Adds an event at `at_ms`; events after the end are dropped.
    pub(super) fn enter(&mut self, at_ms: u64, target: usize, event: SimulationEvent) {
        if at_ms <= self.end_ms {
            self.entered += 1;
            self.entries.push(Reverse(QueuedSimulationEvent { at_ms, order: self.entered, target, event }));
        }
    }

    /// Removes and returns the next event.
    pub(super) fn next(&mut self) -> Option<QueuedSimulationEvent> {
        self.entries.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_then_of_entry() {
        let mut queue = SimulationQueue::new(100);
        for (at_ms, target) in [(50, 1), (100, 2), (20, 3), (50, 4), (101, 5), (u64::MAX, 6)] {
            queue.enter(at_ms, target, SimulationEvent::Dispatch);
        }
        let order: Vec<_> =
            std::iter::from_fn(|| queue.next()).map(|entry| (entry.at_ms, entry.target)).collect();
        assert_eq!(order, [(20, 3), (50, 1), (50, 4), (100, 2)]);
    }
}
