//! Timings of simulated hardware.

use std::time::Duration;

/// Duration of each step, in farm time. Each time it varies by up to 30 %, including the retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardTimings {
    /// From power-on to the request for the boot config.
    pub firmware: Duration,
    /// From there to the running image on the card.
    pub boot: Duration,
    /// From the fetched live image to the running one.
    pub live: Duration,
    /// To write an image on the card.
    pub install: Duration,
    /// To test the board.
    pub self_test: Duration,
    /// Delay before a report is repeated.
    pub retry_after: Duration,
    /// Delay of a late board's first report.
    pub late_by: Duration,
    /// How long a crashing image runs.
    pub crash_after: Duration,
}

impl Default for BoardTimings {
    /// Timings of a small board, shortened: an image is installed in one minute. A late board is late by about the ten
    /// minutes that a reboot may take, so it is sometimes in time and sometimes too late.
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
