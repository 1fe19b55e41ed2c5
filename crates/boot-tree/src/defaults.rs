//! What firmware needs where a board has no boot link: fixed files that send it on to its link, or to its disk.
//!
//! They are made where they are missing, whole or not at all, and never overwritten: an operator's file, link or folder of
//! that name stays as it is.

use std::io::{self, Write as _};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use crate::error::BootTreeError;
use crate::tree::{BootTree, CONFIGS_FOLDER, LINKS_FOLDER};

/// A fixed file of the boot tree: its folder, its name, and its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultFile {
    /// The folder; empty for the root.
    pub folder: &'static str,
    /// The name within the folder.
    pub name: &'static str,
    /// What is in it.
    pub content: &'static str,
}

/// The fixed files that a boot tree has.
pub const DEFAULT_FILES: [DefaultFile; 3] = [
    DefaultFile { folder: LINKS_FOLDER, name: "default", content: include_str!("defaults/pxelinux.cfg") },
    DefaultFile { folder: "grub", name: "grub.cfg", content: include_str!("defaults/grub.cfg") },
    DefaultFile { folder: "", name: "boot.ipxe", content: include_str!("defaults/boot.ipxe") },
];

impl DefaultFile {
    /// Its path in the boot tree.
    #[must_use]
    pub fn path(&self) -> String {
        if self.folder.is_empty() { self.name.to_owned() } else { format!("{}/{}", self.folder, self.name) }
    }
}

impl BootTree {
    /// Makes the folders and the fixed files that are missing; returns the paths of the files that were made.
    ///
    /// # Errors
    ///
    /// [`BootTreeError`] with the path that could not be made; those before it were, and trying again is harmless.
    pub fn make_defaults(&self) -> Result<Vec<String>, (String, BootTreeError)> {
        self.make_folder(CONFIGS_FOLDER).map_err(|error| (CONFIGS_FOLDER.to_owned(), error))?;
        let mut made = Vec::new();
        for file in &DEFAULT_FILES {
            if self.make_default(file).map_err(|error| (file.path(), error))? {
                made.push(file.path());
            }
        }
        Ok(made)
    }

    fn make_default(&self, file: &DefaultFile) -> Result<bool, BootTreeError> {
        let folder = self.make_folder(file.folder)?;
        match fstatat(&folder, file.name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => return Ok(false),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(BootTreeError::from_errno(errno)),
        }
        let new = format!(".{}.new-{}", file.name, std::process::id());
        let made = write_new(&folder, &new, file).map_err(BootTreeError::Io);
        // Whole or not at all, and never over what somebody else has put there meanwhile.
        let linked =
            made.and_then(|()| match linkat(&folder, new.as_str(), &folder, file.name, AtFlags::empty()) {
                Ok(()) => Ok(true),
                Err(Errno::EEXIST) => Ok(false),
                Err(errno) => Err(BootTreeError::Io(errno.into())),
            });
        // It has its name, or is of no use.
        unlinkat(&folder, new.as_str(), UnlinkatFlags::NoRemoveDir).ok();
        linked
    }
}

/// Writes the content to a new file; one that a crash left behind is replaced.
fn write_new(folder: &impl AsFd, name: &str, file: &DefaultFile) -> io::Result<()> {
    unlinkat(folder, name, UnlinkatFlags::NoRemoveDir).ok();
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut new = std::fs::File::from(openat(folder, name, flags, Mode::from_bits_truncate(0o644))?);
    new.write_all(file.content.as_bytes())?;
    // Boards read it whatever the umask is.
    new.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    new.sync_all()
}
