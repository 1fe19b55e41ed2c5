//! How what states hold was used.

use serde::Serialize;

use super::numbers::{ratio, seconds};
use crate::simulation::Simulation;
use crate::tally::SimulationTally;
use machine::ResourceName;

/// How a resource was used that states hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResourceReport {
    /// The resource.
    pub resource: ResourceName,
    /// How many units there are, where that is limited.
    pub capacity: Option<u32>,
    /// The most units that were in use at a time.
    pub most: u32,
    /// How many units were in use, in the mean over all the time.
    pub mean: f64,
    /// How often an instance waited for its turn, for no time mostly; not counted where there is no limit.
    pub turns: u64,
    /// The most instances that waited.
    pub longest_queue: u64,
    /// When that was.
    pub at_s: f64,
    /// Half waited no longer.
    pub p50_s: f64,
    /// Of 100, 99 waited no longer.
    pub p99_s: f64,
    /// The longest wait.
    pub most_s: f64,
}

pub(super) fn resource_reports(simulation: &Simulation<'_>, tally: &SimulationTally) -> Vec<ResourceReport> {
    let resources = simulation.resources.iter().zip(&tally.resources);
    let resource_use = resources.map(|((name, limits), tally)| ResourceReport {
        resource: (*name).clone(),
        capacity: limits.map(|limits| limits.capacity).filter(|units| *units < u32::MAX),
        most: tally.most,
        mean: ratio(tally.unit_ms, simulation.end_ms()),
        turns: tally.waited.count(),
        longest_queue: tally.longest_queue.instances as u64,
        at_s: seconds(Some(tally.longest_queue.at_ms)),
        p50_s: seconds(tally.waited.percentile(50)),
        p99_s: seconds(tally.waited.percentile(99)),
        most_s: seconds(tally.waited.longest()),
    });
    resource_use.collect()
}
