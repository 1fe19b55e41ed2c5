//! The `cursor` of a list: which changes it contains, and which definition gave its labels and failed tries.

use std::fmt;
use std::str::FromStr;

use crate::store::changes::ChangeCursor;

/// Written `DEFINITION.CHANGES`, where `DEFINITION` is 0 for a machine without a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListCursor {
    /// The number of the active definition.
    pub definition: Option<i32>,
    pub changes: ChangeCursor,
}

impl fmt::Display for ListCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.definition.unwrap_or(0), self.changes)
    }
}

/// The text is not a cursor.
#[derive(Debug)]
pub(super) struct BadListCursor;

impl FromStr for ListCursor {
    type Err = BadListCursor;

    fn from_str(text: &str) -> Result<Self, BadListCursor> {
        // A cursor of the release before names no definition: 0 is none of a machine that has boards.
        let (definition, changes) = text.split_once('.').unwrap_or(("0", text));
        let number: i32 = definition.parse().map_err(|_| BadListCursor)?;
        let changes = changes.parse().map_err(|_| BadListCursor)?;
        Ok(Self { definition: (number != 0).then_some(number), changes })
    }
}
