//! Notes on harmless peculiarities of a StateService file.

use machine::source_text::SourcePosition;

/// A harmless peculiarity of a StateService file with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportNote {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
    /// The text of the note.
    pub message: String,
}

impl ImportNote {
    /// Formats the note as `FILE:LINE:COLUMN: note: MESSAGE`.
    #[must_use]
    pub fn display(&self, file: &str) -> String {
        let Self { line, column, message } = self;
        format!("{file}:{line}:{column}: note: {message}")
    }
}

/// Adds a note.
pub(super) fn note(notes: &mut Vec<ImportNote>, at: SourcePosition, message: String) {
    notes.push(ImportNote { line: at.line, column: at.column, message });
}
