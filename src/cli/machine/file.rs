//! Files with machine definitions.

use std::error::Error;
use std::io::Read;
use std::path::Path;

use crate::action::ACTIONS;
use crate::machine::{self, Definition, MAX_SIZE_BYTES};

/// The text of the definition at `path`; `-` is standard input.
///
/// # Errors
///
/// Why it cannot be read, with its path.
pub(in crate::cli) fn read(path: &Path) -> Result<String, Box<dyn Error>> {
    if path.as_os_str() == "-" {
        return read_input();
    }
    let size = fs_err::File::open(path)?.metadata()?.len();
    if size > MAX_SIZE_BYTES as u64 {
        let file = path.display();
        return Err(
            format!("{file}: {size} bytes are no definition; at most {MAX_SIZE_BYTES} are read").into()
        );
    }
    Ok(fs_err::read_to_string(path)?)
}

/// What complaints call it.
pub(in crate::cli) fn name(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() }
}

/// The text on standard input.
///
/// # Errors
///
/// Why it cannot be read.
fn read_input() -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    // One byte more than there may be, so that a text that is too long is told from one that is cut off.
    let most = MAX_SIZE_BYTES as u64 + 1;
    std::io::stdin()
        .take(most)
        .read_to_string(&mut text)
        .map_err(|error| format!("standard input: {error}"))?;
    Ok(text)
}

/// The checked definition in `text`, which is that of `file`.
///
/// # Errors
///
/// All that is wrong with it, a line each.
pub(in crate::cli) fn check(file: &str, text: &str) -> Result<Definition, Box<dyn Error>> {
    machine::load(text, ACTIONS).map_err(|faults| faults.display(file).to_string().into())
}
