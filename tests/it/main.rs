//! Integration tests: one binary, one file an area.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod action;
mod farm;
mod foreign;
mod tftp;
