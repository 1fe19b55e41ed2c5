//! What farm to simulate.

use std::net::SocketAddr;
use std::sync::Arc;

use clock::Clock;

use super::fault_rates::FaultRates;
use super::timings::BoardTimings;

/// What farm to simulate.
#[derive(Clone)]
pub struct FarmOptions {
    /// How many boards.
    pub boards: u16,
    /// Where chance begins: the same seed gives the same faults.
    pub seed: u64,
    /// What goes wrong how often.
    pub faults: FaultRates,
    /// The farm's time.
    pub clock: Arc<dyn Clock>,
    /// The base URL of Lifeguard's HTTP server, `http://127.0.0.1:8080`.
    pub server: String,
    /// The address of the TFTP server.
    pub tftp: SocketAddr,
    /// How long the boards take.
    pub timings: BoardTimings,
    /// The image on the boards' cards at first; `None` for blank cards.
    pub card_image: Option<String>,
    /// Whether boards name the visit that they heard last in their next report.
    pub has_visit_in_reports: bool,
}

impl FarmOptions {
    /// Twenty-four boards without faults, `base-1` on their cards, that do not speak of visits.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, server: String, tftp: SocketAddr) -> Self {
        Self {
            boards: 24,
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
