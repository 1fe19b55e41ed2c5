//! The drivers, one file or folder each. A new driver needs its file, a `mod` line and a line in the table here.

mod devantech;
mod modbus;
mod numato;
mod proxr;
mod tasmota;
mod waveshare;

use crate::scheme::PowerScheme;

/// All schemes of power URLs.
pub(crate) const SCHEMES: &[PowerScheme] =
    &[modbus::SCHEME, waveshare::SCHEME, proxr::SCHEME, numato::SCHEME, devantech::SCHEME, tasmota::SCHEME];
