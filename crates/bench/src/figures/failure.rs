//! Errors of a measurement.

use std::error::Error;

/// Why a figure could not be measured.
pub(super) type FigureError = Box<dyn Error>;
