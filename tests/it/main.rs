//! Integration tests: one binary, one file an area.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod action;
mod api;
mod cli;
mod database;
mod foreign;
mod guarded;
mod lifecycle;
mod private_postgres;
mod tftp;
mod world;
