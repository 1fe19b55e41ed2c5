//! Proofs: long runs of the whole system with injected faults. `docs/proofs.md` describes how to run each at full
//! length.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod database_proxy;
mod databases;
mod hostile;
mod site;
