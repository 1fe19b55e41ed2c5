//! Options of a simulated farm.

use std::net::SocketAddr;
use std::sync::Arc;

use clock::Clock;

use super::fault_rates::FaultRates;
use super::timings::BoardTimings;

/// Options of a simulated farm.
#[derive(Clone)]
pub struct FarmOptions {
    /// Number of boards.
    pub boards: u16,
    /// Number of boards at each relay board.
    pub boards_per_relay: u16,
    /// Seed of the random numbers: the same seed gives the same faults.
    pub seed: u64,
    /// Fault rates.
    pub faults: FaultRates,
    /// The farm's clock.
    pub clock: Arc<dyn Clock>,
    /// The base URL of Lifeguard's HTTP server, `http://127.0.0.1:8080`.
    pub server: String,
    /// The address of the TFTP server.
    pub tftp: SocketAddr,
    /// Timings of the boards.
    pub timings: BoardTimings,
    /// The initial image on the boards' cards; `None` for blank cards.
    pub card_image: Option<String>,
    /// Whether boards send the last received visit in their next report.
    pub has_visit_in_reports: bool,
}

impl FarmOptions {
    /// Creates options for 24 boards, 8 at each relay board, without faults, with `base-1` on their cards, without visits in reports.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, server: String, tftp: SocketAddr) -> Self {
        Self {
            boards: 24,
            boards_per_relay: 8,
            seed: 1,
            faults: FaultRates::NONE,
            clock,
            server,
            tftp,
            timings: BoardTimings::default(),
            card_image: Some("base-1".to_owned()),
            has_visit_in_reports: false,
        }
    }
}
