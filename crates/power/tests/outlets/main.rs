//! Conformance tests of the power drivers: at devices that work, hang, lie, refuse, or speak another protocol.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod devantech;
mod fake;
mod fake_modbus;
mod http;
mod http_device;
mod labgrid;
mod modbus;
mod modbus_rtu;
mod numato;
mod pdudaemon;
mod proxr;
mod shelly;
mod snmp;
mod snmp_agent;
mod snmp_message;
mod snmp_urls;
mod snmpsim;
mod tasmota;
mod waveshare;
