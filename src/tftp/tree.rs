//! The boot tree: from a name that a client asked for to an open file below the root.
//!
//! Nothing outside the root is ever opened. Links within the tree are followed, because that is what
//! `pxelinux.cfg/01-<mac>` is; links that lead out of it are refused, whoever made them. The kernel does the work:
//! `openat2` with `RESOLVE_BENEATH` checks while it walks, so there is no moment between check and open.
//!
//! An absolute link that ends within the root is followed too: its target is written anew relative to the root and
//! opened by the same rule.
//!
//! **Without `openat2`** (Linux before 5.6, or a container whose seccomp filter does not know it) the path is
//! canonicalised, compared with the root and opened without following a last link. Somebody who may write in the boot
//! tree could exchange a directory for a link between the two steps; nobody else gains anything by it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

use super::observer::Refusal;

/// How often a walk is repeated that a rename elsewhere disturbed.
///
/// Any rename on the machine while `..` in a link is being followed can disturb it, and boot configs are set by rename.
/// Source: openat2(2), "EAGAIN".
const DISTURBED_RETRIES: u32 = 64;

/// A file of the tree, open for reading.
#[derive(Debug)]
pub(super) struct Opened {
    /// The file.
    pub file: File,
    /// Its length when it was opened.
    pub length: u64,
}

/// Says why a name gave no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// There is none.
    #[error("no such file")]
    NotFound,
    /// There is something, but it is not served.
    #[error("refused")]
    Refused(#[source] Refusal),
    /// The machine failed.
    #[error("cannot open the file")]
    Io(#[source] io::Error),
}

/// The tree below one directory.
///
/// The directory is looked up for each file, so that it may be replaced while the server runs.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Takes `root` for the tree's root.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] when it is no directory that can be read.
    pub(super) fn new(root: PathBuf) -> io::Result<Self> {
        fs_err::read_dir(&root)?;
        Ok(Self { root })
    }

    /// Opens the regular file that `name` stands for. Blocks.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was changed.
    pub(super) fn open(&self, name: &str) -> Result<Opened, OpenError> {
        let name = Path::new(name.trim_start_matches('/'));
        match self.open_beneath(name) {
            // Seccomp filters answer ENOSYS or EPERM; the kernel itself has no EPERM for reading a file.
            Err(Errno::ENOSYS | Errno::EPERM) => self.open_compared(name).map_err(refine),
            Err(Errno::EXDEV) if !climbs(name) => {
                let relative = self.relative(name).map_err(refine)?;
                self.open_beneath(&relative).map_err(|errno| refine(errno.into()))
            }
            other => other.map_err(|errno| refine(errno.into())),
        }
        .and_then(regular)
    }

    fn open_beneath(&self, name: &Path) -> Result<OwnedFd, Errno> {
        let root = open(&self.root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let how = OpenHow::new()
            .flags(reading())
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut result = openat2(&root, name, how);
        for _ in 0..DISTURBED_RETRIES {
            if !matches!(result, Err(Errno::EAGAIN)) {
                break;
            }
            result = openat2(&root, name, how);
        }
        result
    }

    fn open_compared(&self, name: &Path) -> io::Result<OwnedFd> {
        if climbs(name) {
            return Err(Errno::EXDEV.into());
        }
        let path = self.root.join(self.relative(name)?);
        Ok(open(&path, reading() | OFlag::O_NOFOLLOW, Mode::empty())?)
    }

    /// Where `name` ends when all links are followed, relative to the root.
    fn relative(&self, name: &Path) -> io::Result<PathBuf> {
        let root = fs_err::canonicalize(&self.root)?;
        let path = fs_err::canonicalize(root.join(name))?;
        path.strip_prefix(&root).map(Path::to_owned).map_err(|_| Errno::EXDEV.into())
    }
}

/// How files are opened: without waiting for a pipe's writer, and taking no terminal.
fn reading() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}

fn climbs(name: &Path) -> bool {
    name.components().any(|component| component == Component::ParentDir)
}

/// Sorts errors by what the client is told.
fn refine(error: io::Error) -> OpenError {
    let errno = error.raw_os_error().map(Errno::from_raw);
    // `fs_err` keeps the kind of an error but not always its number.
    let kind = error.kind();
    if matches!(errno, Some(Errno::EXDEV | Errno::ELOOP)) {
        OpenError::Refused(Refusal::Outside)
    } else if matches!(errno, Some(Errno::ENXIO | Errno::ENODEV)) || kind == io::ErrorKind::IsADirectory {
        OpenError::Refused(Refusal::NotAFile)
    } else if kind == io::ErrorKind::PermissionDenied {
        OpenError::Refused(Refusal::Unreadable)
    } else if matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    ) {
        OpenError::NotFound
    } else {
        OpenError::Io(error)
    }
}

fn regular(fd: OwnedFd) -> Result<Opened, OpenError> {
    let file = File::from(fd);
    let found = file.metadata().map_err(OpenError::Io)?;
    if found.is_file() {
        Ok(Opened { file, length: found.len() })
    } else {
        Err(OpenError::Refused(Refusal::NotAFile))
    }
}
