//! The tree below one directory: its files and folders by name.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mkdirat};

use crate::error::BootTreeError;
use crate::walk::{EntryKind, OpenEntry, walk};

/// The folder of boot links.
pub const LINKS_FOLDER: &str = "pxelinux.cfg";

/// The folder of boot configs.
pub const CONFIGS_FOLDER: &str = "configs";

/// A file of the tree, open for reading.
#[derive(Debug)]
pub struct BootFile {
    /// The file.
    pub file: File,
    /// Its length when it was opened, in bytes.
    pub length: u64,
    /// Which file of the machine it is: device and inode.
    pub identity: (u64, u64),
}

/// A folder of the tree, where it really is.
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
    /// The way from here to the root, as a link in this folder has to say it: `../` for each folder between.
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
    /// The tree below `root`, which need not be there.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The root, as it was given.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Checks that the root and its two folders are there and can be read.
    ///
    /// # Errors
    ///
    /// The folder that cannot be read, and [`BootTreeError`].
    pub fn check(&self) -> Result<(), (&'static str, BootTreeError)> {
        std::fs::read_dir(&self.root).map_err(|error| ("", BootTreeError::RootUnreadable(error)))?;
        for name in [CONFIGS_FOLDER, LINKS_FOLDER] {
            self.folder(name).map_err(|error| (name, error))?;
        }
        Ok(())
    }

    /// Opens the regular file that `name` stands for; leading slashes are the root.
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

    /// Finds the folder that `name` stands for, with all links followed.
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

    /// The same; a folder that is missing is made.
    ///
    /// # Errors
    ///
    /// [`BootTreeError`].
    pub fn make_folder(&self, name: &str) -> Result<BootFolder, BootTreeError> {
        match self.folder(name) {
            Err(BootTreeError::NotFound) => {
                let root = self.folder("")?;
                // Whatever the umask: others may serve the tree, too.
                let mode = Mode::from_bits_truncate(0o755);
                let made = mkdirat(&root, name, mode)
                    .and_then(|()| fchmodat(&root, name, mode, FchmodatFlags::FollowSymlink));
                match made {
                    // By somebody else, meanwhile; or it is a link that leads nowhere, as is seen next.
                    Ok(()) | Err(Errno::EEXIST) => self.folder(name),
                    Err(errno) => Err(BootTreeError::Io(errno.into())),
                }
            }
            found => found,
        }
    }
}
