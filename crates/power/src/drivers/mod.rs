//! The drivers, one file or folder each. A new driver needs its file, a `mod` line and a line in the table here.

mod devantech;
mod http;
mod http_outlet;
mod labgrid;
mod modbus;
mod numato;
mod pdudaemon;
mod proxr;
mod shelly;
mod snmp;
mod tasmota;
mod waveshare;

use crate::scheme::PowerScheme;

/// All schemes of power URLs.
pub(crate) const SCHEMES: &[PowerScheme] = &[
    modbus::SCHEME,
    waveshare::SCHEME,
    proxr::SCHEME,
    numato::SCHEME,
    devantech::SCHEME,
    snmp::SCHEME,
    pdudaemon::SCHEME,
    shelly::SCHEME,
    tasmota::SCHEME,
    labgrid::SCHEME,
    http::SCHEME,
];
