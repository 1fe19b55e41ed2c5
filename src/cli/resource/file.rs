//! Files with the settings of resources.

use std::error::Error;
use std::path::Path;

use crate::boards::ResourceFile;
use crate::cli::text_file::{read_text, read_text_file};

/// Reads and checks a file; `-` is standard input.
///
/// # Errors
///
/// Why it cannot be read, or all its faults, one a line.
pub(super) fn read(path: &Path) -> Result<String, Box<dyn Error>> {
    let is_input = path.as_os_str() == "-";
    let name = if is_input { "standard input".to_owned() } else { path.display().to_string() };
    let text = if is_input {
        read_text(std::io::stdin()).map_err(|error| format!("{name}: {error}"))?
    } else {
        read_text_file(path)?
    };
    match ResourceFile::read(&text) {
        Ok(_) => Ok(text),
        Err(faults) => Err(faults.display(&name).to_string().into()),
    }
}
