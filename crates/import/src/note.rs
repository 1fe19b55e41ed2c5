//! What is odd about a StateService file and does no harm.

use machine::source_text::SourcePosition;

/// Something that is odd about a StateService file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportNote {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
    /// What is odd.
    pub message: String,
}

impl ImportNote {
    /// The note as `FILE:LINE:COLUMN: note: MESSAGE`.
    #[must_use]
    pub fn display(&self, file: &str) -> String {
        let Self { line, column, message } = self;
        format!("{file}:{line}:{column}: note: {message}")
    }
}

/// Notes something odd.
pub(super) fn note(notes: &mut Vec<ImportNote>, at: SourcePosition, message: String) {
    notes.push(ImportNote { line: at.line, column: at.column, message });
}
