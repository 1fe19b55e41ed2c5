//! Names of boot configs: plain names of files in the `configs` folder of the boot tree.

/// The text is not a valid name of a boot config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a boot config: give the plain name of a file in the `configs` folder of the boot tree, not beginning \
     with a dot"
)]
pub struct BadConfigName(String);

/// Checks that `name` can only be that of a file directly in the `configs` folder.
///
/// # Errors
///
/// [`BadConfigName`] when it is empty, longer than 255 bytes, begins with a dot, or has a `/` or a control character.
pub fn check_config_name(name: &str) -> Result<(), BadConfigName> {
    let is_plain = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && !name.contains(|c: char| c == '/' || c == '\\' || c.is_control());
    if is_plain { Ok(()) } else { Err(BadConfigName(name.escape_debug().take(300).collect())) }
}
