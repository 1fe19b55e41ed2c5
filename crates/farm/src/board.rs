//! A simulated board and its observable state.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use super::fault_rates::FaultRates;
use super::network::BoardNetwork;
use super::timings::BoardTimings;
use clock::Clock;

/// The data for registering a board with Lifeguard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoardRegistration {
    /// Its name: `board-001`.
    pub name: String,
    /// Its address.
    pub fqdn: String,
    /// Its network address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// Its power URL.
    pub power_url: String,
    /// Its poll URL; it answers while its image runs.
    pub poll_url: String,
    /// Its hardware type, one of [`HARDWARE_TYPES`](super::HARDWARE_TYPES).
    pub hardware: String,
    /// Its environment.
    pub environment: String,
}

/// A board's current activity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BoardActivity {
    /// It has no power.
    #[default]
    Off,
    /// Its firmware starts and requests the boot config.
    Firmware,
    /// It fetches what the boot config names.
    Fetching,
    /// It boots its card or a live image.
    Booting,
    /// A live image runs.
    Live,
    /// The image on its card runs; it answers polls.
    Running,
    /// It is on and does nothing: it hangs, crashed, is dead, or has nothing to boot.
    Silent,
}

/// Observable state of a board. Counts are since the start of the farm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoardStatus {
    /// Its activity.
    pub activity: BoardActivity,
    /// The image on its card; `None` if the card is blank, also while an image is being written.
    pub card_image: Option<String>,
    /// How often it was switched on.
    pub power_ons: u64,
    /// How often it lost power.
    pub power_offs: u64,
    /// Number of boots, its own reboots included.
    pub boots: u64,
    /// Number of reports answered with 2xx.
    pub accepted_reports: u64,
    /// Number of other reports, which it repeated.
    pub rejected_reports: u64,
    /// The last report that was answered with a visit: the event and that visit.
    pub last_report: Option<(String, u64)>,
}

/// A simulated board.
pub struct SimulatedBoard {
    pub(super) registration: BoardRegistration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timings: BoardTimings,
    pub(super) has_visit_in_reports: bool,
    pub(super) network: BoardNetwork,
    /// Seed of its random numbers.
    pub(super) seed: u64,
    pub(super) faults: watch::Sender<FaultRates>,
    pub(super) is_dead: watch::Sender<bool>,
    pub(super) status: watch::Sender<BoardStatus>,
    /// Whether it has power while its coil is off.
    pub(super) is_inverted: bool,
}

impl SimulatedBoard {
    /// Returns the data for its registration.
    #[must_use]
    pub fn registration(&self) -> &BoardRegistration {
        &self.registration
    }

    /// Returns its current state.
    #[must_use]
    pub fn status(&self) -> BoardStatus {
        self.status.borrow().clone()
    }

    /// Returns a receiver of its state.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BoardStatus> {
        self.status.subscribe()
    }

    /// Makes the board dead at once, or alive again; then it boots if it is on.
    pub fn set_dead(&self, is_dead: bool) {
        self.is_dead.send_if_modified(|was_dead| std::mem::replace(was_dead, is_dead) != is_dead);
    }

    /// Whether it is dead.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        *self.is_dead.borrow()
    }

    /// Sets its fault rates from its next boot on. [`FaultRates::dead_share`] and [`FaultRates::relay_fault`] concern
    /// the farm and are ignored.
    pub fn set_faults(&self, faults: FaultRates) {
        self.faults.send_replace(faults);
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut BoardStatus)) {
        self.status.send_modify(change);
    }

    pub(super) fn set_activity(&self, activity: BoardActivity) {
        tracing::debug!(board = self.registration.name, ?activity, "simulated board changed activity");
        self.update(|status| status.activity = activity);
    }

    /// Does nothing while the power is on.
    pub(super) async fn be_silent(&self) -> Infallible {
        self.set_activity(BoardActivity::Silent);
        pending().await
    }
}
