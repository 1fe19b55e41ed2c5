//! What every driver has to do at a device that behaves, hangs, lies, refuses, or is something else.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod modbus;
mod tasmota;
