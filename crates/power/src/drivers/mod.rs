//! The drivers: one file each, or one folder. A new one is a `mod` line and a line of the table here, and its file.

mod modbus;
mod tasmota;

use crate::scheme::PowerScheme;

/// Every scheme of power URLs.
pub(crate) const SCHEMES: &[PowerScheme] = &[modbus::SCHEME, tasmota::SCHEME];
