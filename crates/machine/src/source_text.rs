//! Texts like definitions: YAML in which every key and value knows its place, and what is wrong with it.

pub use crate::fault::{FaultCollector, SourcePosition};
pub use crate::source::{SourceContent, SourceFields, SourceKey, SourceNode, read};
