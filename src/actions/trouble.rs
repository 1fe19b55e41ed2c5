//! Local faults that prevent an action: no file descriptor, no route, no resolver, no disk.
//!
//! They say nothing about the device, so the action is suspended and does not fail. Errors are distinguished by the codes of
//! the system, never by their text.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use device_io::{LocalTrouble, is_trouble_over, system_code};
use fs_err as fs;
use nix::errno::Errno;

use crate::boot_tree::{CONFIGS_FOLDER, LINKS_FOLDER};

/// A local fault.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// This machine cannot reach devices.
    Local(LocalTrouble),
    /// The action could not restore what it switched off; only another try shows whether it can.
    Unrestored {
        /// What is to be restored, in a word: `power`.
        what: &'static str,
        /// Where.
        at: String,
    },
    /// No links can be written in this boot root: its disk is full, read-only, failing, not answering or not mounted.
    Storage(PathBuf),
    /// This program does not know the action, or the action panicked.
    Program(String),
    /// There is an incident at this resource: it does not answer. The resource is probed elsewhere.
    Incident(String),
    /// The action has no result yet and is started again.
    Renewal,
}

impl Trouble {
    /// Finds the local fault in an error about a file in `folder`; `None` if the error concerns only that
    /// file.
    #[must_use]
    pub fn of_file(error: &io::Error, folder: &Path) -> Option<Self> {
        let shortage = LocalTrouble::of_shortage(error).map(Self::from);
        shortage.or_else(|| is_of_disk(system_code(error)?).then(|| Self::Storage(folder.to_owned())))
    }

    /// Its kind in one word, for logs and `/readyz`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Local(trouble) => trouble.kind(),
            Self::Unrestored { what, .. } => what,
            Self::Storage(_) => "storage",
            Self::Program(_) => "program",
            Self::Incident(_) => "incident",
            Self::Renewal => "renewal",
        }
    }

    /// Its key: actions that are suspended with the same key wait for the same fault.
    #[must_use]
    pub fn key(&self) -> String {
        let kind = self.kind();
        match self {
            Self::Local(trouble) => trouble.key(),
            Self::Renewal => kind.to_owned(),
            Self::Unrestored { at, .. } => format!("{kind} {at}"),
            Self::Storage(folder) => format!("{kind} {}", folder.display()),
            Self::Program(action) => format!("{kind} {action}"),
            Self::Incident(resource) => format!("{kind} {resource}"),
        }
    }

    /// Whether the fault is cleared, as far as this process can see without using a device. Where it cannot see, the fault
    /// counts as cleared, and the action is tried.
    pub async fn is_over(&self) -> bool {
        match self {
            Self::Local(trouble) => is_trouble_over(trouble).await,
            Self::Unrestored { .. } | Self::Program(_) | Self::Incident(_) | Self::Renewal => true,
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
            Self::Unrestored { what, at } => write!(f, "the {what} at {at} could not be restored"),
            Self::Storage(folder) => write!(f, "cannot write files in {}", folder.display()),
            Self::Program(action) => write!(f, "this program cannot run {action}"),
            Self::Incident(resource) => write!(f, "incident at {resource}"),
            Self::Renewal => f.write_str("no result within its time limit, so it is started again"),
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

/// Whether a file can be written in the folder of links of the boot tree at `root`; the file is removed again.
///
/// A tree without its folder of configs is a share that is not mounted.
fn is_writable_tree(root: &Path) -> bool {
    let links = root.join(LINKS_FOLDER);
    let folder = if links.is_dir() { &links } else { root };
    let file = folder.join(format!(".lifeguard-probe-{}", std::process::id()));
    let written = fs::write(&file, [0; 4096]).and_then(|()| fs::File::open(&file)?.sync_all());
    // Fails where the file could not be created.
    let removed = fs::remove_file(&file);
    written.is_ok() && removed.is_ok() && root.join(CONFIGS_FOLDER).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_the_disk_are_distinguished_from_those_of_a_file() {
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
    async fn a_cleared_fault_is_recognized() {
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
        // The folder of links can be a link itself: here to a folder in which nobody can create files.
        std::os::unix::fs::symlink("/proc/self", folder.path().join(LINKS_FOLDER)).unwrap();
        assert!(!Trouble::Storage(folder.path().to_owned()).is_over().await);
    }
}
