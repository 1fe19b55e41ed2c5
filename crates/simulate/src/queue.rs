//! What is still to happen, in the order of its time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use machine::Visit;

/// Something that is to happen to an instance, a dispatcher or a circuit.
///
/// What is obsolete is not taken out: each carries a number by which that is seen when its time comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SimulationEvent {
    /// The deadline of a visit passes.
    Deadline { visit: Visit },
    /// An action ends.
    ActionEnds { run: u32 },
    /// The instance's own report is sent.
    Report { turn: u32, report: usize },
    /// An operator asks for something.
    Request { turn: u32, request: usize },
    /// The instance gets broken.
    Breaks { turn: u32, class: usize },
    /// A gap or a settle time of a resource is over.
    Dispatch,
    /// The circuit has no power.
    OutageBegins,
    /// The circuit has power again.
    OutageEnds,
}

/// Something that is to happen, to whom, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueuedSimulationEvent {
    pub(super) at_ms: u64,
    /// What was entered first happens first.
    order: u64,
    /// The number in the shard of the instance, dispatcher or circuit.
    pub(super) target: usize,
    pub(super) event: SimulationEvent,
}

/// What is still to happen before the end.
#[derive(Debug)]
pub(super) struct SimulationQueue {
    entries: BinaryHeap<Reverse<QueuedSimulationEvent>>,
    entered: u64,
    end_ms: u64,
}

impl SimulationQueue {
    /// A queue for what happens up to `end_ms`.
    pub(super) fn new(end_ms: u64) -> Self {
        Self { entries: BinaryHeap::new(), entered: 0, end_ms }
    }

    /// Lets something happen at `at_ms`; what would be after the end never happens.
    pub(super) fn enter(&mut self, at_ms: u64, whose: usize, what: SimulationEvent) {
        if at_ms <= self.end_ms {
            self.entered += 1;
            self.entries.push(Reverse(QueuedSimulationEvent {
                at_ms,
                order: self.entered,
                target: whose,
                event: what,
            }));
        }
    }

    /// What happens next.
    pub(super) fn next(&mut self) -> Option<QueuedSimulationEvent> {
        self.entries.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_comes_first_and_of_one_time_what_was_entered_first() {
        let mut queue = SimulationQueue::new(100);
        for (at_ms, whose) in [(50, 1), (100, 2), (20, 3), (50, 4), (101, 5), (u64::MAX, 6)] {
            queue.enter(at_ms, whose, SimulationEvent::Dispatch);
        }
        let order: Vec<_> =
            std::iter::from_fn(|| queue.next()).map(|entry| (entry.at_ms, entry.target)).collect();
        assert_eq!(order, [(20, 3), (50, 1), (50, 4), (100, 2)]);
    }
}
