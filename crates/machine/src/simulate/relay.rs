//! Relay boards: each does one operation at a time, the others wait in the order in which they came.

use std::collections::VecDeque;

/// A relay board. Boards are known by their numbers in the circuit.
#[derive(Debug, Default)]
pub(super) struct Relay {
    waiting: VecDeque<Waiting>,
    stage: Stage,
    /// Until when it rests.
    rested_ms: u64,
}

/// A board whose actions wait for the relay board.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    board: usize,
    since_ms: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Free,
    /// Whoever is first then may begin at a time that has been set.
    Promised,
    /// Held since then.
    Held { since_ms: u64 },
}

/// Who begins, and how long it has waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) board: usize,
    pub(super) waited_ms: u64,
}

impl Relay {
    /// How many wait.
    pub(super) fn queue(&self) -> usize {
        self.waiting.len()
    }

    /// Lets a board wait for its turn.
    pub(super) fn wait(&mut self, board: usize, now_ms: u64) {
        self.waiting.push_back(Waiting { board, since_ms: now_ms });
    }

    /// A board does not want its turn any more.
    pub(super) fn give_up(&mut self, board: usize) {
        self.waiting.retain(|waiting| waiting.board != board);
    }

    /// From when on the first of those that wait may begin; nothing where none waits, or the place is held or promised.
    pub(super) fn ready_ms(&self) -> Option<u64> {
        (self.stage == Stage::Free && !self.waiting.is_empty()).then_some(self.rested_ms)
    }

    /// Promises the place to whoever is first at a later time.
    pub(super) fn promise(&mut self) {
        self.stage = Stage::Promised;
    }

    /// Gives the place to the first of those that wait, if there still is one.
    pub(super) fn take(&mut self, now_ms: u64) -> Option<Turn> {
        let first = self.waiting.pop_front();
        self.stage = if first.is_some() { Stage::Held { since_ms: now_ms } } else { Stage::Free };
        first.map(|Waiting { board, since_ms }| Turn { board, waited_ms: now_ms - since_ms })
    }

    /// Takes the place back; the relay board rests. Says how long it was held.
    pub(super) fn release(&mut self, now_ms: u64, rests_ms: u64) -> u64 {
        let Stage::Held { since_ms } = std::mem::take(&mut self.stage) else { return 0 };
        self.rested_ms = now_ms.saturating_add(rests_ms);
        now_ms - since_ms
    }

    /// How long the place has been held by now, if it is.
    pub(super) fn held_for(&self, now_ms: u64) -> u64 {
        if let Stage::Held { since_ms } = self.stage { now_ms - since_ms } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_goes_round_in_the_order_of_the_queue_with_rest_between() {
        let mut relay = Relay::default();
        assert_eq!(relay.ready_ms(), None);
        for (board, at_ms) in [(7, 100), (8, 110), (9, 120)] {
            relay.wait(board, at_ms);
        }
        assert_eq!(relay.ready_ms(), Some(0));
        assert_eq!(relay.take(120), Some(Turn { board: 7, waited_ms: 20 }));
        assert_eq!((relay.ready_ms(), relay.queue(), relay.held_for(150)), (None, 2, 30));
        relay.give_up(8);
        assert_eq!(relay.release(160, 50), 40);
        assert_eq!(relay.ready_ms(), Some(210));
        relay.promise();
        assert_eq!(relay.ready_ms(), None);
        assert_eq!(relay.take(210), Some(Turn { board: 9, waited_ms: 90 }));
        relay.release(220, 0);
        relay.promise();
        assert_eq!(relay.take(230), None);
        relay.wait(7, 231);
        assert_eq!(relay.ready_ms(), Some(220), "a promise that nobody wanted any more is over");
    }
}
