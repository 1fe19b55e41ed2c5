//! What is counted of the instances of one machine.

use std::collections::BTreeMap;

use crate::span_histogram::SpanHistogram;

/// What began an instance's way to an available state: the number of an event, or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UnavailabilityCause {
    /// An event.
    Event(usize),
    /// A deadline that passed.
    Deadline,
    /// The instance was created.
    Created,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MachineTally {
    /// How many instances are in each state now, and how many were at each sample.
    present: Vec<u32>,
    pub(crate) series: Vec<Vec<u32>>,
    /// How long instances were in each state, all together, and how often each was entered.
    pub(crate) time_in_ms: Vec<u64>,
    pub(crate) entries: Vec<u64>,
    /// From what began it to an available state.
    pub(crate) ready: BTreeMap<UnavailabilityCause, SpanHistogram>,
    /// From what began it to each failed state.
    pub(crate) failed: Vec<SpanHistogram>,
    /// How often each event changed nothing.
    pub(crate) ignored: BTreeMap<usize, u64>,
}

impl MachineTally {
    pub(super) fn new(states: usize, samples: usize) -> Self {
        Self {
            present: vec![0; states],
            series: Vec::with_capacity(samples),
            time_in_ms: vec![0; states],
            entries: vec![0; states],
            ready: BTreeMap::new(),
            failed: vec![SpanHistogram::default(); states],
            ignored: BTreeMap::new(),
        }
    }

    pub(super) fn sample(&mut self) {
        self.series.push(self.present.clone());
    }

    /// An instance is created in a state.
    pub(crate) fn begin(&mut self, state: usize) {
        add(&mut self.present, state, 1);
        self.entered(state);
    }

    /// An instance goes from one state to another, after so long in the first.
    pub(crate) fn count_move(&mut self, from: usize, to: usize, stayed_ms: u64) {
        if let Some(present) = self.present.get_mut(from) {
            *present = present.saturating_sub(1);
        }
        add(&mut self.present, to, 1);
        self.count_dwell_time(from, stayed_ms);
    }

    /// An instance was in a state for so long.
    pub(crate) fn count_dwell_time(&mut self, state: usize, stayed_ms: u64) {
        if let Some(time_in) = self.time_in_ms.get_mut(state) {
            *time_in += stayed_ms;
        }
    }

    /// A state is entered.
    pub(crate) fn entered(&mut self, state: usize) {
        if let Some(entries) = self.entries.get_mut(state) {
            *entries += 1;
        }
    }

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
        for (reason, spans) in &other.ready {
            self.ready.entry(*reason).or_default().merge(spans);
        }
        self.failed.iter_mut().zip(&other.failed).for_each(|(mine, other)| mine.merge(other));
        for (event, count) in &other.ignored {
            *self.ignored.entry(*event).or_insert(0) += count;
        }
    }
}

fn add(counts: &mut [u32], index: usize, more: u32) {
    if let Some(count) = counts.get_mut(index) {
        *count += more;
    }
}

fn sum(mine: &mut [u64], others: &[u64]) {
    mine.iter_mut().zip(others).for_each(|(mine, other)| *mine += other);
}
