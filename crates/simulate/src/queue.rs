//! What is still to happen, in the order of its time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use machine::Visit;

/// Something that is to happen to a board or a relay board.
///
/// What came to nothing meanwhile is not taken out: each carries a number by which it is then known to be of no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Happening {
    /// The deadline of a visit passes.
    Deadline { visit: Visit },
    /// An action ends.
    ActionEnds { run: u32 },
    /// The board reports what it was about to.
    Reports { turn: u32, report: usize },
    /// An operator asks for something.
    Asks { turn: u32, request: usize },
    /// The board gets broken.
    Breaks { turn: u32, class: usize },
    /// The relay board may begin its next operation.
    RelayIsFree,
    /// The circuit is without power.
    PowerLost,
    /// The circuit has power again.
    PowerBack,
}

/// Something that is to happen, to whom, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) at_ms: u64,
    /// What was entered first happens first.
    order: u64,
    /// Whose it is: a board's number in its circuit, or a relay board's.
    pub(super) whose: usize,
    pub(super) what: Happening,
}

/// What is still to happen before the end.
#[derive(Debug)]
pub(super) struct Queue {
    entries: BinaryHeap<Reverse<Entry>>,
    entered: u64,
    end_ms: u64,
}

impl Queue {
    /// A queue for what happens up to `end_ms`.
    pub(super) fn new(end_ms: u64) -> Self {
        Self { entries: BinaryHeap::new(), entered: 0, end_ms }
    }

    /// Lets something happen at `at_ms`; what would be after the end never happens.
    pub(super) fn enter(&mut self, at_ms: u64, whose: usize, what: Happening) {
        if at_ms <= self.end_ms {
            self.entered += 1;
            self.entries.push(Reverse(Entry { at_ms, order: self.entered, whose, what }));
        }
    }

    /// What happens next.
    pub(super) fn next(&mut self) -> Option<Entry> {
        self.entries.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_comes_first_and_of_one_time_what_was_entered_first() {
        let mut queue = Queue::new(100);
        for (at_ms, whose) in [(50, 1), (100, 2), (20, 3), (50, 4), (101, 5), (u64::MAX, 6)] {
            queue.enter(at_ms, whose, Happening::RelayIsFree);
        }
        let order: Vec<_> =
            std::iter::from_fn(|| queue.next()).map(|entry| (entry.at_ms, entry.whose)).collect();
        assert_eq!(order, [(20, 3), (50, 1), (50, 4), (100, 2)]);
    }
}
