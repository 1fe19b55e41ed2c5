//! Files with machine definitions.

use std::error::Error;
use std::io::Read;
use std::path::Path;

use super::super::faces;
use super::super::text_file::read_text;
use crate::machine::{self, Definition, MAX_SOURCE_BYTES};

/// The text of the definition at `path`; `-` is standard input.
///
/// # Errors
///
/// Why it cannot be read, with its path.
pub(in crate::cli) fn read(path: &Path) -> Result<String, Box<dyn Error>> {
    let text = if path.as_os_str() == "-" {
        read_all(std::io::stdin()).map_err(|error| format!("standard input: {error}"))?
    } else {
        read_all(fs_err::File::open(path)?).map_err(|error| format!("{}: {error}", path.display()))?
    };
    if text.len() > MAX_SOURCE_BYTES {
        let file = name(path);
        return Err(
            format!("{file}: too large for a definition; the maximum is {MAX_SOURCE_BYTES} bytes").into()
        );
    }
    Ok(text)
}

/// Reads one byte more than the maximum, so that a text that is too long is noticed.
fn read_all(from: impl Read) -> std::io::Result<String> {
    read_text(from.take(MAX_SOURCE_BYTES as u64 + 1))
}

/// The name of the file in messages.
pub(in crate::cli) fn name(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() }
}

/// The checked definition in `text`, the text of `file`.
///
/// # Errors
///
/// All its faults, one a line.
pub(in crate::cli) fn check(file: &str, text: &str) -> Result<Definition, Box<dyn Error>> {
    machine::load(text, faces::vocabulary()).map_err(|faults| faults.display(file).to_string().into())
}
