//! The number of instances in each state over time, as CSV.

use std::fmt::Write as _;

use crate::simulate::{MachineReport, SimulationReport, StateSeries};

/// Writes one line per sample, state and machine; times are seconds from the start.
pub(super) fn write(report: &SimulationReport) -> String {
    let mut text = String::from("time_s,state,instances,machine\n");
    for MachineReport { machine, series, .. } in std::iter::once(&report.first).chain(&report.linked) {
        let StateSeries { sample_interval_s, states, instances } = series;
        let times = (0..).step_by(usize::try_from(*sample_interval_s).unwrap_or(1).max(1));
        for (at_s, row) in times.zip(instances) {
            for (state, instances) in states.iter().zip(row) {
                // Names need no quotes, and writing to a string cannot fail.
                let _ = writeln!(text, "{at_s},{state},{instances},{machine}");
            }
        }
    }
    text
}
