//! Tests of simulated boards, with a real TFTP server, real Modbus and a recorder in place of Lifeguard's HTTP API.

mod boots;
mod faults;
mod world;
