//! What farm to simulate.

use std::net::SocketAddr;
use std::sync::Arc;

use clock::Clock;

use super::faults::Faults;
use super::times::Times;

/// What farm to simulate.
#[derive(Clone)]
pub struct FarmOptions {
    /// How many boards.
    pub boards: u16,
    /// Where chance begins: the same seed gives the same faults.
    pub seed: u64,
    /// What goes wrong how often.
    pub faults: Faults,
    /// The farm's time.
    pub clock: Arc<dyn Clock>,
    /// The base URL of Lifeguard's HTTP server, `http://127.0.0.1:8080`.
    pub server: String,
    /// The address of the TFTP server.
    pub tftp: SocketAddr,
    /// How long the boards take.
    pub times: Times,
    /// The image on the boards' cards at first; `None` for blank cards.
    pub card: Option<String>,
    /// Whether boards name the visit that they heard last in their next report.
    pub speaks_visits: bool,
}

impl FarmOptions {
    /// Twenty-four boards without faults, `base-1` on their cards, that do not speak of visits.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, server: String, tftp: SocketAddr) -> Self {
        Self {
            boards: 24,
            seed: 1,
            faults: Faults::NONE,
            clock,
            server,
            tftp,
            times: Times::default(),
            card: Some("base-1".to_owned()),
            speaks_visits: false,
        }
    }
}
