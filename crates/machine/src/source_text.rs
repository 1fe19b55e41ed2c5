//! Parsing of texts like definitions: YAML with positions, and the faults in it.

pub use crate::fault::{FaultCollector, SourcePosition};
pub use crate::foreign_format::ForeignFormat;
pub use crate::source::{SourceContent, SourceFields, SourceKey, SourceNode, read};
