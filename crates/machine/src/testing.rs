//! Helpers for tests of definitions, for this crate and others.

#![expect(clippy::unwrap_used, reason = "only tests use it")]

pub mod generate;
mod vocabulary;

pub use self::vocabulary::{REPORTER, vocabulary};
pub use crate::check::load_unproved;
