//! Simulated boards against a real TFTP server, real Modbus and a recorder that stands for Lifeguard's HTTP face.

mod boots;
mod faults;
mod world;
