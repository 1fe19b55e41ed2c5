//! Boot links: `set-pxe` points the link of a board at a boot config, `clear-pxe` removes it, so that the board boots from
//! disk.

mod error;
mod link;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use self::error::LinkError;
use self::link::{BootLinks, ClearedLink, LinkPermit};
use super::facts::BOOT_CONFIG_FACT;
use super::mac::{Mac, link_name};
use crate::actions::{
    ActionDescription, BadSettingsPolicy, Evidence, Job, NoSettings, RunLocation, Trouble, TypedActionKind,
    UnfinishedAction,
};
use crate::boot_tree::LINKS_FOLDER;

/// The time limit of a run: a few calls to a disk or a share.
const LINK_TIMEOUT: Duration = Duration::from_secs(5);
/// The fact with the MAC address, by which the boot loader requests the link.
const MAC_FACT: &str = "mac";

/// The action `set-pxe`.
#[derive(Debug, Clone)]
pub struct SetBootLink {
    links: BootLinks,
}

/// The action `clear-pxe`.
#[derive(Debug, Clone)]
pub struct ClearBootLink {
    links: BootLinks,
}

impl SetBootLink {
    /// Creates the action for the boot tree at `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { links: BootLinks::new(root) }
    }
}

impl ClearBootLink {
    /// Creates the action for the boot tree at `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { links: BootLinks::new(root) }
    }
}

#[async_trait]
impl TypedActionKind for SetBootLink {
    type Settings = NoSettings;

    fn description(&self) -> ActionDescription {
        link_action_description(
            "set-pxe",
            "Points the boot link of a board at the boot config of its next image. It succeeds when the boot tree serves \
             that config to the board.",
            &[MAC_FACT, BOOT_CONFIG_FACT],
            &self.links,
        )
    }

    async fn run(
        &self,
        job: &Job,
        _: &NoSettings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, UnfinishedAction> {
        let config = job.fact(BOOT_CONFIG_FACT).map(str::to_owned);
        let set = move |links: &BootLinks, name: &str, permit: &LinkPermit| {
            let config = config.ok_or(LinkError::NoConfig)?;
            links.set(name, &config, permit)?;
            Ok(Some(("config", config)))
        };
        change(&self.links, job, cancel, set).await
    }
}

#[async_trait]
impl TypedActionKind for ClearBootLink {
    type Settings = NoSettings;

    fn description(&self) -> ActionDescription {
        link_action_description(
            "clear-pxe",
            "Removes the boot link of a board, so that it boots what it has on disk.",
            &[MAC_FACT],
            &self.links,
        )
    }

    async fn run(
        &self,
        job: &Job,
        _: &NoSettings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, UnfinishedAction> {
        let clear = |links: &BootLinks, name: &str, permit: &LinkPermit| {
            Ok(match links.clear(name, permit)? {
                ClearedLink::Nothing => None,
                ClearedLink::Foreign => Some(("left", "foreign file".to_owned())),
                ClearedLink::Removed(config) => Some(("removed", config)),
            })
        };
        change(&self.links, job, cancel, clear).await
    }
}

fn link_action_description(
    name: &'static str,
    about: &'static str,
    facts: &'static [&'static str],
    links: &BootLinks,
) -> ActionDescription {
    ActionDescription {
        facts,
        // A disk or a share may hang.
        late_trouble: Some(Trouble::Storage(links.root().to_owned())),
        run_location: RunLocation::InServer,
        // Earlier releases accepted and ignored all settings.
        bad_settings: BadSettingsPolicy::Ignore,
        ..ActionDescription::new(name, about, LINK_TIMEOUT)
    }
}

/// What was done to a link: a key and a value for the evidence.
type LinkEvidence = Option<(&'static str, String)>;

/// Changes the board's link on a blocking thread, and returns what was done.
async fn change(
    links: &BootLinks,
    job: &Job,
    cancel: &CancellationToken,
    work: impl FnOnce(&BootLinks, &str, &LinkPermit) -> Result<LinkEvidence, LinkError> + Send + 'static,
) -> Result<Evidence, UnfinishedAction> {
    let mut evidence = Evidence::new();
    let Some(mac) = job.fact(MAC_FACT) else {
        let reason = format!("{} has no MAC address, which its boot link is named after", job.subject);
        return Err(UnfinishedAction::misconfigured(reason));
    };
    let mac: Mac = match mac.parse() {
        Ok(mac) => mac,
        Err(error) => return Err(UnfinishedAction::failed(format!("{error}"), evidence)),
    };
    let name = link_name(&mac);
    evidence.insert("link".to_owned(), format!("{LINKS_FOLDER}/{name}").into());
    if cancel.is_cancelled() {
        return Err(UnfinishedAction::failed(LinkError::Abandoned.to_string(), evidence));
    }
    let permit = LinkPermit { lease: job.lease.clone(), cancel: cancel.clone() };
    let root = links.root().to_owned();
    let links = links.clone();
    let done = match tokio::task::spawn_blocking(move || work(&links, &name, &permit)).await {
        Ok(done) => done,
        Err(error) => {
            let trouble = Trouble::Program(job.action.to_string());
            return Err(UnfinishedAction::suspended(trouble, error.to_string(), evidence));
        }
    };
    match done {
        Ok(done) => {
            evidence.extend(done.map(|(key, value)| (key.to_owned(), value.into())));
            Ok(evidence)
        }
        Err(error) => Err(match error.trouble(&root) {
            Some(trouble) => UnfinishedAction::suspended(trouble, error.to_string(), evidence),
            None => UnfinishedAction::failed(error.to_string(), evidence),
        }),
    }
}
