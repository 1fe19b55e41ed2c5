//! What a board boots: the link `pxelinux.cfg/01-aa-bb-cc-dd-ee-ff` in the boot tree, to a file in its `configs` folder.
//!
//! A link is ours if it points into `configs`. Whatever else bears its name was put there by somebody for a reason: it is
//! never replaced and never removed. A reader sees the old link or the new one, never none and never half of one.
//!
//! The link is written into the folder where `pxelinux.cfg` really is, and a link is set only if the boot tree then serves
//! the config by the link's name, by the code that the TFTP server serves it by.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, fsync, symlinkat, unlinkat};
use tokio_util::sync::CancellationToken;

use super::{Driver, Evidence, Job, Lease, Mac, Trouble, Unfinished, link_name};
use crate::boot_tree::{BootTree, CONFIGS, Folder, LINKS, OpenError};

/// How often a run looks again because somebody else changed the link under its hands.
const TRIES: u32 = 20;
/// How long it waits before it writes for the second time; each further time twice as long, so that two runs fall out of step.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
/// After how many more times that grows no more: 13 ms.
const LONGEST_PAUSE_AFTER: u32 = 8;
/// Tells the temporary links of one process apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Says why a text is not the name of a boot config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a boot config: give the plain name of a file in the boot tree's `configs` folder, not beginning \
         with a dot"
)]
pub struct BadConfigName(String);

/// Checks that `name` can only name a file that lies directly in the `configs` folder.
///
/// # Errors
///
/// [`BadConfigName`] when it is empty, longer than 255 bytes, begins with a dot, or has a `/` or a control character.
pub fn check_config_name(name: &str) -> Result<(), BadConfigName> {
    let is_plain = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && !name.contains(|c: char| c == '/' || c == '\\' || c.is_control());
    if is_plain { Ok(()) } else { Err(BadConfigName(name.escape_debug().take(300).collect())) }
}

/// What to do with a board's boot link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Points it at the job's boot config.
    Set,
    /// Removes it, so that the board boots what it has on disk.
    Clear,
}

/// Sets or clears boards' boot links in one boot tree.
#[derive(Debug, Clone)]
pub struct Boot {
    tree: BootTree,
    link: Link,
}

/// Who may change a link, and until when: asked immediately before each change, for a call to a disk or a share may hang, and
/// the process may be stopped, until another process has the board.
#[derive(Debug, Clone)]
struct Permit {
    lease: Lease,
    cancel: CancellationToken,
}

impl Permit {
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

/// What bears a link's name.
enum Found {
    Nothing,
    Ours(PathBuf),
    Foreign,
}

/// Says why a boot link could not be set or cleared.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("abandoned")]
    Abandoned,
    #[error("the lease of this process expired: whoever has the board now sets or clears its boot link")]
    Expired,
    #[error("no boot config was chosen for the board")]
    NoConfig,
    #[error(transparent)]
    BadConfig(#[from] BadConfigName),
    #[error("there is no boot config `{0}` in the boot tree's `{CONFIGS}` folder")]
    Missing(String),
    #[error("`{name}` cannot be served to the board: {source}")]
    NotServed { name: String, source: OpenError },
    #[error(
        "`{LINKS}/{0}` does not lead to the boot config that it was pointed at: it, or a path on its way, is changed by somebody else"
    )]
    Elsewhere(String),
    #[error(
        "a file that is no link into `{CONFIGS}` has the name of the board's boot link: remove it by hand"
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
    fn of(name: &str, error: OpenError) -> Self {
        match error {
            OpenError::Root(source) => Self::Root(source),
            OpenError::Io(source) => Self::Io(source),
            OpenError::NotFound
            | OpenError::Outside
            | OpenError::Loop
            | OpenError::NotAFile
            | OpenError::NotAFolder
            | OpenError::Unreadable => Self::NotServed { name: name.to_owned(), source: error },
        }
    }

    /// What it says about ourselves: that the tree cannot be read or written now says nothing of the board.
    fn trouble(&self, root: &Path) -> Option<Trouble> {
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

impl Boot {
    /// A driver for the boot tree at `root`.
    #[must_use]
    pub fn new(root: PathBuf, link: Link) -> Self {
        Self { tree: BootTree::new(root), link }
    }

    /// Sets or clears the link `name` while `permit` allows it, and says what was done. Blocks.
    fn carry_out(
        &self,
        name: &str,
        config: Option<&str>,
        permit: &Permit,
    ) -> Result<Option<(&'static str, String)>, LinkError> {
        match (self.link, config) {
            (Link::Clear, _) => self.clear(name, permit),
            (Link::Set, None) => Err(LinkError::NoConfig),
            (Link::Set, Some(config)) => {
                check_config_name(config)?;
                self.set(name, config, permit)?;
                Ok(Some(("config", config.to_owned())))
            }
        }
    }

    fn set(&self, name: &str, config: &str, permit: &Permit) -> Result<(), LinkError> {
        self.has_configs()?;
        let path = format!("{CONFIGS}/{config}");
        let file = self.tree.open(path.as_bytes()).map_err(|error| {
            if matches!(error, OpenError::NotFound | OpenError::NotAFile) {
                LinkError::Missing(config.to_owned())
            } else {
                LinkError::of(&path, error)
            }
        })?;
        let folder = self.tree.make_folder(LINKS).map_err(|error| LinkError::of(LINKS, error))?;
        let link = format!("{LINKS}/{name}");
        let target = PathBuf::from(format!("{}{CONFIGS}/{config}", folder.to_root()));
        let mut is_elsewhere = false;
        for attempt in 0..TRIES {
            permit.check()?;
            match self.find(&folder, name)? {
                Found::Foreign => return Err(LinkError::Foreign),
                Found::Ours(present) if present == target => {
                    sync(&folder)?;
                    match self.tree.open(link.as_bytes()) {
                        Ok(served) if served.identity == file.identity => return Ok(()),
                        // Somebody else has set it meanwhile, or a path on its way was changed: it is looked at again.
                        Ok(_) | Err(OpenError::NotFound) => is_elsewhere = true,
                        Err(error) => return Err(LinkError::of(&link, error)),
                    }
                }
                Found::Ours(_) => {
                    // Somebody else is at it where this is not the first look. What is written is checked at once.
                    if let Some(lost) = attempt.checked_sub(1) {
                        std::thread::sleep(FIRST_PAUSE * 2_u32.pow(lost.min(LONGEST_PAUSE_AFTER)));
                    }
                    replace(&folder, name, &target, permit)?;
                }
                Found::Nothing => {
                    permit.check()?;
                    match symlinkat(&target, &folder, name) {
                        Err(errno) if errno != Errno::EEXIST => return Err(errno.into()),
                        // Straight to its name: where somebody was quicker, that failed. What is there is looked at, not
                        // assumed.
                        Ok(()) | Err(_) => {}
                    }
                }
            }
        }
        Err(if is_elsewhere { LinkError::Elsewhere(name.to_owned()) } else { LinkError::Contended })
    }

    fn clear(&self, name: &str, permit: &Permit) -> Result<Option<(&'static str, String)>, LinkError> {
        self.has_configs()?;
        let folder = match self.tree.folder(LINKS) {
            Err(OpenError::NotFound) => return Ok(None),
            found => found.map_err(|error| LinkError::of(LINKS, error))?,
        };
        match self.find(&folder, name)? {
            Found::Nothing => Ok(None),
            Found::Foreign => Ok(Some(("left", "foreign file".to_owned()))),
            Found::Ours(target) => {
                permit.check()?;
                match unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir) {
                    Err(errno) if errno != Errno::ENOENT => Err(errno.into()),
                    Ok(()) | Err(_) => {
                        sync(&folder)?;
                        let name =
                            target.file_name().unwrap_or(OsStr::new("")).to_string_lossy().into_owned();
                        Ok(Some(("removed", name)))
                    }
                }
            }
        }
    }

    /// Checks that the tree is there: a share that is not mounted leaves an empty folder in its place.
    fn has_configs(&self) -> Result<(), LinkError> {
        match self.tree.folder(CONFIGS) {
            Err(OpenError::NotFound) => Err(LinkError::Root(Errno::ENOENT.into())),
            Err(error) => Err(LinkError::of(CONFIGS, error)),
            Ok(_) => Ok(()),
        }
    }

    fn find(&self, folder: &Folder, name: &str) -> Result<Found, Errno> {
        match readlinkat(folder, name) {
            Ok(target) if self.is_config(folder, Path::new(&target)) => Ok(Found::Ours(target.into())),
            // EINVAL: it is no link.
            Ok(_) | Err(Errno::EINVAL) => Ok(Found::Foreign),
            Err(Errno::ENOENT) => Ok(Found::Nothing),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a link in `folder` that reads `target` points at a file directly in the `configs` folder.
    ///
    /// `../configs` counts wherever the folder really is: links of older versions were written so.
    fn is_config(&self, folder: &Folder, target: &Path) -> bool {
        let configs = [
            Path::new(&folder.to_root()).join(CONFIGS),
            Path::new("..").join(CONFIGS),
            self.tree.root().join(CONFIGS),
        ];
        configs.iter().filter_map(|configs| target.strip_prefix(configs).ok()).any(|rest| {
            let mut parts = rest.components();
            matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
        })
    }
}

/// Puts a new link over the old one in one step. Temporary links that a crash left behind are passed by.
fn replace(folder: &Folder, link: &str, target: &Path, permit: &Permit) -> Result<(), LinkError> {
    let new = loop {
        permit.check()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
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
        // The link that could not be put in place is of no use; why it could not is what matters.
        unlinkat(folder, new.as_str(), UnlinkatFlags::NoRemoveDir).ok();
    }
    renamed
}

/// Makes what was done in `folder` outlast a loss of power.
fn sync(folder: &Folder) -> Result<(), Errno> {
    fsync(openat(folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

#[async_trait]
impl Driver for Boot {
    fn limit(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn late(&self) -> Option<Trouble> {
        // A disk or a share that hangs.
        Some(Trouble::Storage(self.tree.root().to_owned()))
    }

    async fn run(&self, job: &Job, cancel: &CancellationToken) -> Result<Evidence, Unfinished> {
        let mut evidence = Evidence::new();
        let mac: Mac = match job.board.mac.parse() {
            Ok(mac) => mac,
            Err(error) => return Err(Unfinished::failed(error.to_string(), evidence)),
        };
        let name = link_name(&mac);
        evidence.insert("link".to_owned(), format!("{LINKS}/{name}").into());
        if cancel.is_cancelled() {
            return Err(Unfinished::failed(LinkError::Abandoned.to_string(), evidence));
        }
        let permit = Permit { lease: job.lease.clone(), cancel: cancel.clone() };
        let (boot, config) = (self.clone(), job.boot_config.clone());
        let done = tokio::task::spawn_blocking(move || boot.carry_out(&name, config.as_deref(), &permit));
        let done = match done.await {
            Ok(done) => done,
            Err(error) => {
                let trouble = Trouble::Program(job.action.to_string());
                return Err(Unfinished::suspended(trouble, error.to_string(), evidence));
            }
        };
        match done {
            Ok(seen) => {
                evidence.extend(seen.map(|(key, value)| (key.to_owned(), value.into())));
                Ok(evidence)
            }
            Err(error) => Err(match error.trouble(self.tree.root()) {
                Some(trouble) => Unfinished::suspended(trouble, error.to_string(), evidence),
                None => Unfinished::failed(error.to_string(), evidence),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn nobody_changes_a_link_after_the_lease_or_once_cancelled() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(CONFIGS)).unwrap();
        for config in ["panda", "panda-2"] {
            fs::write(root.path().join(CONFIGS).join(config), config).unwrap();
        }
        let run = |link, config: &str, permit: &Permit| {
            Boot::new(root.path().to_owned(), link).carry_out("01-board", Some(config), permit)
        };
        let link = || fs::read_link(root.path().join(LINKS).join("01-board")).ok();
        let allowed = Permit { lease: Lease::default(), cancel: CancellationToken::new() };
        let (expired, cancelled) = (
            Permit { lease: Lease::default(), ..allowed.clone() },
            Permit { cancel: CancellationToken::new(), ..allowed.clone() },
        );
        expired.lease.extend(Instant::now());
        cancelled.cancel.cancel();

        for set in [false, true] {
            if set {
                run(Link::Set, "panda", &allowed).unwrap();
            }
            let before = link();
            for (permit, reason) in [(&expired, "lease"), (&cancelled, "abandoned")] {
                let failed = run(Link::Set, "panda-2", permit).unwrap_err().to_string();
                assert!(failed.contains(reason), "{failed}");
                assert_eq!(link(), before);
            }
        }
        let before = link();
        assert!(before.is_some());
        for (permit, reason) in [(&expired, "lease"), (&cancelled, "abandoned")] {
            let failed = run(Link::Clear, "panda", permit).unwrap_err().to_string();
            assert!(failed.contains(reason), "{failed}");
            assert_eq!(link(), before);
        }
        run(Link::Clear, "panda", &allowed).unwrap();
        assert_eq!(link(), None);
    }
}
