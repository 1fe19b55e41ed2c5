//! The link `pxelinux.cfg/01-aa-bb-cc-dd-ee-ff` in the boot tree, to a file in its `configs` folder.
//!
//! Only links that point into `configs` are replaced or removed; any other file of that name was put there by an operator. A
//! reader sees either the old link or the new one.
//!
//! The link is written into the resolved `pxelinux.cfg` folder, and setting it succeeds only if the boot tree then serves the
//! config by the link's name, checked with the code of the TFTP server.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use device_io::ProcessLease;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, fsync, symlinkat, unlinkat};
use tokio_util::sync::CancellationToken;

use super::super::boot_config_name::check_config_name;
use super::error::LinkError;
use crate::boot_tree::{BootFolder, BootTree, BootTreeError, CONFIGS_FOLDER, LINKS_FOLDER};

/// The maximum number of attempts while other processes change the link.
const MAX_LINK_ATTEMPTS: u32 = 20;
/// The pause before the second write; each further pause is twice as long, so that concurrent runs diverge.
const INITIAL_RETRY_PAUSE: Duration = Duration::from_micros(50);
/// The number of doublings after which the pause stays the same: 13 ms.
const MAX_PAUSE_DOUBLINGS: u32 = 8;
/// Numbers the temporary links of this process.
static NEXT_TEMPORARY_LINK: AtomicU64 = AtomicU64::new(0);

/// The permission to change a link, checked immediately before each change.
///
/// A call to a disk or a share may hang, or the process may be stopped, until another process is in charge of the board.
#[derive(Debug, Clone)]
pub(super) struct LinkPermit {
    pub(super) lease: ProcessLease,
    pub(super) cancel: CancellationToken,
}

impl LinkPermit {
    fn check(&self) -> Result<(), LinkError> {
        if self.cancel.is_cancelled() {
            Err(LinkError::Abandoned)
        } else if self.lease.may_act() {
            Ok(())
        } else {
            Err(LinkError::Expired)
        }
    }
}

/// The boot links of a boot tree.
#[derive(Debug, Clone)]
pub(super) struct BootLinks {
    tree: BootTree,
}

/// The result of clearing a link.
pub(super) enum ClearedLink {
    /// There was no link.
    Nothing,
    /// There is another file, which was left unchanged.
    Foreign,
    /// The link to this boot config was removed.
    Removed(String),
}

/// The file that has a link's name.
enum ExistingLink {
    Nothing,
    Ours(PathBuf),
    Foreign,
}

impl BootLinks {
    /// Creates the links of the boot tree at `root`.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { tree: BootTree::new(root) }
    }

    /// Returns the root of the boot tree.
    pub(super) fn root(&self) -> &Path {
        self.tree.root()
    }

    /// Points the link `name` at the boot config `config` while `permit` allows it. Blocks.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the boot tree does not serve the config by that name.
    pub(super) fn set(&self, name: &str, config: &str, permit: &LinkPermit) -> Result<(), LinkError> {
        check_config_name(config)?;
        self.has_configs()?;
        let path = format!("{CONFIGS_FOLDER}/{config}");
        let file = self.tree.open(path.as_bytes()).map_err(|error| {
            if matches!(error, BootTreeError::NotFound | BootTreeError::NotAFile) {
                LinkError::Missing(config.to_owned())
            } else {
                LinkError::of(&path, error)
            }
        })?;
        let folder =
            self.tree.make_folder(LINKS_FOLDER).map_err(|error| LinkError::of(LINKS_FOLDER, error))?;
        let link = format!("{LINKS_FOLDER}/{name}");
        let target = PathBuf::from(format!("{}{CONFIGS_FOLDER}/{config}", folder.to_root()));
        let mut is_elsewhere = false;
        for attempt in 0..MAX_LINK_ATTEMPTS {
            permit.check()?;
            match self.find(&folder, name)? {
                ExistingLink::Foreign => return Err(LinkError::Foreign),
                ExistingLink::Ours(present) if present == target => {
                    sync(&folder)?;
                    match self.tree.open(link.as_bytes()) {
                        Ok(served) if served.identity == file.identity => return Ok(()),
                        // Another process has changed the link or a folder on its path: try again.
                        Ok(_) | Err(BootTreeError::NotFound) => is_elsewhere = true,
                        Err(error) => return Err(LinkError::of(&link, error)),
                    }
                }
                ExistingLink::Ours(_) => {
                    // After the first attempt another process is changing it, too. The result is checked without a pause.
                    if let Some(doublings) = attempt.checked_sub(1) {
                        std::thread::sleep(
                            INITIAL_RETRY_PAUSE * 2_u32.pow(doublings.min(MAX_PAUSE_DOUBLINGS)),
                        );
                    }
                    replace(&folder, name, &target, permit)?;
                }
                ExistingLink::Nothing => {
                    permit.check()?;
                    match symlinkat(&target, &folder, name) {
                        Err(errno) if errno != Errno::EEXIST => return Err(errno.into()),
                        // Written directly under its name, which fails if another process was faster. Either way the
                        // result is checked.
                        Ok(()) | Err(_) => {}
                    }
                }
            }
        }
        Err(if is_elsewhere { LinkError::Elsewhere(name.to_owned()) } else { LinkError::Contended })
    }

    /// Removes the link `name` while `permit` allows it. Blocks.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when it is still there.
    pub(super) fn clear(&self, name: &str, permit: &LinkPermit) -> Result<ClearedLink, LinkError> {
        self.has_configs()?;
        let folder = match self.tree.folder(LINKS_FOLDER) {
            Err(BootTreeError::NotFound) => return Ok(ClearedLink::Nothing),
            found => found.map_err(|error| LinkError::of(LINKS_FOLDER, error))?,
        };
        match self.find(&folder, name)? {
            ExistingLink::Nothing => Ok(ClearedLink::Nothing),
            ExistingLink::Foreign => Ok(ClearedLink::Foreign),
            ExistingLink::Ours(target) => {
                permit.check()?;
                match unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir) {
                    Err(errno) if errno != Errno::ENOENT => Err(errno.into()),
                    Ok(()) | Err(_) => {
                        sync(&folder)?;
                        let name =
                            target.file_name().unwrap_or(OsStr::new("")).to_string_lossy().into_owned();
                        Ok(ClearedLink::Removed(name))
                    }
                }
            }
        }
    }

    /// Checks that the tree is available: without its mount, a share is an empty folder.
    fn has_configs(&self) -> Result<(), LinkError> {
        match self.tree.folder(CONFIGS_FOLDER) {
            Err(BootTreeError::NotFound) => Err(LinkError::Root(Errno::ENOENT.into())),
            Err(error) => Err(LinkError::of(CONFIGS_FOLDER, error)),
            Ok(_) => Ok(()),
        }
    }

    fn find(&self, folder: &BootFolder, name: &str) -> Result<ExistingLink, Errno> {
        match readlinkat(folder, name) {
            Ok(target) if self.is_config(folder, Path::new(&target)) => Ok(ExistingLink::Ours(target.into())),
            // EINVAL: it is not a link.
            Ok(_) | Err(Errno::EINVAL) => Ok(ExistingLink::Foreign),
            Err(Errno::ENOENT) => Ok(ExistingLink::Nothing),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a link in `folder` with the text `target` points at a file directly in the `configs` folder.
    ///
    /// `../configs` always counts: earlier versions wrote links like that.
    fn is_config(&self, folder: &BootFolder, target: &Path) -> bool {
        let configs = [
            Path::new(&folder.to_root()).join(CONFIGS_FOLDER),
            Path::new("..").join(CONFIGS_FOLDER),
            self.tree.root().join(CONFIGS_FOLDER),
        ];
        configs.iter().filter_map(|configs| target.strip_prefix(configs).ok()).any(|rest| {
            let mut parts = rest.components();
            matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
        })
    }
}

/// Replaces a link atomically. Temporary links left behind by a crash are skipped.
fn replace(folder: &BootFolder, link: &str, target: &Path, permit: &LinkPermit) -> Result<(), LinkError> {
    let new = loop {
        permit.check()?;
        let number = NEXT_TEMPORARY_LINK.fetch_add(1, Ordering::Relaxed);
        let new = format!("{link}.new-{}-{number}", std::process::id());
        match symlinkat(target, folder, new.as_str()) {
            Ok(()) => break new,
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    };
    let renamed =
        permit.check().and_then(|()| renameat(folder, new.as_str(), folder, link).map_err(LinkError::from));
    if renamed.is_err() {
        // The temporary link is removed; the error that matters is the first one.
        unlinkat(folder, new.as_str(), UnlinkatFlags::NoRemoveDir).ok();
    }
    renamed
}

/// Makes changes in `folder` durable.
fn sync(folder: &BootFolder) -> Result<(), Errno> {
    fsync(openat(folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use fs_err as fs;
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn no_link_is_changed_after_the_lease_or_once_cancelled() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(CONFIGS_FOLDER)).unwrap();
        for config in ["panda", "panda-2"] {
            fs::write(root.path().join(CONFIGS_FOLDER).join(config), config).unwrap();
        }
        let links = BootLinks::new(root.path().to_owned());
        let set = |config: &str, permit: &LinkPermit| links.set("01-board", config, permit);
        let clear = |permit: &LinkPermit| links.clear("01-board", permit);
        let link = || fs::read_link(root.path().join(LINKS_FOLDER).join("01-board")).ok();
        let allowed = LinkPermit { lease: ProcessLease::default(), cancel: CancellationToken::new() };
        let (expired, cancelled) = (
            LinkPermit { lease: ProcessLease::default(), ..allowed.clone() },
            LinkPermit { cancel: CancellationToken::new(), ..allowed.clone() },
        );
        expired.lease.extend(Instant::now());
        cancelled.cancel.cancel();

        for is_set in [false, true] {
            if is_set {
                set("panda", &allowed).unwrap();
            }
            let before = link();
            for (permit, reason) in [(&expired, "lease"), (&cancelled, "abandoned")] {
                let failed = set("panda-2", permit).unwrap_err().to_string();
                assert!(failed.contains(reason), "{failed}");
                assert_eq!(link(), before);
            }
        }
        let before = link();
        assert!(before.is_some());
        for (permit, reason) in [(&expired, "lease"), (&cancelled, "abandoned")] {
            let failed = clear(permit).err().unwrap().to_string();
            assert!(failed.contains(reason), "{failed}");
            assert_eq!(link(), before);
        }
        assert!(matches!(clear(&allowed), Ok(ClearedLink::Removed(_))));
        assert_eq!(link(), None);
    }
}
