//! Texts from files and standard input.

use std::io::{self, Read};
use std::path::Path;

/// Reads the text in a file.
///
/// # Errors
///
/// Why it cannot be read, with its path.
pub(super) fn read_text_file(path: &Path) -> io::Result<String> {
    text(fs_err::read(path)?)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Reads the whole text of `from`.
///
/// # Errors
///
/// Why it cannot be read.
pub(super) fn read_text(mut from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    text(bytes)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "this is not text in UTF-8");
    String::from_utf8(bytes).map_err(invalid)
}
