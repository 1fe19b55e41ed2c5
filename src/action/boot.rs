//! What a board boots: the link `pxelinux.cfg/01-aa-bb-cc-dd-ee-ff` in the boot tree, to a file in its `configs` folder.
//!
//! A link is ours if it points into `configs`. Whatever else bears its name was put there by somebody for a reason: it is
//! never replaced and never removed. A reader sees the old link or the new one, never none and never half of one.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fs_err::tokio as fs;
use tokio_util::sync::CancellationToken;

use super::{Driver, Evidence, Job, Mac, Unfinished, link_name};

const LINKS: &str = "pxelinux.cfg";
const CONFIGS: &str = "configs";
/// How often a run looks again because somebody else changed the link under its hands.
const TRIES: u32 = 20;
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
    root: PathBuf,
    link: Link,
}

/// What bears a link's name.
enum Found {
    Nothing,
    Ours(PathBuf),
    Foreign,
}

impl Boot {
    /// A driver for the boot tree at `root`.
    #[must_use]
    pub fn new(root: PathBuf, link: Link) -> Self {
        Self { root, link }
    }

    async fn find(&self, link: &Path) -> io::Result<Found> {
        match fs::symlink_metadata(link).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
            Ok(metadata) if !metadata.is_symlink() => return Ok(Found::Foreign),
            Ok(_) => {}
        }
        match fs::read_link(link).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
            Ok(target) if self.is_config(&target) => Ok(Found::Ours(target)),
            Ok(_) => Ok(Found::Foreign),
        }
    }

    /// Whether a link in the links' folder that reads `target` points at a file directly in the `configs` folder.
    fn is_config(&self, target: &Path) -> bool {
        let relative = target.strip_prefix(Path::new("..").join(CONFIGS));
        let Ok(rest) = relative.or_else(|_| target.strip_prefix(self.root.join(CONFIGS))) else {
            return false;
        };
        let mut parts = rest.components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
    }

    async fn set(&self, link: &Path, config: &str, cancel: &CancellationToken) -> Result<(), String> {
        let file = self.root.join(CONFIGS).join(config);
        if !fs::metadata(&file).await.is_ok_and(|metadata| metadata.is_file()) {
            return Err(format!("there is no boot config `{config}` in the boot tree's `{CONFIGS}` folder"));
        }
        let folder = self.root.join(LINKS);
        fs::create_dir_all(&folder).await.map_err(|error| error.to_string())?;
        let target = Path::new("..").join(CONFIGS).join(config);
        for _ in 0..TRIES {
            if cancel.is_cancelled() {
                return Err("abandoned".to_owned());
            }
            let made = match self.find(link).await.map_err(|error| error.to_string())? {
                Found::Foreign => {
                    return Err(
                        "a file that is no link into `configs` has the name of the board's boot link: \
                                remove it by hand"
                            .to_owned(),
                    );
                }
                Found::Ours(present) if present == target => {
                    return sync(&folder).await.map_err(|error| error.to_string());
                }
                Found::Ours(_) => replace(&folder, link, &target).await,
                // Straight to its name: where somebody is quicker, this fails and we look again.
                Found::Nothing => fs::symlink(&target, link).await,
            };
            match made {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.to_string()),
                Ok(()) | Err(_) => {} // what is there is looked at, not assumed
            }
        }
        Err("the board's boot link is changed by somebody else all the time".to_owned())
    }

    async fn clear(&self, link: &Path) -> Result<Option<(&'static str, String)>, String> {
        match self.find(link).await.map_err(|error| error.to_string())? {
            Found::Nothing => Ok(None),
            Found::Foreign => Ok(Some(("left", "foreign file".to_owned()))),
            Found::Ours(target) => match fs::remove_file(link).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
                Ok(()) | Err(_) => {
                    sync(&self.root.join(LINKS)).await.map_err(|error| error.to_string())?;
                    let name = target.file_name().unwrap_or(OsStr::new("")).to_string_lossy().into_owned();
                    Ok(Some(("removed", name)))
                }
            },
        }
    }
}

/// Puts a new link over the old one in one step. Temporary links that a crash left behind are passed by.
async fn replace(folder: &Path, link: &Path, target: &Path) -> io::Result<()> {
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    let new = loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let new = folder.join(format!("{name}.new-{}-{number}", std::process::id()));
        match fs::symlink(target, &new).await {
            Ok(()) => break new,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    };
    let renamed = fs::rename(&new, link).await;
    if renamed.is_err() {
        // The link that could not be put in place is of no use; why it could not is what matters.
        let _ = fs::remove_file(&new).await;
    }
    renamed
}

/// Makes what was done in `folder` outlast a loss of power.
async fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder).await?.sync_all().await
}

#[async_trait]
impl Driver for Boot {
    fn limit(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn run(&self, job: &Job, cancel: &CancellationToken) -> Result<Evidence, Unfinished> {
        let mut evidence = Evidence::new();
        let mac: Mac = match job.board.mac.parse() {
            Ok(mac) => mac,
            Err(error) => return Err(Unfinished::failed(error.to_string(), evidence)),
        };
        let name = link_name(&mac);
        let link = self.root.join(LINKS).join(&name);
        evidence.insert("link".to_owned(), format!("{LINKS}/{name}").into());
        if cancel.is_cancelled() {
            return Err(Unfinished::failed("abandoned", evidence));
        }
        let done = match (self.link, &job.boot_config) {
            (Link::Clear, _) => self.clear(&link).await,
            (Link::Set, None) => Err("no boot config was chosen for the board".to_owned()),
            (Link::Set, Some(config)) => match check_config_name(config) {
                Ok(()) => self.set(&link, config, cancel).await.map(|()| Some(("config", config.clone()))),
                Err(error) => Err(error.to_string()),
            },
        };
        match done {
            Ok(seen) => {
                evidence.extend(seen.map(|(key, value)| (key.to_owned(), value.into())));
                Ok(evidence)
            }
            Err(reason) => Err(Unfinished::failed(reason, evidence)),
        }
    }
}
