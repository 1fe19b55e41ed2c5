//! Counts of a running simulation. Counts of shards can be merged in any order.

mod lifecycle;
mod raised;
mod resource;

use std::collections::BTreeMap;

use machine::EventName;

pub(super) use lifecycle::{MachineTally, UnavailabilityCause};
pub(super) use raised::RaisedTally;
pub(super) use resource::{LongestQueue, ResourceTally};

/// All counts of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SimulationTally {
    sample_interval_ms: u64,
    samples: usize,
    sampled: usize,
    pub(super) machines: Vec<MachineTally>,
    pub(super) decisions: u64,
    /// Use of devices in all, then of each resource that states hold.
    pub(super) devices: ResourceTally,
    pub(super) resources: Vec<ResourceTally>,
    /// Number of actions at devices.
    pub(super) operations: u64,
    pub(super) operations_failed: u64,
    /// Number of actions at the busiest device.
    pub(super) most_operations: u64,
    /// Raised events by machine, event and target machine.
    pub(super) raised: BTreeMap<(usize, EventName, usize), RaisedTally>,
    pub(super) broken: u64,
    pub(super) repaired: u64,
}

impl SimulationTally {
    /// Creates empty counts for machines with `states` states each, sampled `samples` times every `sample_interval_ms`.
    pub(super) fn new(
        states: &[usize],
        resources: usize,
        (samples, sample_interval_ms): (usize, u64),
    ) -> Self {
        Self {
            sample_interval_ms,
            samples,
            sampled: 0,
            machines: states.iter().map(|states| MachineTally::new(*states, samples)).collect(),
            decisions: 0,
            devices: ResourceTally::default(),
            resources: vec![ResourceTally::default(); resources],
            operations: 0,
            operations_failed: 0,
            most_operations: 0,
            raised: BTreeMap::new(),
            broken: 0,
            repaired: 0,
        }
    }

    /// Takes the samples before `at_ms`; a sample includes all events of its time.
    pub(super) fn pass(&mut self, at_ms: u64) {
        while self.sampled < self.samples && (self.sampled as u64) * self.sample_interval_ms < at_ms {
            self.sampled += 1;
            self.machines.iter_mut().for_each(MachineTally::sample);
        }
    }

    /// Adds the counts of another shard.
    pub(super) fn merge(&mut self, other: &Self) {
        self.machines.iter_mut().zip(&other.machines).for_each(|(mine, other)| mine.merge(other));
        self.decisions += other.decisions;
        self.devices.merge(&other.devices);
        self.resources.iter_mut().zip(&other.resources).for_each(|(mine, other)| mine.merge(other));
        self.operations += other.operations;
        self.operations_failed += other.operations_failed;
        self.most_operations = self.most_operations.max(other.most_operations);
        for (key, raised) in &other.raised {
            self.raised.entry(key.clone()).or_default().merge(raised);
        }
        self.broken += other.broken;
        self.repaired += other.repaired;
    }
}
