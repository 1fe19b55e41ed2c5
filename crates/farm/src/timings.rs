//! How long simulated hardware takes.

use std::time::Duration;

/// How long each step takes, in farm time. Each time it is up to 30 % more or less, the retry too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardTimings {
    /// From power to the request for the boot config.
    pub firmware: Duration,
    /// From there to the running image, off the card.
    pub boot: Duration,
    /// From the fetched live image to the running one.
    pub live: Duration,
    /// To write an image on the card.
    pub install: Duration,
    /// To test the board.
    pub self_test: Duration,
    /// Until a report is tried again.
    pub retry_after: Duration,
    /// By how much a late board is late.
    pub late_by: Duration,
    /// How long an image runs that crashes.
    pub crash_after: Duration,
}

impl Default for BoardTimings {
    /// Those of a small board, but short: an image is installed in one minute. A late board is late by about the ten
    /// minutes that a reboot may take, so it comes at times just before and at times too late.
    fn default() -> Self {
        Self {
            firmware: Duration::from_secs(5),
            boot: Duration::from_secs(25),
            live: Duration::from_secs(15),
            install: Duration::from_mins(1),
            self_test: Duration::from_secs(30),
            retry_after: Duration::from_secs(5),
            late_by: Duration::from_mins(9),
            crash_after: Duration::from_mins(10),
        }
    }
}
