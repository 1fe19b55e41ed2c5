//! What changes the world: power, boot configuration, probes. One file a driver, behind one trait.
//!
//! A driver knows the board it acts on and nothing of databases, HTTP handlers or machines. Every driver may be run
//! again for the same job, after a crash or beside a late twin, and must end in the same place however often it runs.
//! *Accepted is not happened*: an action succeeds by what was observed.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::machine::ActionName;

/// What a driver may know of the board that it acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Its name.
    pub name: String,
    /// The host name or address that it answers on.
    pub fqdn: String,
    /// Its network address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// Where its power is switched: `modbus://relay-3.lab:502/5?unit=1`.
    pub power_url: Option<String>,
    /// What answers when it is up: `tcp://host:port` or `http://host:port/path`; by default `tcp://FQDN:22`.
    pub poll_url: Option<String>,
}

/// One action to carry out.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which action.
    pub action: ActionName,
    /// For which board.
    pub board: Board,
    /// The boot config to point the board at, a file name in the boot tree's `configs` folder.
    pub boot_config: Option<String>,
    /// Settings from the machine definition.
    pub with: Map<String, Value>,
}

/// What was observed: it goes into history as it is.
pub type Evidence = Map<String, Value>;

/// An action that ended without what it is for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Failed {
    /// Why, in one sentence for the operator who reads the board's history.
    pub reason: String,
    /// What was observed.
    pub evidence: Evidence,
}

/// Carries out one kind of action.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The longest that a run may take where the definition does not say otherwise.
    fn limit(&self) -> Duration;

    /// Carries `job` out, or says why not.
    ///
    /// The caller bounds the time and may cancel; a cancelled driver stops at the next moment at which the board is
    /// left in a sane condition (never unpowered in the middle of a power cycle) and returns.
    ///
    /// # Errors
    ///
    /// [`Failed`] when what the action is for was not observed.
    async fn run(&self, job: &Job, cancel: &CancellationToken) -> Result<Evidence, Failed>;
}
