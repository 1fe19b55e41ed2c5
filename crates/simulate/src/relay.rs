//! Relay boards: each does one operation at a time, the others wait in the order in which they came. Who begins is decided
//! by the scheduler that servers use.

use std::collections::{BTreeMap, VecDeque};

use schedule::{Need, Plan, Request, Resource, Units, schedule};

/// A relay board. Boards are known by their numbers in the circuit.
#[derive(Debug)]
pub(super) struct Relay {
    waiting: VecDeque<Waiting>,
    /// What there is of it; its settle time is how long it rests.
    resource: Resource,
    /// Since when an operation is under way.
    held_since_ms: Option<u64>,
    /// Whether whoever is first then may begin at a time that has been set.
    is_promised: bool,
}

/// A board whose actions wait for the relay board.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    board: usize,
    since_ms: u64,
}

/// Who begins, and how long it has waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) board: usize,
    pub(super) waited_ms: u64,
}

impl Default for Relay {
    fn default() -> Self {
        let resource = Resource::of(1);
        Self { waiting: VecDeque::new(), resource, held_since_ms: None, is_promised: false }
    }
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

    /// From when on the first of those that wait may begin; nothing where none waits, or it is held or promised.
    pub(super) fn ready_ms(&self, now_ms: u64) -> Option<u64> {
        if self.is_promised {
            return None;
        }
        let plan = self.plan(now_ms);
        if plan.grants.is_empty() { plan.next_at.and_then(|at| u64::try_from(at).ok()) } else { Some(now_ms) }
    }

    /// Promises a turn to whoever is first at a later time.
    pub(super) fn promise(&mut self) {
        self.is_promised = true;
    }

    /// Lets the first of those that wait begin, if there still is one.
    pub(super) fn take(&mut self, now_ms: u64) -> Option<Turn> {
        self.is_promised = false;
        let plan = self.plan(now_ms);
        let board = plan.grants.first()?.key;
        let first = self.waiting.iter().position(|waiting| waiting.board == board)?;
        let Waiting { board, since_ms } = self.waiting.remove(first)?;
        self.held_since_ms = Some(now_ms);
        Some(Turn { board, waited_ms: now_ms - since_ms })
    }

    /// The operation is over; the relay board rests. Says how long it was held.
    pub(super) fn release(&mut self, now_ms: u64, rests_ms: u64) -> u64 {
        let Some(since_ms) = self.held_since_ms.take() else { return 0 };
        self.resource.settle = ticks(rests_ms);
        self.resource.released_at = Some(ticks(now_ms));
        now_ms - since_ms
    }

    /// How long it has been held by now, if it is.
    pub(super) fn held_for(&self, now_ms: u64) -> u64 {
        self.held_since_ms.map_or(0, |since_ms| now_ms - since_ms)
    }

    fn plan(&self, now_ms: u64) -> Plan<usize, ()> {
        let held: Vec<_> = self.held_since_ms.map(|_| Units { resource: (), units: 1 }).into_iter().collect();
        // No more than the first can have a turn.
        let first = self.waiting.iter().take(1);
        let queue: Vec<_> =
            first.map(|waiting| Request { key: waiting.board, needs: vec![Need::of((), 1)] }).collect();
        schedule(&BTreeMap::from([((), self.resource)]), &held, &queue, ticks(now_ms))
    }
}

fn ticks(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_round_in_the_order_of_the_queue_with_rest_between() {
        let mut relay = Relay::default();
        assert_eq!(relay.ready_ms(0), None);
        for (board, at_ms) in [(7, 100), (8, 110), (9, 120)] {
            relay.wait(board, at_ms);
        }
        assert_eq!(relay.ready_ms(120), Some(120));
        assert_eq!(relay.take(120), Some(Turn { board: 7, waited_ms: 20 }));
        assert_eq!((relay.ready_ms(150), relay.queue(), relay.held_for(150)), (None, 2, 30));
        relay.give_up(8);
        assert_eq!(relay.release(160, 50), 40);
        assert_eq!((relay.ready_ms(160), relay.ready_ms(215)), (Some(210), Some(215)));
        relay.promise();
        assert_eq!(relay.ready_ms(210), None);
        assert_eq!(relay.take(210), Some(Turn { board: 9, waited_ms: 90 }));
        relay.release(220, 0);
        relay.promise();
        assert_eq!(relay.take(230), None);
        relay.wait(7, 231);
        assert_eq!(relay.ready_ms(231), Some(231), "a promise that nobody wanted any more is over");
    }
}
