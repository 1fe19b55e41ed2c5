//! Use of resources that states hold.

use serde::Serialize;

use super::numbers::{ratio, seconds};
use crate::simulation::Simulation;
use crate::tally::SimulationTally;
use machine::ResourceName;

/// Use of a resource that states hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResourceReport {
    /// The resource.
    pub resource: ResourceName,
    /// Number of units; `None` where they are unlimited.
    pub capacity: Option<u32>,
    /// Most units in use at a time.
    pub max_in_use: u32,
    /// Mean number of units in use.
    pub mean_in_use: f64,
    /// Number of waits, of which most take no time; not counted for unlimited resources.
    pub waits: u64,
    /// Most instances waiting at a time.
    pub longest_queue: u64,
    /// Time of the longest queue after the start of the simulation.
    pub at_s: f64,
    /// Median wait.
    pub p50_s: f64,
    /// 99th percentile of the waits.
    pub p99_s: f64,
    /// Longest wait.
    pub max_s: f64,
}

pub(super) fn resource_reports(simulation: &Simulation<'_>, tally: &SimulationTally) -> Vec<ResourceReport> {
    let resources = simulation.resources.iter().zip(&tally.resources);
    let resource_use = resources.map(|((name, limits), tally)| ResourceReport {
        resource: (*name).clone(),
        capacity: limits.as_ref().map(|limits| limits.capacity).filter(|units| *units < u32::MAX),
        max_in_use: tally.max_in_use,
        mean_in_use: ratio(tally.unit_ms, simulation.end_ms()),
        waits: tally.waited.count(),
        longest_queue: tally.longest_queue.instances as u64,
        at_s: seconds(Some(tally.longest_queue.at_ms)),
        p50_s: seconds(tally.waited.percentile(50)),
        p99_s: seconds(tally.waited.percentile(99)),
        max_s: seconds(tally.waited.longest()),
    });
    resource_use.collect()
}
