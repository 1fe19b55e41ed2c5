//! What a board boots: `set-pxe` points its boot link at a boot config, `clear-pxe` removes it, so that the board boots what
//! it has on disk.

mod error;
mod link;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use self::error::LinkError;
use self::link::{Cleared, Links, Permit};
use super::mac::{Mac, link_name};
use crate::actions::{
    BadSettings, Description, Evidence, Job, NoSettings, Runs, Trouble, TypedKind, Unfinished,
};
use crate::boot_tree::LINKS;

/// The longest run: a few calls to a disk or a share.
const LIMIT: Duration = Duration::from_secs(5);
/// The fact by which the board's boot loader asks for its link.
const MAC: &str = "mac";
/// The fact that names the boot config for the board's next image.
const BOOT_CONFIG: &str = "boot_config";

/// `set-pxe`.
#[derive(Debug, Clone)]
pub struct SetBootLink {
    links: Links,
}

/// `clear-pxe`.
#[derive(Debug, Clone)]
pub struct ClearBootLink {
    links: Links,
}

impl SetBootLink {
    /// Sets links in the boot tree at `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { links: Links::new(root) }
    }
}

impl ClearBootLink {
    /// Clears links in the boot tree at `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { links: Links::new(root) }
    }
}

#[async_trait]
impl TypedKind for SetBootLink {
    type Settings = NoSettings;

    fn description(&self) -> Description {
        described(
            "set-pxe",
            "Points the boot link of a board at the boot config of its next image. It succeeds when the boot tree serves \
             that config to the board.",
            &[MAC, BOOT_CONFIG],
            &self.links,
        )
    }

    async fn run(
        &self,
        job: &Job,
        _: &NoSettings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, Unfinished> {
        let config = job.fact(BOOT_CONFIG).map(str::to_owned);
        let set = move |links: &Links, name: &str, permit: &Permit| {
            let config = config.ok_or(LinkError::NoConfig)?;
            links.set(name, &config, permit)?;
            Ok(Some(("config", config)))
        };
        change(&self.links, job, cancel, set).await
    }
}

#[async_trait]
impl TypedKind for ClearBootLink {
    type Settings = NoSettings;

    fn description(&self) -> Description {
        described(
            "clear-pxe",
            "Removes the boot link of a board, so that it boots what it has on disk.",
            &[MAC],
            &self.links,
        )
    }

    async fn run(
        &self,
        job: &Job,
        _: &NoSettings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, Unfinished> {
        let clear = |links: &Links, name: &str, permit: &Permit| {
            Ok(match links.clear(name, permit)? {
                Cleared::Nothing => None,
                Cleared::Foreign => Some(("left", "foreign file".to_owned())),
                Cleared::Removed(config) => Some(("removed", config)),
            })
        };
        change(&self.links, job, cancel, clear).await
    }
}

fn described(
    name: &'static str,
    about: &'static str,
    facts: &'static [&'static str],
    links: &Links,
) -> Description {
    Description {
        facts,
        // A disk or a share that hangs.
        late: Some(Trouble::Storage(links.root().to_owned())),
        runs: Runs::InServer,
        // Releases before took any settings and looked at none.
        bad_settings: BadSettings::Ignore,
        ..Description::new(name, about, LIMIT)
    }
}

/// What was done to a link: a name for history, and a value.
type Done = Option<(&'static str, String)>;

/// Changes the board's link, which blocks, and says what was done.
async fn change(
    links: &Links,
    job: &Job,
    cancel: &CancellationToken,
    work: impl FnOnce(&Links, &str, &Permit) -> Result<Done, LinkError> + Send + 'static,
) -> Result<Evidence, Unfinished> {
    let mut evidence = Evidence::new();
    let Some(mac) = job.fact(MAC) else {
        let reason = format!("{} has no MAC address, by which it would ask for a boot link", job.subject);
        return Err(Unfinished::misconfigured(reason));
    };
    let mac: Mac = match mac.parse() {
        Ok(mac) => mac,
        Err(error) => return Err(Unfinished::failed(format!("{error}"), evidence)),
    };
    let name = link_name(&mac);
    evidence.insert("link".to_owned(), format!("{LINKS}/{name}").into());
    if cancel.is_cancelled() {
        return Err(Unfinished::failed(LinkError::Abandoned.to_string(), evidence));
    }
    let permit = Permit { lease: job.lease.clone(), cancel: cancel.clone() };
    let root = links.root().to_owned();
    let links = links.clone();
    let done = match tokio::task::spawn_blocking(move || work(&links, &name, &permit)).await {
        Ok(done) => done,
        Err(error) => {
            let trouble = Trouble::Program(job.action.to_string());
            return Err(Unfinished::suspended(trouble, error.to_string(), evidence));
        }
    };
    match done {
        Ok(done) => {
            evidence.extend(done.map(|(key, value)| (key.to_owned(), value.into())));
            Ok(evidence)
        }
        Err(error) => Err(match error.trouble(&root) {
            Some(trouble) => Unfinished::suspended(trouble, error.to_string(), evidence),
            None => Unfinished::failed(error.to_string(), evidence),
        }),
    }
}
