//! How many instances are in each state over time, as CSV.

use std::fmt::Write as _;

use crate::simulate::{MachineReport, SimulationReport, StateSeries};

/// A line for each sample, state and machine; times are seconds after the beginning.
pub(super) fn write(report: &SimulationReport) -> String {
    let mut text = String::from("time_s,state,instances,machine\n");
    for MachineReport { machine, series, .. } in std::iter::once(&report.first).chain(&report.linked) {
        let StateSeries { every_s, states, instances } = series;
        let times = (0..).step_by(usize::try_from(*every_s).unwrap_or(1).max(1));
        for (at_s, row) in times.zip(instances) {
            for (state, instances) in states.iter().zip(row) {
                // Names need no quotes, and writing to a string cannot fail.
                let _ = writeln!(text, "{at_s},{state},{instances},{machine}");
            }
        }
    }
    text
}
