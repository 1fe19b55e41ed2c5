//! Why a boot link could not be set or cleared, and what that says about ourselves.

use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::super::boot_config_name::BadConfigName;
use crate::actions::Trouble;
use crate::boot_tree::{BootTreeError, CONFIGS_FOLDER, LINKS_FOLDER};

/// Says why a boot link could not be set or cleared.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("abandoned")]
    Abandoned,
    #[error("the lease of this process expired: whoever has the board now sets or clears its boot link")]
    Expired,
    #[error("no boot config was chosen for the board")]
    NoConfig,
    #[error(transparent)]
    BadConfig(#[from] BadConfigName),
    #[error("there is no boot config `{0}` in the boot tree's `{CONFIGS_FOLDER}` folder")]
    Missing(String),
    #[error("`{name}` cannot be served to the board: {source}")]
    NotServed { name: String, source: BootTreeError },
    #[error(
        "`{LINKS_FOLDER}/{0}` does not lead to the boot config that it was pointed at: it, or a path on its way, is changed by somebody else"
    )]
    Elsewhere(String),
    #[error(
        "a file that is no link into `{CONFIGS_FOLDER}` has the name of the board's boot link: remove it by hand"
    )]
    Foreign,
    #[error("the board's boot link is changed by somebody else all the time")]
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
    /// Sorts what the boot tree says of `name`.
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

    /// What it says about ourselves: that the tree cannot be read or written now says nothing of the board.
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
