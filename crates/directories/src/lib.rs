//! Directories whose modes are what we say, whatever the umask of whoever started us.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use fs_err as fs;

/// Makes the directory `path` with `mode`, and those above it that are missing. What is there already keeps its mode.
///
/// # Errors
///
/// The system's own, with the path.
pub fn create_all_with_mode(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_all_with_mode(parent, mode)?;
    }
    match create_with_mode(path, mode) {
        // Somebody else made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

/// Makes the directory `path` with `mode`.
///
/// # Errors
///
/// The system's own, with the path.
pub fn create_with_mode(path: &Path, mode: u32) -> io::Result<()> {
    // Never more open than it is to be, not even for a moment.
    DirBuilder::new()
        .mode(mode)
        .create(path)
        .map_err(|error| io::Error::new(error.kind(), format!("mkdir {}: {error}", path.display())))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}
