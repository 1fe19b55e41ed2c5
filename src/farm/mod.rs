//! Simulated boards and relay boards: real sockets, fake hardware.
