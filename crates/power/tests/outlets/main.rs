//! Conformance tests of the power drivers: at devices that work, hang, lie, refuse, or speak another protocol.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod credentials;
mod devantech;
mod exec;
mod fake;
mod fake_modbus;
#[expect(dead_code, reason = "shared with the tests of the product, which use more of it")]
#[path = "../../../../tests/it/foreign_programs.rs"]
mod foreign_programs;
mod http;
mod http_device;
mod ipmi;
mod ipmi_bmc;
mod labgrid;
mod modbus;
mod modbus_rtu;
mod numato;
mod pdudaemon;
mod pdudaemon_process;
mod proxr;
mod redfish;
mod shelly;
mod snmp;
mod snmp_agent;
mod snmp_message;
mod snmp_urls;
mod snmpsim;
mod sushy;
mod tasmota;
mod tls;
mod waveshare;
