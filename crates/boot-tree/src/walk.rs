//! Name resolution below the root.
//!
//! The path is resolved component by component from an open root. Each directory stays open, `..` returns to the
//! previous one, and a link's target is resolved in the same way from the link's directory. The kernel gets single
//! components only and never follows a link, so there is no race between check and open, and concurrent renames cannot
//! lead out of the tree. This is what `openat2` does with `RESOLVE_BENEATH`, which containers' seccomp filters and
//! older kernels do not support. In addition, absolute links are followed if they end below the root.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;

use crate::error::BootTreeError;

/// How many links are followed for one name, including retries when one changes meanwhile.
///
/// Source: `path_resolution(7)`, "a total of 40".
const MAX_LINKS: u32 = 40;

/// Kind of entry to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Folder,
}

/// The entry of a name.
pub(super) enum OpenEntry {
    /// An entry open for reading; possibly not a regular file.
    File(File),
    /// A directory, and its depth below the root.
    Folder { fd: OwnedFd, depth: usize },
}

/// Finds the entry `name` below `root`.
pub(super) fn walk(root: &Path, name: &[u8], wanted: EntryKind) -> Result<OpenEntry, BootTreeError> {
    let top = open(root, folder_flags(), Mode::empty())
        .map_err(|errno| BootTreeError::RootUnreadable(errno.into()))?;
    // The directories from the root to the current one, and the remaining components, the next one last.
    let (mut folders, mut remaining) = (vec![top], components(name));
    let mut links = MAX_LINKS;
    while let Some(component) = remaining.pop() {
        match component.as_bytes() {
            b"" | b"." => continue,
            b".." => {
                folders.pop();
                if folders.is_empty() {
                    return Err(BootTreeError::OutsideTree);
                }
                continue;
            }
            _ => {}
        }
        let Some(here) = folders.last() else { return Err(BootTreeError::OutsideTree) };
        let is_last = remaining.is_empty();
        let is_file = wanted == EntryKind::File && is_last;
        let flags = if is_file { file_flags() } else { folder_flags() } | OFlag::O_NOFOLLOW;
        match openat(here, component.as_os_str(), flags, Mode::empty()) {
            Ok(fd) if is_file => return Ok(OpenEntry::File(File::from(fd))),
            Ok(fd) => folders.push(fd),
            // A link, or not a directory.
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                links = links.checked_sub(1).ok_or(BootTreeError::Loop)?;
                match readlinkat(here, component.as_os_str()) {
                    Ok(target) => follow(root, target, &mut folders, &mut remaining)?,
                    // It was a link before.
                    Err(Errno::EINVAL) if is_file => remaining.push(component),
                    Err(Errno::EINVAL) if is_last => return Err(BootTreeError::NotAFolder),
                    Err(errno) => return Err(BootTreeError::from_errno(errno)),
                }
            }
            Err(errno) => return Err(BootTreeError::from_errno(errno)),
        }
    }
    let depth = folders.len().saturating_sub(1);
    folders.pop().map(|fd| OpenEntry::Folder { fd, depth }).ok_or(BootTreeError::OutsideTree)
}

/// Puts the target of a link in front of the remaining components.
fn follow(
    root: &Path,
    target: OsString,
    folders: &mut Vec<OwnedFd>,
    remaining: &mut Vec<OsString>,
) -> Result<(), BootTreeError> {
    let mut target = PathBuf::from(target);
    if target.is_absolute() {
        target = path_below(root, &target).ok_or(BootTreeError::OutsideTree)?;
        folders.truncate(1);
    }
    remaining.extend(components(target.as_os_str().as_bytes()));
    Ok(())
}

/// Returns the path from the root to the absolute path `target`, if it is below the root by name or after following its
/// links.
fn path_below(root: &Path, target: &Path) -> Option<PathBuf> {
    let real = root.canonicalize().ok()?;
    let named = target.strip_prefix(root).or_else(|_| target.strip_prefix(&real));
    let found = || target.canonicalize().ok()?.strip_prefix(&real).map(Path::to_owned).ok();
    named.map(Path::to_owned).ok().or_else(found)
}

/// Splits a path, the first component last. A trailing slash gives an empty component, which requires a directory.
fn components(path: &[u8]) -> Vec<OsString> {
    path.split(|byte| *byte == b'/').rev().map(|part| OsStr::from_bytes(part).to_owned()).collect()
}

fn folder_flags() -> OFlag {
    OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

/// Does not wait for a pipe's writer, and never opens a controlling terminal.
fn file_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}
