//! What changes the world: power, boot configuration, probes. One file a driver, behind one trait.
//!
//! A driver knows the board it acts on and nothing of databases, HTTP handlers or machines. Every driver may be run
//! again for the same job, after a crash or beside a late twin, and must end in the same place however often it runs.
//! *Accepted is not happened*: an action succeeds by what was observed.

mod address;
mod boot;
mod mac;
mod power;
mod probe;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

pub use self::address::BadUrl;
pub use self::boot::{BadConfigName, Boot, Link, check_config_name};
pub use self::mac::{BadMac, Mac, link_name, mac_of_link};
pub use self::power::{MAX_OFF, MAX_REST, Operation, Power, PowerUrl};
pub use self::probe::{Poll, PollUrl, Settings};

use crate::clock::Clock;
use crate::machine::ActionName;

/// Every action there is, by name.
pub const ACTIONS: &[&str] = &["clear-pxe", "poll", "power-cycle", "power-off", "power-on", "set-pxe"];

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
        assert_eq!(limit("power-on"), Some(Duration::from_secs(35)));
        assert_eq!(limit("power-cycle"), Some(Duration::from_secs(85)));
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
