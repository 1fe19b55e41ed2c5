//! Texts like definitions: YAML in which every key and value knows its place, and what is wrong with it.

pub use crate::fault::{Collector, Position};
pub use crate::source::{Content, Fields, Key, Node, read};
