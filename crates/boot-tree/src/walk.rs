//! From a name to what it stands for below the root.
//!
//! The path is walked component by component from an open root; each folder stays open, `..` goes back to the one before,
//! and a link's target is walked in the same way from the folder that it is in. The kernel is never given a path of more
//! than one component and never follows a link, so there is no moment between check and open, and renames elsewhere in the
//! tree neither lead out of it nor disturb the walk. It is what `openat2` does with `RESOLVE_BENEATH`, without that call,
//! which containers' seccomp filters and older kernels do not have; and absolute links are followed too where they end below
//! the root.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;

use crate::error::BootTreeError;

/// How many links are followed for one name, and how often one is looked at again that changes meanwhile.
///
/// Source: `path_resolution(7)`, "a total of 40".
const MAX_LINKS: u32 = 40;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Folder,
}

/// What a name stands for.
pub(super) enum OpenEntry {
    /// Something that is open for reading; perhaps no regular file.
    File(File),
    /// A folder, and how many folders it is below the root.
    Folder { fd: OwnedFd, depth: usize },
}

/// Finds what `name` stands for below `root`.
pub(super) fn walk(root: &Path, name: &[u8], wanted: EntryKind) -> Result<OpenEntry, BootTreeError> {
    let top = open(root, folder_flags(), Mode::empty())
        .map_err(|errno| BootTreeError::RootUnreadable(errno.into()))?;
    // The folders between the root and where the walk is, the root first; and the components still to go, the next one last.
    let (mut folders, mut left) = (vec![top], components(name));
    let mut links = MAX_LINKS;
    while let Some(component) = left.pop() {
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
        let is_last = left.is_empty();
        let is_file = wanted == EntryKind::File && is_last;
        let flags = if is_file { file_flags() } else { folder_flags() } | OFlag::O_NOFOLLOW;
        match openat(here, component.as_os_str(), flags, Mode::empty()) {
            Ok(fd) if is_file => return Ok(OpenEntry::File(File::from(fd))),
            Ok(fd) => folders.push(fd),
            // A link, or something that is no folder.
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                links = links.checked_sub(1).ok_or(BootTreeError::Loop)?;
                match readlinkat(here, component.as_os_str()) {
                    Ok(target) => follow(root, target, &mut folders, &mut left)?,
                    // It was a link a moment ago.
                    Err(Errno::EINVAL) if is_file => left.push(component),
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

/// Puts the target of a link in front of what is still to go.
fn follow(
    root: &Path,
    target: OsString,
    folders: &mut Vec<OwnedFd>,
    left: &mut Vec<OsString>,
) -> Result<(), BootTreeError> {
    let mut target = PathBuf::from(target);
    if target.is_absolute() {
        target = path_below(root, &target).ok_or(BootTreeError::OutsideTree)?;
        folders.truncate(1);
    }
    left.extend(components(target.as_os_str().as_bytes()));
    Ok(())
}

/// The way from the root to the absolute path `target`, if it is below it by name, or where its links are followed.
fn path_below(root: &Path, target: &Path) -> Option<PathBuf> {
    let real = root.canonicalize().ok()?;
    let named = target.strip_prefix(root).or_else(|_| target.strip_prefix(&real));
    let found = || target.canonicalize().ok()?.strip_prefix(&real).map(Path::to_owned).ok();
    named.map(Path::to_owned).ok().or_else(found)
}

/// The components of a path, the first one last; a slash at the end is an empty one, so that what is before it is a folder.
fn components(path: &[u8]) -> Vec<OsString> {
    path.split(|byte| *byte == b'/').rev().map(|part| OsStr::from_bytes(part).to_owned()).collect()
}

fn folder_flags() -> OFlag {
    OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

/// Without waiting for a pipe's writer, and taking no terminal.
fn file_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}
