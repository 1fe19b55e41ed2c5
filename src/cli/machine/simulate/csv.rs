//! How many boards are in each state over time, as CSV.

use std::fmt::Write as _;

use crate::simulate::{Report, Series};

/// A line for each sample and state; times are seconds after the beginning.
pub(super) fn write(report: &Report) -> String {
    let Series { every_s, states, boards } = &report.series;
    let mut text = String::from("time_s,state,boards\n");
    for (at_s, row) in (0..).step_by(usize::try_from(*every_s).unwrap_or(1).max(1)).zip(boards) {
        for (state, boards) in states.iter().zip(row) {
            // Names need no quotes, and writing to a string cannot fail.
            let _ = writeln!(text, "{at_s},{state},{boards}");
        }
    }
    text
}
