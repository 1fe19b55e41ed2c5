//! What changes the world: power, boot configuration, probes. One file a driver, behind one trait.
//!
//! A driver knows the board it acts on and nothing of databases, HTTP handlers or machines. Every driver may be run
//! again for the same job, after a crash or beside a late twin, and must end in the same place however often it runs.
//! *Accepted is not happened*: an action succeeds by what was observed.

mod address;
mod boot;
mod connect;
mod finding;
mod lease;
mod mac;
mod power;
mod probe;
mod resolver;
mod trouble;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

pub use self::address::BadUrl;
pub use self::boot::{BadConfigName, Boot, Link, check_config_name};
pub use self::finding::{Finding, Findings};
pub use self::lease::Lease;
pub use self::mac::{BadMac, Mac, link_name, mac_in_name, mac_of_link};
pub use self::power::{MAX_OFF, MAX_REST, Operation, Power, PowerUrl, Readback};
pub use self::probe::{Poll, PollUrl, Settings};
pub use self::trouble::Trouble;

use crate::clock::Clock;
use crate::machine::ActionName;

/// Every action there is, by name.
pub const ACTIONS: &[&str] = &["clear-pxe", "poll", "power-cycle", "power-off", "power-on", "set-pxe"];

/// What makes up for `action` where it was begun and is not seen to end: a board must not stay without power.
#[must_use]
pub fn compensation_of(action: &ActionName) -> Option<ActionName> {
    if action.as_str() == "power-cycle" { ActionName::new("power-on").ok() } else { None }
}

/// Whether nothing is left to do of the compensation `rescue` once `action` has ended well at the same place.
#[must_use]
pub fn settles(action: &ActionName, rescue: &ActionName) -> bool {
    rescue.as_str() == "power-on" && matches!(action.as_str(), "power-cycle" | "power-off" | "power-on")
}

/// What a driver may know of the board that it acts on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// Its name.
    pub name: String,
    /// The host name or address that it answers on.
    pub fqdn: String,
    /// Its network address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// Where its power is switched: `modbus://relay-3.lab:502/5?unit=1`.
    pub power_url: Option<String>,
    /// What answers when it is up: `tcp://host:port` or `http://host:port/path`; it is not polled where there is none.
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
    /// How often it was begun before without being seen to end: this process or an earlier one died or lost its lease in
    /// the middle, or the action was suspended after it may have acted. 0 in its first run.
    pub attempts: u32,
    /// Until when the driver may write to devices: it asks immediately before each write.
    pub lease: Lease,
    /// Whether the board has ever answered a poll at its poll URL: if not, its silence there is no evidence about it.
    pub has_answered: bool,
    /// Where the driver tells what it finds while it runs.
    pub findings: Findings,
}

impl Job {
    /// The first run of `action` for `board`, by a process that may always act.
    #[must_use]
    pub fn new(action: ActionName, board: Board) -> Self {
        Self {
            action,
            board,
            boot_config: None,
            with: Map::new(),
            attempts: 0,
            lease: Lease::default(),
            has_answered: false,
            findings: Findings::default(),
        }
    }
}

/// What was observed: it goes into history as it is.
pub type Evidence = Map<String, Value>;

/// A run that ended without what its action is for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Unfinished {
    /// Why, in one sentence for the operator who reads the board's history.
    pub reason: String,
    /// What was observed.
    pub evidence: Evidence,
    /// What that means for the action.
    pub ending: Ending,
}

/// What a run means that ended without what its action is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The action failed: what was observed speaks of the board, its relay board or their configuration.
    Failed,
    /// The action failed by how the board is configured, and will until that is changed: no power URL, no such coil.
    Misconfigured,
    /// The action failed while power was to be given back, and the board may be without it until that succeeds.
    Dark(Trouble),
    /// Trouble of our own stood in the way, which says nothing about the board: the action waits until it is over.
    Suspended {
        /// What stands in the way.
        trouble: Trouble,
        /// Whether something was written to a device, or may have been: then this run counts among the job's attempts.
        has_acted: bool,
    },
}

impl Unfinished {
    /// The action failed.
    #[must_use]
    pub fn failed(reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { reason: reason.into(), evidence, ending: Ending::Failed }
    }

    /// Trouble of our own stood in the way before anything was written to a device.
    #[must_use]
    pub fn suspended(trouble: Trouble, reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { reason: reason.into(), evidence, ending: Ending::Suspended { trouble, has_acted: false } }
    }

    /// The same after something was written to a device, or may have been.
    #[must_use]
    pub fn suspended_midway(trouble: Trouble, reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { reason: reason.into(), evidence, ending: Ending::Suspended { trouble, has_acted: true } }
    }
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
    /// Before each write to a device it asks `job.lease` whether it may: without a lease it writes nothing, not even to
    /// give power back, for the device may be another process's by then.
    ///
    /// # Errors
    ///
    /// [`Unfinished`] when what the action is for was not observed: as failed, or as suspended where trouble of our own
    /// stood in the way.
    async fn run(&self, job: &Job, cancel: &CancellationToken) -> Result<Evidence, Unfinished>;

    /// What it means when a run does not end within its limit: trouble of our own, or nothing where the device is slow.
    fn late(&self) -> Option<Trouble> {
        None
    }
}

/// The drivers of all [`ACTIONS`].
pub struct Drivers {
    by_name: BTreeMap<&'static str, Arc<dyn Driver>>,
}

impl Drivers {
    /// Drivers whose times run on `clock` and whose boot links are in `boot_root`.
    #[must_use]
    pub fn new(clock: &Arc<dyn Clock>, boot_root: &Path) -> Self {
        let power = |operation| Arc::new(Power::new(Arc::clone(clock), operation));
        let boot = |link| Arc::new(Boot::new(boot_root.to_owned(), link));
        let by_name: BTreeMap<&'static str, Arc<dyn Driver>> = BTreeMap::from([
            ("clear-pxe", boot(Link::Clear) as Arc<dyn Driver>),
            ("set-pxe", boot(Link::Set)),
            ("poll", Arc::new(Poll::new(Arc::clone(clock)))),
            ("power-cycle", power(Operation::Cycle)),
            ("power-off", power(Operation::Off)),
            ("power-on", power(Operation::On)),
        ]);
        Self { by_name }
    }

    /// The driver that carries `action` out.
    #[must_use]
    pub fn get(&self, action: &ActionName) -> Option<Arc<dyn Driver>> {
        self.by_name.get(action.as_str()).cloned()
    }
}

/// What only one action may hold at a time while `action` runs for `board`: for power, its relay board.
///
/// A board whose power URL is missing or no good holds nothing: its power actions fail before they reach anything.
#[must_use]
pub fn place(action: &ActionName, board: &Board) -> Option<String> {
    let is_power = matches!(action.as_str(), "power-cycle" | "power-off" | "power-on");
    if is_power { power_place(board) } else { None }
}

/// What only one power action may hold at a time: the board's relay board.
#[must_use]
pub fn power_place(board: &Board) -> Option<String> {
    board.power_url.as_ref()?.parse().ok().map(|url: PowerUrl| url.place())
}

/// What switches the power of a board with this power URL and of no other, in one spelling.
#[must_use]
pub fn power_outlet(power_url: &str) -> Option<String> {
    power_url.parse().ok().map(|url: PowerUrl| url.outlet())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn every_action_has_a_driver_and_no_other_has() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let drivers = Drivers::new(&clock, Path::new("boot"));
        assert!(drivers.by_name.keys().eq(ACTIONS));
        let limit = |name: &str| drivers.get(&ActionName::new(name).unwrap()).map(|driver| driver.limit());
        assert_eq!(limit("power-on"), Some(Duration::from_secs(15)));
        assert_eq!(limit("power-off"), Some(Duration::from_secs(30)));
        assert_eq!(limit("power-cycle"), Some(Duration::from_secs(95)));
        assert_eq!(limit("set-pxe"), Some(Duration::from_secs(5)));
        assert_eq!(limit("poll"), Some(Duration::from_hours(24)));
        assert_eq!(limit("power"), None);
    }

    #[test]
    fn power_actions_hold_their_relay_board_and_others_hold_nothing() {
        let name = |name| ActionName::new(name).unwrap();
        let mut board = Board {
            name: "board-1".to_owned(),
            fqdn: "board-1.lab".to_owned(),
            mac: "aa:bb:cc:dd:ee:ff".to_owned(),
            power_url: Some("modbus://Relay-3.lab/5".to_owned()),
            poll_url: None,
        };
        for action in ["power-on", "power-off", "power-cycle"] {
            assert_eq!(place(&name(action), &board).as_deref(), Some("modbus://relay-3.lab:502"));
        }
        assert_eq!(place(&name("set-pxe"), &board), None);
        board.power_url = Some("modbus://".to_owned());
        assert_eq!(place(&name("power-on"), &board), None);
    }
}
