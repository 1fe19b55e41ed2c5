//! Errors of the boot tree.

use std::io;

use nix::errno::Errno;

/// Why a name has no file or directory.
#[derive(Debug, thiserror::Error)]
pub enum BootTreeError {
    /// The root is missing or unreadable: nothing is known of any name.
    #[error("the boot root cannot be read")]
    RootUnreadable(#[source] io::Error),
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// The name, or a link on its way, leads out of the boot tree.
    #[error("outside the boot tree")]
    OutsideTree,
    /// Too many symbolic links.
    #[error("too many symbolic links")]
    Loop,
    /// It is a directory, a pipe, a socket or a device.
    #[error("not a regular file")]
    NotAFile,
    /// It is not a directory.
    #[error("not a directory")]
    NotAFolder,
    /// The server's user may not read it.
    #[error("access denied")]
    Unreadable,
    /// The system failed.
    #[error("cannot open the file")]
    Io(#[source] io::Error),
}

impl BootTreeError {
    /// Converts a system error.
    pub(crate) fn from_errno(errno: Errno) -> Self {
        if matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::EINVAL) {
            Self::NotFound
        } else if matches!(errno, Errno::EACCES | Errno::EPERM) {
            Self::Unreadable
        } else if matches!(errno, Errno::EISDIR | Errno::ENXIO | Errno::ENODEV) {
            Self::NotAFile
        } else if errno == Errno::ELOOP {
            Self::Loop
        } else {
            Self::Io(errno.into())
        }
    }
}
