//! Trouble of our own that stands in the way of an action: no descriptor, no route, no resolver, no disk.
//!
//! It says nothing about the board, so an action that meets it is suspended, not failed. Errors are told apart by the
//! system's codes and never by their text.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use device_io::{LocalTrouble, is_trouble_over, system_code};
use fs_err as fs;
use nix::errno::Errno;

use crate::boot_tree::{CONFIGS_FOLDER, LINKS_FOLDER};

/// What stands in the way, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// What this machine lacks for reaching a device.
    Local(LocalTrouble),
    /// What was taken away could not be given back; whether it can be shows only when it is tried.
    Unrestored {
        /// What, in a word: `power`.
        what: &'static str,
        /// Where.
        at: String,
    },
    /// That boot root takes no links: its disk is full, read-only, failing, silent or not mounted.
    Storage(PathBuf),
    /// This program has no driver for that action, or the driver broke down.
    Program(String),
    /// There is nothing to learn yet; the action is begun anew.
    Renewal,
}

impl Trouble {
    /// What an error at a file in `folder` says about ourselves; nothing where it speaks of the file.
    #[must_use]
    pub fn of_file(error: &io::Error, folder: &Path) -> Option<Self> {
        let shortage = LocalTrouble::of_shortage(error).map(Self::from);
        shortage.or_else(|| is_of_disk(system_code(error)?).then(|| Self::Storage(folder.to_owned())))
    }

    /// One word for its kind, for logs and for whoever reads `/readyz`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Local(trouble) => trouble.kind(),
            Self::Unrestored { what, .. } => what,
            Self::Storage(_) => "storage",
            Self::Program(_) => "program",
            Self::Renewal => "renewal",
        }
    }

    /// What tells it from other troubles: actions with the same key wait for the same thing.
    #[must_use]
    pub fn key(&self) -> String {
        let kind = self.kind();
        match self {
            Self::Local(trouble) => trouble.key(),
            Self::Renewal => kind.to_owned(),
            Self::Unrestored { at, .. } => format!("{kind} {at}"),
            Self::Storage(folder) => format!("{kind} {}", folder.display()),
            Self::Program(action) => format!("{kind} {action}"),
        }
    }

    /// Whether it is over, as far as this process can tell without touching any device; what cannot be told counts as over:
    /// then the action itself shows.
    pub async fn is_over(&self) -> bool {
        match self {
            Self::Local(trouble) => is_trouble_over(trouble).await,
            Self::Unrestored { .. } | Self::Program(_) | Self::Renewal => true,
            Self::Storage(folder) => {
                let folder = folder.clone();
                tokio::task::spawn_blocking(move || is_writable_tree(&folder)).await.unwrap_or(false)
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(trouble) => trouble.fmt(f),
            Self::Unrestored { what, at } => write!(f, "the {what} at {at} could not be given back"),
            Self::Storage(folder) => write!(f, "{} takes no files", folder.display()),
            Self::Program(action) => write!(f, "this program cannot carry out {action}"),
            Self::Renewal => f.write_str("nothing was found out in its time, so it is begun anew"),
        }
    }
}

impl From<LocalTrouble> for Trouble {
    fn from(trouble: LocalTrouble) -> Self {
        Self::Local(trouble)
    }
}

fn is_of_disk(code: Errno) -> bool {
    matches!(
        code,
        Errno::ENOSPC
            | Errno::EDQUOT
            | Errno::EROFS
            | Errno::EIO
            | Errno::EACCES
            | Errno::EPERM
            | Errno::ESTALE
            | Errno::ETIMEDOUT
            | Errno::EHOSTDOWN
            | Errno::ENODEV
            | Errno::ENXIO
    )
}

/// Whether a file can be made and written in the boot tree at `root`, where links are made; it is gone afterwards.
///
/// A tree without its folder of configs is a share that is not mounted, whose mount point is empty.
fn is_writable_tree(root: &Path) -> bool {
    let links = root.join(LINKS_FOLDER);
    let folder = if links.is_dir() { &links } else { root };
    let file = folder.join(format!(".lifeguard-probe-{}", std::process::id()));
    let written = fs::write(&file, [0; 4096]).and_then(|()| fs::File::open(&file)?.sync_all());
    // Where it could not be made there is nothing to remove.
    let removed = fs::remove_file(&file);
    written.is_ok() && removed.is_ok() && root.join(CONFIGS_FOLDER).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_lacks_is_told_from_what_a_file_is() {
        let folder = Path::new("/boot");
        for (code, expected) in [
            (Errno::ENOSPC, Some(Trouble::Storage(folder.to_owned()))),
            (Errno::EROFS, Some(Trouble::Storage(folder.to_owned()))),
            (Errno::EDQUOT, Some(Trouble::Storage(folder.to_owned()))),
            (Errno::EIO, Some(Trouble::Storage(folder.to_owned()))),
            (Errno::EMFILE, Some(LocalTrouble::Descriptors.into())),
            (Errno::ENOENT, None),
            (Errno::ENOTDIR, None),
            (Errno::EEXIST, None),
        ] {
            let error = io::Error::from_raw_os_error(code as i32);
            assert_eq!(Trouble::of_file(&error, folder), expected, "{code}");
        }
    }

    #[tokio::test]
    async fn trouble_that_is_over_is_seen_to_be_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(CONFIGS_FOLDER)).unwrap();
        for trouble in [
            Trouble::Local(LocalTrouble::Descriptors),
            Trouble::Local(LocalTrouble::Name("localhost".to_owned())),
            Trouble::Storage(folder.path().to_owned()),
        ] {
            assert!(trouble.is_over().await, "{trouble}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let (gone, empty) = (folder.path().join("gone"), tempfile::tempdir().unwrap());
        for trouble in [
            Trouble::Local(LocalTrouble::Name("board-1.invalid".to_owned())),
            Trouble::Storage(gone),
            Trouble::Storage(empty.path().to_owned()),
        ] {
            assert!(!trouble.is_over().await, "{trouble}");
        }
        // Links are made in their own folder, which may be elsewhere: here, where nobody makes files, whoever asks.
        std::os::unix::fs::symlink("/proc/self", folder.path().join(LINKS_FOLDER)).unwrap();
        assert!(!Trouble::Storage(folder.path().to_owned()).is_over().await);
    }
}
