//! The tree below one directory: access to files and directories by name.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mkdirat};

use crate::error::BootTreeError;
use crate::walk::{EntryKind, OpenEntry, walk};

/// The directory of boot links.
pub const LINKS_FOLDER: &str = "pxelinux.cfg";

/// The directory of boot configs.
pub const CONFIGS_FOLDER: &str = "configs";

/// A file of the tree, open for reading.
#[derive(Debug)]
pub struct BootFile {
    /// The file.
    pub file: File,
    /// Its length when it was opened, in bytes.
    pub length: u64,
    /// Identity of the file: device and inode.
    pub identity: (u64, u64),
}

/// A directory of the tree, with all links followed.
#[derive(Debug)]
pub struct BootFolder {
    fd: OwnedFd,
    depth: usize,
}

impl AsFd for BootFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl BootFolder {
    /// Returns the relative path to the root for links in this directory: `../` for each level.
    #[must_use]
    pub fn to_root(&self) -> String {
        "../".repeat(self.depth)
    }
}

/// The tree below one directory.
#[derive(Debug, Clone)]
pub struct BootTree {
    root: PathBuf,
}

impl BootTree {
    /// Creates the tree below `root`, which need not exist.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns the root, as configured.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Checks that the root and its two directories exist and are readable.
    ///
    /// # Errors
    ///
    /// The unreadable directory, and [`BootTreeError`].
    pub fn check(&self) -> Result<(), (&'static str, BootTreeError)> {
        std::fs::read_dir(&self.root).map_err(|error| ("", BootTreeError::RootUnreadable(error)))?;
        for name in [CONFIGS_FOLDER, LINKS_FOLDER] {
            self.folder(name).map_err(|error| (name, error))?;
        }
        Ok(())
    }

    /// Opens the regular file `name`; leading slashes mean the root.
    ///
    /// # Errors
    ///
    /// [`BootTreeError`]; nothing was changed.
    pub fn open(&self, name: &[u8]) -> Result<BootFile, BootTreeError> {
        let OpenEntry::File(file) = walk(&self.root, name, EntryKind::File)? else {
            return Err(BootTreeError::NotAFile);
        };
        let metadata = file.metadata().map_err(BootTreeError::Io)?;
        if !metadata.is_file() {
            return Err(BootTreeError::NotAFile);
        }
        Ok(BootFile { length: metadata.len(), identity: (metadata.dev(), metadata.ino()), file })
    }

    /// Finds the directory `name`, with all links followed.
    ///
    /// # Errors
    ///
    /// [`BootTreeError`]; nothing was changed.
    pub fn folder(&self, name: &str) -> Result<BootFolder, BootTreeError> {
        match walk(&self.root, name.as_bytes(), EntryKind::Folder)? {
            OpenEntry::Folder { fd, depth } => Ok(BootFolder { fd, depth }),
            OpenEntry::File(_) => Err(BootTreeError::NotAFolder),
        }
    }

    /// Finds the directory `name`, and creates it if it is missing.
    ///
    /// # Errors
    ///
    /// [`BootTreeError`].
    pub fn make_folder(&self, name: &str) -> Result<BootFolder, BootTreeError> {
        match self.folder(name) {
            Err(BootTreeError::NotFound) => {
                let root = self.folder("")?;
                // Independent of the umask, because other servers may serve the tree too.
                let mode = Mode::from_bits_truncate(0o755);
                let created = mkdirat(&root, name, mode)
                    .and_then(|()| fchmodat(&root, name, mode, FchmodatFlags::FollowSymlink));
                match created {
                    // Another process may have created it; a dangling link is detected next.
                    Ok(()) | Err(Errno::EEXIST) => self.folder(name),
                    Err(errno) => Err(BootTreeError::Io(errno.into())),
                }
            }
            found => found,
        }
    }
}
