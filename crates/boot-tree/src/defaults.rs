//! Default files for firmware: they direct a board to its boot link, or to its disk.
//!
//! Missing ones are created atomically. Existing files, links or directories of these names are never changed.

use std::io::{self, Write as _};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use crate::error::BootTreeError;
use crate::tree::{BootTree, CONFIGS_FOLDER, LINKS_FOLDER};

/// A default file of the boot tree: its directory, name and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultFile {
    /// The directory; empty for the root.
    pub folder: &'static str,
    /// The name within the directory.
    pub name: &'static str,
    /// The content.
    pub content: &'static str,
}

/// The default files of a boot tree.
pub const DEFAULT_FILES: [DefaultFile; 3] = [
    DefaultFile { folder: LINKS_FOLDER, name: "default", content: include_str!("defaults/pxelinux.cfg") },
    DefaultFile { folder: "grub", name: "grub.cfg", content: include_str!("defaults/grub.cfg") },
    DefaultFile { folder: "", name: "boot.ipxe", content: include_str!("defaults/boot.ipxe") },
];

impl DefaultFile {
    /// Returns its path in the boot tree.
    #[must_use]
    pub fn path(&self) -> String {
        if self.folder.is_empty() { self.name.to_owned() } else { format!("{}/{}", self.folder, self.name) }
    }
}

impl BootTree {
    /// Creates missing directories and default files; returns the paths of the created files.
    ///
    /// # Errors
    ///
    /// [`BootTreeError`] with the path that could not be created; earlier ones were created, and a retry is safe.
    pub fn make_defaults(&self) -> Result<Vec<String>, (String, BootTreeError)> {
        self.make_folder(CONFIGS_FOLDER).map_err(|error| (CONFIGS_FOLDER.to_owned(), error))?;
        let mut created = Vec::new();
        for file in &DEFAULT_FILES {
            if self.make_default(file).map_err(|error| (file.path(), error))? {
                created.push(file.path());
            }
        }
        Ok(created)
    }

    fn make_default(&self, file: &DefaultFile) -> Result<bool, BootTreeError> {
        let folder = self.make_folder(file.folder)?;
        match fstatat(&folder, file.name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => return Ok(false),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(BootTreeError::from_errno(errno)),
        }
        let new = format!(".{}.new-{}", file.name, std::process::id());
        let created = write_new(&folder, &new, file).map_err(BootTreeError::Io);
        // Atomic, and never replaces a file created meanwhile.
        let linked = created.and_then(|()| {
            match linkat(&folder, new.as_str(), &folder, file.name, AtFlags::empty()) {
                Ok(()) => Ok(true),
                Err(Errno::EEXIST) => Ok(false),
                Err(errno) => Err(BootTreeError::Io(errno.into())),
            }
        });
        // The temporary name is no longer needed.
        unlinkat(&folder, new.as_str(), UnlinkatFlags::NoRemoveDir).ok();
        linked
    }
}

/// Writes the content to a new file; a left-over of a crash is replaced.
fn write_new(folder: &impl AsFd, name: &str, file: &DefaultFile) -> io::Result<()> {
    unlinkat(folder, name, UnlinkatFlags::NoRemoveDir).ok();
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut new = std::fs::File::from(openat(folder, name, flags, Mode::from_bits_truncate(0o644))?);
    new.write_all(file.content.as_bytes())?;
    // Readable by boards' servers, independent of the umask.
    new.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    new.sync_all()
}
