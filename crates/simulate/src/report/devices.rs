//! What relay boards did: the devices that actions claim.

use serde::Serialize;

use super::numbers::{ratio, seconds};
use crate::simulation::DAY_MS;
use crate::tally::{ResourceTally, SimulationTally};

/// What relay boards did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RelayBoardReport {
    /// How many operations in all.
    pub operations: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many in a day.
    pub a_day: f64,
    /// How many a relay board did in a day, in the mean.
    pub a_relay_board_and_day: f64,
    /// How many the busiest relay board did in a day.
    pub busiest_a_day: f64,
    /// The share of the time that relay boards' places were held, in the mean.
    pub held: f64,
    /// That of the relay board that was held longest.
    pub longest_held: f64,
}

/// How instances waited for relay boards.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RelayBoardQueueReport {
    /// The most instances that waited at one relay board.
    pub longest: u64,
    /// Which relay board that was, from 1.
    pub relay_board: u64,
    /// When that was.
    pub at_s: f64,
    /// How often an instance waited for its turn, for no time mostly.
    pub turns: u64,
    /// Half waited no longer.
    pub p50_s: f64,
    /// Of 100, 99 waited no longer.
    pub p99_s: f64,
    /// The longest wait.
    pub most_s: f64,
}

impl RelayBoardReport {
    pub(super) fn new(tally: &SimulationTally, relay_boards: u64, end_ms: u64) -> Self {
        let days = ratio(end_ms, DAY_MS);
        let a_day = ratio(tally.operations, 1) / days;
        Self {
            operations: tally.operations,
            failed: tally.operations_failed,
            a_day,
            a_relay_board_and_day: a_day / ratio(relay_boards, 1),
            busiest_a_day: ratio(tally.most_operations, 1) / days,
            held: ratio(tally.devices.unit_ms, end_ms * relay_boards),
            longest_held: ratio(tally.devices.longest_unit_ms, end_ms),
        }
    }
}

impl RelayBoardQueueReport {
    pub(super) fn new(tally: &ResourceTally) -> Self {
        Self {
            longest: tally.longest_queue.instances as u64,
            relay_board: tally.longest_queue.resource as u64 + 1,
            at_s: seconds(Some(tally.longest_queue.at_ms)),
            turns: tally.waited.count(),
            p50_s: seconds(tally.waited.percentile(50)),
            p99_s: seconds(tally.waited.percentile(99)),
            most_s: seconds(tally.waited.longest()),
        }
    }
}
