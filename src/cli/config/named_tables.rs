//! Tables of the configuration file that hold one table for each name: `[credentials.NAME]`, `[power-commands.NAME]`.

use std::ops::Range;

use toml_edit::{Item, TableLike};

use super::fault::{ConfigFault, ConfigText};

/// A part of the text.
pub(super) type Span = Option<Range<usize>>;

/// Reads the tables below `key`, which is at `span`, each by `read_entry`; returns all faults where there are any. `form`
/// says what such a table looks like.
pub(super) fn read_named_tables<T>(
    (key, form): (&str, &str),
    (item, span): (&Item, Span),
    text: ConfigText<'_>,
    read_entry: impl Fn(&str, &Item, Span) -> Result<T, Vec<ConfigFault>>,
) -> Result<Vec<T>, Vec<ConfigFault>> {
    let Some(table) = item.as_table_like() else {
        return Err(vec![text.fault(span, format!("`{key}` is a table: {form}"))]);
    };
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for (name, item) in table.iter() {
        match read_entry(name, item, key_span(table, name)) {
            Ok(entry) => entries.push(entry),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(entries) } else { Err(faults) }
}

/// Where a key of a table stands.
pub(super) fn key_span(table: &dyn TableLike, key: &str) -> Span {
    table.get_key_value(key).and_then(|(key, _)| key.span())
}
