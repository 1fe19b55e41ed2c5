//! The drivers, one file or folder each. A new driver needs its file, a `mod` line and a line in the table here.

mod http;
mod http_outlet;
mod labgrid;
mod modbus;
mod pdudaemon;
mod shelly;
mod tasmota;

use crate::scheme::PowerScheme;

/// All schemes of power URLs.
pub(crate) const SCHEMES: &[PowerScheme] =
    &[modbus::SCHEME, pdudaemon::SCHEME, shelly::SCHEME, tasmota::SCHEME, labgrid::SCHEME, http::SCHEME];
