//! Faults of the configuration file, and their positions in its text.

use std::fmt;
use std::ops::Range;

/// A fault in the text, with its position.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConfigFault {
    pub(super) line: usize,
    pub(super) column: usize,
    message: String,
}

/// The text of the file, for the positions of what is found in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConfigText<'a>(&'a str);

impl<'a> ConfigText<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Line and column of a part of the text, from 1.
    pub(super) fn position(self, span: Option<Range<usize>>) -> (usize, usize) {
        let before = span.and_then(|span| self.0.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// A fault of a part of the text.
    pub(super) fn fault(self, span: Option<Range<usize>>, message: String) -> ConfigFault {
        let (line, column) = self.position(span);
        ConfigFault { line, column, message }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message } = self;
        write!(f, "{line}:{column}: {message}")
    }
}
