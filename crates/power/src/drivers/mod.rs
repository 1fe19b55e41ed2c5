//! The drivers, one file or folder each. A new driver needs its file, a `mod` line and a line in the table here.

mod devantech;
mod exec;
mod http;
mod http_outlet;
mod ipmi;
mod labgrid;
mod modbus;
mod numato;
mod pdudaemon;
mod proxr;
mod redfish;
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
    redfish::SCHEME,
    redfish::HTTP_SCHEME,
    labgrid::SCHEME,
    labgrid::HTTPS_SCHEME,
    http::SCHEME,
    http::HTTPS_SCHEME,
    ipmi::SCHEME,
    exec::SCHEME,
];
