//! Errors of boot links, and which of them are local faults.

use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::super::boot_config_name::BadConfigName;
use crate::actions::Trouble;
use crate::boot_tree::{BootTreeError, CONFIGS_FOLDER, LINKS_FOLDER};

/// A boot link could not be set or cleared.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("abandoned")]
    Abandoned,
    #[error("the lease of this process expired: another process sets or clears the boot link")]
    Expired,
    #[error("no boot config is selected for the board")]
    NoConfig,
    #[error(transparent)]
    BadConfig(#[from] BadConfigName),
    #[error("no boot config `{0}` in the `{CONFIGS_FOLDER}` folder of the boot tree")]
    Missing(String),
    #[error("`{name}` cannot be served to the board: {source}")]
    NotServed { name: String, source: BootTreeError },
    #[error(
        "`{LINKS_FOLDER}/{0}` does not lead to its boot config: another process changes the link or a folder on its path"
    )]
    Elsewhere(String),
    #[error(
        "a file that is not a link into `{CONFIGS_FOLDER}` has the name of the boot link: remove it by hand"
    )]
    Foreign,
    #[error("another process keeps changing the boot link")]
    Contended,
    #[error("the boot root cannot be read: {0}")]
    Root(#[source] io::Error),
    #[error("the boot tree failed: {0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for LinkError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl LinkError {
    /// Converts an error of the boot tree about `name`.
    pub(super) fn of(name: &str, error: BootTreeError) -> Self {
        match error {
            BootTreeError::RootUnreadable(source) => Self::Root(source),
            BootTreeError::Io(source) => Self::Io(source),
            BootTreeError::NotFound
            | BootTreeError::OutsideTree
            | BootTreeError::Loop
            | BootTreeError::NotAFile
            | BootTreeError::NotAFolder
            | BootTreeError::Unreadable => Self::NotServed { name: name.to_owned(), source: error },
        }
    }

    /// Returns the local fault, if it is one: a boot tree that cannot be read or written does not concern the board.
    pub(super) fn trouble(&self, root: &Path) -> Option<Trouble> {
        match self {
            Self::Root(error) => {
                Trouble::of_file(error, root).or_else(|| Some(Trouble::Storage(root.to_owned())))
            }
            Self::Io(error) => Trouble::of_file(error, root),
            Self::Abandoned
            | Self::Expired
            | Self::NoConfig
            | Self::BadConfig(_)
            | Self::Missing(_)
            | Self::NotServed { .. }
            | Self::Elsewhere(_)
            | Self::Foreign
            | Self::Contended => None,
        }
    }
}
