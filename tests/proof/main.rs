//! Proofs: long runs of the whole system with injected faults. `docs/proofs.md` describes how to run each at full
//! length.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod database_proxy;
mod databases;
mod hostile;
mod power_cycles;
mod server;
mod site;

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?;
    Some(text.to_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{variable} is a number")))
}
