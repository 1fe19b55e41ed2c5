//! Creates directories with exact modes, independent of the umask.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use fs_err as fs;

/// Creates the directory `path` and missing parents with `mode`. Existing directories keep their mode.
///
/// # Errors
///
/// The system's error, with the path.
pub fn create_all_with_mode(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_all_with_mode(parent, mode)?;
    }
    match create_with_mode(path, mode) {
        // Another process created it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

/// Creates the directory `path` with `mode`.
///
/// # Errors
///
/// The system's error, with the path.
pub fn create_with_mode(path: &Path, mode: u32) -> io::Result<()> {
    // The mode is set at creation too, so that it is never more permissive.
    DirBuilder::new()
        .mode(mode)
        .create(path)
        .map_err(|error| io::Error::new(error.kind(), format!("mkdir {}: {error}", path.display())))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}
