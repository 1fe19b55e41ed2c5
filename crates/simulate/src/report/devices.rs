//! Use of relay boards, the devices that actions claim.

use serde::Serialize;

use super::numbers::{ratio, seconds};
use crate::simulation::DAY_MS;
use crate::tally::{ResourceTally, SimulationTally};

/// Use of relay boards.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RelayBoardReport {
    /// Number of power operations.
    pub operations: u64,
    /// Number of failed operations.
    pub failed: u64,
    /// Operations per day.
    pub per_day: f64,
    /// Mean operations per relay board and day.
    pub per_relay_board_and_day: f64,
    /// Operations per day of the busiest relay board.
    pub busiest_per_day: f64,
    /// Mean share of the time that a relay board was held.
    pub held_share: f64,
    /// Share of the time that the most used relay board was held.
    pub max_held_share: f64,
}

/// Waits for relay boards.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RelayBoardQueueReport {
    /// Most instances waiting at one relay board.
    pub longest: u64,
    /// Relay board with the longest queue, from 1.
    pub relay_board: u64,
    /// Time of the longest queue after the start of the simulation.
    pub at_s: f64,
    /// Number of waits, of which most take no time.
    pub waits: u64,
    /// Median wait.
    pub p50_s: f64,
    /// 99th percentile of the waits.
    pub p99_s: f64,
    /// Longest wait.
    pub max_s: f64,
}

impl RelayBoardReport {
    pub(super) fn new(tally: &SimulationTally, relay_boards: u64, end_ms: u64) -> Self {
        let days = ratio(end_ms, DAY_MS);
        let per_day = ratio(tally.operations, 1) / days;
        Self {
            operations: tally.operations,
            failed: tally.operations_failed,
            per_day,
            per_relay_board_and_day: per_day / ratio(relay_boards, 1),
            busiest_per_day: ratio(tally.most_operations, 1) / days,
            held_share: ratio(tally.devices.unit_ms, end_ms * relay_boards),
            max_held_share: ratio(tally.devices.longest_unit_ms, end_ms),
        }
    }
}

impl RelayBoardQueueReport {
    pub(super) fn new(tally: &ResourceTally) -> Self {
        Self {
            longest: tally.longest_queue.instances as u64,
            relay_board: tally.longest_queue.resource as u64 + 1,
            at_s: seconds(Some(tally.longest_queue.at_ms)),
            waits: tally.waited.count(),
            p50_s: seconds(tally.waited.percentile(50)),
            p99_s: seconds(tally.waited.percentile(99)),
            max_s: seconds(tally.waited.longest()),
        }
    }
}
