//! What is counted while a farm runs. Counts of parts of a farm add up to those of the farm, in any order.

use std::collections::BTreeMap;

use super::spans::Spans;

/// What began a board's way to an available state: the number of an event, or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// An event.
    Event(usize),
    /// A deadline that passed.
    Deadline,
    /// The board came to be.
    Created,
}

/// The longest queue there was at a relay board.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LongestQueue {
    pub(super) boards: usize,
    pub(super) at_ms: u64,
    /// Which relay board, from 0.
    pub(super) relay_board: usize,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    every_ms: u64,
    /// How many boards are in each state now, and how many were at each sample.
    present: Vec<u32>,
    pub(super) series: Vec<Vec<u32>>,
    samples: usize,
    /// How long boards were in each state, all together, and how often each was entered.
    pub(super) time_in_ms: Vec<u64>,
    pub(super) entries: Vec<u64>,
    pub(super) decisions: u64,
    /// From what began it to an available state.
    pub(super) ready: BTreeMap<Reason, Spans>,
    /// From what began it to each failed state.
    pub(super) failed: Vec<Spans>,
    pub(super) operations: u64,
    pub(super) operations_failed: u64,
    /// Of the relay board with the most.
    pub(super) most_operations: u64,
    pub(super) waited: Spans,
    pub(super) longest_queue: LongestQueue,
    pub(super) held_ms: u64,
    pub(super) longest_held_ms: u64,
    /// How often each event changed nothing.
    pub(super) ignored: BTreeMap<usize, u64>,
    pub(super) broken: u64,
    pub(super) mended: u64,
}

impl Tally {
    /// Counts nothing yet, for `states` states, sampled `samples` times every `every_ms`.
    pub(super) fn new(states: usize, samples: usize, every_ms: u64) -> Self {
        Self {
            every_ms,
            present: vec![0; states],
            series: Vec::with_capacity(samples),
            samples,
            time_in_ms: vec![0; states],
            entries: vec![0; states],
            decisions: 0,
            ready: BTreeMap::new(),
            failed: vec![Spans::default(); states],
            operations: 0,
            operations_failed: 0,
            most_operations: 0,
            waited: Spans::default(),
            longest_queue: LongestQueue::default(),
            held_ms: 0,
            longest_held_ms: 0,
            ignored: BTreeMap::new(),
            broken: 0,
            mended: 0,
        }
    }

    /// Takes the samples that come before `at_ms`: a sample shows what has become of all that happened at its time.
    pub(super) fn pass(&mut self, at_ms: u64) {
        while self.series.len() < self.samples && (self.series.len() as u64) * self.every_ms < at_ms {
            self.series.push(self.present.clone());
        }
    }

    /// A board comes to be in a state.
    pub(super) fn begin(&mut self, state: usize) {
        add(&mut self.present, state, 1);
        self.entered(state);
    }

    /// A board goes from one state to another, after so long in the first.
    pub(super) fn go(&mut self, from: usize, to: usize, stayed_ms: u64) {
        if let Some(present) = self.present.get_mut(from) {
            *present = present.saturating_sub(1);
        }
        add(&mut self.present, to, 1);
        self.stay(from, stayed_ms);
    }

    /// A board was in a state for so long.
    pub(super) fn stay(&mut self, state: usize, stayed_ms: u64) {
        if let Some(time_in) = self.time_in_ms.get_mut(state) {
            *time_in += stayed_ms;
        }
    }

    /// A state is entered.
    pub(super) fn entered(&mut self, state: usize) {
        if let Some(entries) = self.entries.get_mut(state) {
            *entries += 1;
        }
    }

    /// A queue is this long.
    pub(super) fn queue(&mut self, queue: LongestQueue) {
        self.longest_queue = longer(self.longest_queue, queue);
    }

    /// Adds what was counted elsewhere.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.series.is_empty() {
            self.series.clone_from(&other.series);
        } else {
            for (mine, others) in self.series.iter_mut().zip(&other.series) {
                mine.iter_mut().zip(others).for_each(|(mine, other)| *mine += other);
            }
        }
        sum(&mut self.time_in_ms, &other.time_in_ms);
        sum(&mut self.entries, &other.entries);
        self.decisions += other.decisions;
        for (reason, spans) in &other.ready {
            self.ready.entry(*reason).or_default().merge(spans);
        }
        self.failed.iter_mut().zip(&other.failed).for_each(|(mine, other)| mine.merge(other));
        self.operations += other.operations;
        self.operations_failed += other.operations_failed;
        self.most_operations = self.most_operations.max(other.most_operations);
        self.waited.merge(&other.waited);
        self.queue(other.longest_queue);
        self.held_ms += other.held_ms;
        self.longest_held_ms = self.longest_held_ms.max(other.longest_held_ms);
        for (event, count) in &other.ignored {
            *self.ignored.entry(*event).or_insert(0) += count;
        }
        self.broken += other.broken;
        self.mended += other.mended;
    }
}

/// The longer of two queues; of equal ones the earlier, at the relay board with the lower number.
fn longer(one: LongestQueue, other: LongestQueue) -> LongestQueue {
    let rank = |queue: &LongestQueue| (std::cmp::Reverse(queue.boards), queue.at_ms, queue.relay_board);
    if rank(&other) < rank(&one) { other } else { one }
}

fn add(counts: &mut [u32], index: usize, more: u32) {
    if let Some(count) = counts.get_mut(index) {
        *count += more;
    }
}

fn sum(mine: &mut [u64], others: &[u64]) {
    mine.iter_mut().zip(others).for_each(|(mine, other)| *mine += other);
}
