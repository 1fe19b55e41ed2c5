//! Why a name gives nothing.

use std::io;

use nix::errno::Errno;

/// Says why a name gave no file or no folder.
#[derive(Debug, thiserror::Error)]
pub enum BootTreeError {
    /// The root itself is missing or cannot be read: nothing is known of any name.
    #[error("the boot root cannot be read")]
    RootUnreadable(#[source] io::Error),
    /// There is none.
    #[error("no such file")]
    NotFound,
    /// The name, or a link on its way, leads out of the boot tree.
    #[error("outside the boot tree")]
    OutsideTree,
    /// Links lead to links, too many of them.
    #[error("too many symbolic links")]
    Loop,
    /// It is a directory, a pipe, a socket or a device.
    #[error("not a regular file")]
    NotAFile,
    /// It is no folder, and one is wanted.
    #[error("not a folder")]
    NotAFolder,
    /// The server's user may not read it.
    #[error("access denied")]
    Unreadable,
    /// The machine failed.
    #[error("cannot open the file")]
    Io(#[source] io::Error),
}

impl BootTreeError {
    /// Sorts an error of the system by what it says of the name.
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
