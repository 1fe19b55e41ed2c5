//! Conformance tests of the power drivers: at devices that work, hang, lie, refuse, or speak another protocol.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod devantech;
mod fake;
mod fake_modbus;
mod modbus;
mod modbus_rtu;
mod numato;
mod proxr;
mod tasmota;
mod waveshare;
