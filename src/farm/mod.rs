//! Simulated boards and relay boards: real sockets, fake hardware.

pub mod relay;
