//! Conformance tests of the power drivers: at devices that work, hang, lie, refuse, or speak another protocol.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod http;
mod http_device;
mod labgrid;
mod modbus;
mod pdudaemon;
mod shelly;
mod tasmota;
