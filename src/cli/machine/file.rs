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
        let most = MAX_SIZE_BYTES as u64;
        let mut text = String::new();
        std::io::stdin().take(most + 1).read_to_string(&mut text)?;
        return Ok(text);
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

/// The checked definition in `text`, which is that of `file`.
///
/// # Errors
///
/// All that is wrong with it, a line each.
pub(in crate::cli) fn check(file: &str, text: &str) -> Result<Definition, Box<dyn Error>> {
    machine::load(text, ACTIONS).map_err(|faults| faults.display(file).to_string().into())
}
