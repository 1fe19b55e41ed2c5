//! A simulated board, and what can be seen of it.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use super::fault_rates::FaultRates;
use super::network::BoardNetwork;
use super::timings::BoardTimings;
use clock::Clock;

/// What Lifeguard is told of a board when it is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoardRegistration {
    /// Its name: `board-001`.
    pub name: String,
    /// Its address.
    pub fqdn: String,
    /// Its network address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// Where its power is switched.
    pub power_url: String,
    /// What answers when its image runs.
    pub poll_url: String,
    /// Its hardware type, one of [`HARDWARE_TYPES`](super::HARDWARE_TYPES).
    pub hardware: String,
    /// What it is used for.
    pub environment: String,
}

/// What a board does at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BoardActivity {
    /// It has no power.
    #[default]
    Off,
    /// Its firmware starts, and asks for the boot config.
    Firmware,
    /// It fetches what the boot config names.
    Fetching,
    /// It boots its card or a live image.
    Booting,
    /// A live image runs.
    Live,
    /// The image on its card runs; it answers polls.
    Running,
    /// It has power and does nothing: it hangs, crashed, is dead, or has nothing to boot.
    Silent,
}

/// What can be seen of a board from outside. Counts are since the start of the farm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoardStatus {
    /// What it does.
    pub activity: BoardActivity,
    /// The image on its card; `None` where the card is blank, as it is while an image is being written.
    pub card_image: Option<String>,
    /// How often it was given power.
    pub power_ons: u64,
    /// How often it lost power.
    pub power_offs: u64,
    /// How often it began to boot, its own reboots included.
    pub boots: u64,
    /// How many of its reports were answered with 2xx.
    pub accepted_reports: u64,
    /// How many of its reports were not; it repeated them.
    pub rejected_reports: u64,
    /// The last report that was answered with a visit: the event and that visit.
    pub last_report: Option<(String, u64)>,
}

/// A board without hardware.
pub struct SimulatedBoard {
    pub(super) registration: BoardRegistration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timings: BoardTimings,
    pub(super) has_visit_in_reports: bool,
    pub(super) network: BoardNetwork,
    /// Where its chance begins.
    pub(super) seed: u64,
    pub(super) faults: watch::Sender<FaultRates>,
    pub(super) is_dead: watch::Sender<bool>,
    pub(super) status: watch::Sender<BoardStatus>,
    /// Whether it has power while its coil is off.
    pub(super) is_inverted: bool,
}

impl SimulatedBoard {
    /// What one registers of it.
    #[must_use]
    pub fn registration(&self) -> &BoardRegistration {
        &self.registration
    }

    /// What it does and did.
    #[must_use]
    pub fn status(&self) -> BoardStatus {
        self.status.borrow().clone()
    }

    /// The same, for who waits until something is so.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BoardStatus> {
        self.status.subscribe()
    }

    /// Makes the board dead at once and until it is told otherwise, or alive again: it boots if it has power.
    pub fn set_dead(&self, is_dead: bool) {
        self.is_dead.send_if_modified(|was_dead| std::mem::replace(was_dead, is_dead) != is_dead);
    }

    /// Whether it is dead.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        *self.is_dead.borrow()
    }

    /// Gives it these faults, from its next boot on. [`FaultRates::dead_share`] and [`FaultRates::relay_fault`] are the farm's and ignored.
    pub fn set_faults(&self, faults: FaultRates) {
        self.faults.send_replace(faults);
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut BoardStatus)) {
        self.status.send_modify(change);
    }

    pub(super) fn set_activity(&self, activity: BoardActivity) {
        tracing::debug!(board = self.registration.name, ?activity, "a simulated board goes on");
        self.update(|status| status.activity = activity);
    }

    /// Does nothing, with the power on.
    pub(super) async fn be_silent(&self) -> Infallible {
        self.set_activity(BoardActivity::Silent);
        pending().await
    }
}
