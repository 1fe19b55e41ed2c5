//! Integration tests: one binary, one file an area.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod action;
mod actions;
mod api;
mod bench;
mod boot_watch;
mod bounds;
mod changes;
mod chaos;
mod cli;
mod database;
mod demo;
mod engine;
mod farm;
mod foreign;
mod guarded;
mod history;
mod layers;
mod lifecycle;
mod machine_check;
mod machine_diagram;
mod models;
mod pipeline;
mod private_postgres;
mod process;
mod processes;
mod rack;
mod reimage;
mod replay;
mod simulate;
mod sklearn;
mod survival;
mod tftp;
mod versions;
mod walk;
mod world;
