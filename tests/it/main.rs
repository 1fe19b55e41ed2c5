//! Integration tests: one binary, one file an area.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod action;
mod database;
mod engine;
mod foreign;
mod guarded;
mod lifecycle;
mod private_postgres;
mod processes;
mod rack;
mod reimage;
mod replay;
mod tftp;
mod walk;
mod world;
