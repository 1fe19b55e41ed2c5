//! What goes wrong while a figure is measured.

use std::error::Error;

/// What a figure that could not be measured says.
pub(super) type FigureError = Box<dyn Error>;
