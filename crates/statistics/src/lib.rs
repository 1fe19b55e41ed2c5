//! Percentiles and summaries of measured values: the one implementation for the whole workspace.
//!
//! Percentiles are those of the nearest rank: always a value that was measured, never one between two.

mod percentile;
mod summary;

pub use percentile::{percentile, percentile_rank};
pub use summary::MeasurementSummary;
