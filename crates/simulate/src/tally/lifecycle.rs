//! Counts of one machine.

use std::collections::BTreeMap;

use crate::span_histogram::SpanHistogram;

/// The cause of an instance's unavailability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UnavailabilityCause {
    /// An event, by index.
    Event(usize),
    /// A deadline that passed.
    Deadline,
    /// The instance was created.
    Created,
}

/// Counts of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MachineTally {
    /// Number of instances in each state now, and at each sample.
    present: Vec<u32>,
    pub(crate) series: Vec<Vec<u32>>,
    /// Time of all instances in each state, and number of entries.
    pub(crate) time_in_ms: Vec<u64>,
    pub(crate) entries: Vec<u64>,
    /// Times from the cause of unavailability to an available state.
    pub(crate) times_to_available: BTreeMap<UnavailabilityCause, SpanHistogram>,
    /// Times from the cause of unavailability to each failed state.
    pub(crate) failed: Vec<SpanHistogram>,
    /// Number of times that each event changed nothing.
    pub(crate) ignored: BTreeMap<usize, u64>,
}

impl MachineTally {
    pub(super) fn new(states: usize, samples: usize) -> Self {
        Self {
            present: vec![0; states],
            series: Vec::with_capacity(samples),
            time_in_ms: vec![0; states],
            entries: vec![0; states],
            times_to_available: BTreeMap::new(),
            failed: vec![SpanHistogram::default(); states],
            ignored: BTreeMap::new(),
        }
    }

    pub(super) fn sample(&mut self) {
        self.series.push(self.present.clone());
    }

    /// Counts the creation of an instance.
    pub(crate) fn begin(&mut self, state: usize) {
        add(&mut self.present, state, 1);
        self.entered(state);
    }

    /// Counts a move from one state to another after `dwell_ms` in the first.
    pub(crate) fn count_move(&mut self, from: usize, to: usize, dwell_ms: u64) {
        if let Some(present) = self.present.get_mut(from) {
            *present = present.saturating_sub(1);
        }
        add(&mut self.present, to, 1);
        self.count_dwell_time(from, dwell_ms);
    }

    /// Adds time in a state.
    pub(crate) fn count_dwell_time(&mut self, state: usize, dwell_ms: u64) {
        if let Some(time_in) = self.time_in_ms.get_mut(state) {
            *time_in += dwell_ms;
        }
    }

    /// Counts an entry of a state.
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
        for (reason, spans) in &other.times_to_available {
            self.times_to_available.entry(*reason).or_default().merge(spans);
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
