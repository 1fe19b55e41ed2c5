//! Sizes of the figures: for the full run, the quick run and the tests.

use std::time::Duration;

use serde::Serialize;

/// Sizes of all figures, as reported.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct BenchSizes {
    /// Name of the run.
    pub(crate) run: &'static str,
    /// Repeats of each timed figure; counted figures are measured once.
    pub(crate) repeats: usize,
    /// Repeats of the figures that watch deadlines: lateness, storm and takeover.
    pub(crate) watches: usize,
    /// Duration of a rate measurement, in seconds.
    pub(crate) rate_s: u64,
    /// Numbers of pgbench clients.
    pub(crate) pgbench_clients: &'static [usize],
    /// Number of boards, where a figure does not vary it.
    pub(crate) boards: i64,
    /// Reports of running images per round.
    pub(crate) image_reports: u64,
    /// Handed-out actions per round.
    pub(crate) handouts: u64,
    /// Number of deadlines armed far ahead.
    pub(crate) armed: i64,
    /// Rates of due deadlines per second.
    pub(crate) due_per_second: &'static [u32],
    /// Duration of each rate, in seconds.
    pub(crate) due_s: u32,
    /// Numbers of deadlines due at the same time.
    pub(crate) storms: &'static [i64],
    /// Due deadlines per second while one of two processes is killed.
    pub(crate) takeover_per_second: u32,
    /// Running actions at that time.
    pub(crate) takeover_actions: u64,
    /// Number of idle boards.
    pub(crate) idle_boards: i64,
    /// Duration of idling, in seconds.
    pub(crate) idle_s: u64,
    /// Duration of the measurement in Ready, in seconds; boards re-enter it every 300 s.
    pub(crate) ready_s: u64,
    /// Requests of each kind per round.
    pub(crate) reads: usize,
    /// Number of polling clients; each polls once per second.
    pub(crate) pollers: usize,
    /// Duration of polling, in seconds.
    pub(crate) polling_s: u64,
    /// Numbers of boards for which the cost of an event is compared.
    pub(crate) scales: &'static [i64],
    /// Real duration of the simulated day, in seconds.
    pub(crate) day_s: u64,
    /// Sample interval of the day, in seconds.
    pub(crate) day_sample_s: u64,
    /// Time for a server to start before deadlines fall due, in seconds.
    pub(crate) lead_s: u32,
}

impl BenchSizes {
    /// The sizes to which the targets apply.
    pub(crate) const FULL: Self = Self {
        run: "full",
        repeats: 5,
        watches: 5,
        rate_s: 3,
        pgbench_clients: &[1, 4, 16, 64],
        boards: 10_000,
        image_reports: 10_000,
        handouts: 500,
        armed: 1_000_000,
        due_per_second: &[100, 1_000, 5_000],
        due_s: 8,
        storms: &[10_000, 100_000],
        takeover_per_second: 1_000,
        takeover_actions: 200,
        idle_boards: 100_000,
        idle_s: 600,
        ready_s: 300,
        reads: 100,
        pollers: 100,
        polling_s: 10,
        scales: &[1_000, 100_000, 1_000_000],
        day_s: 600,
        day_sample_s: 30,
        lead_s: 10,
    };

    /// Sizes for a run of under three minutes.
    pub(crate) const QUICK: Self = Self {
        run: "quick",
        repeats: 2,
        watches: 1,
        rate_s: 1,
        pgbench_clients: &[1, 16, 64],
        handouts: 50,
        armed: 50_000,
        due_s: 2,
        storms: &[10_000],
        takeover_actions: 50,
        idle_boards: 20_000,
        idle_s: 20,
        ready_s: 5,
        reads: 10,
        polling_s: 2,
        scales: &[1_000, 100_000],
        day_s: 60,
        day_sample_s: 5,
        lead_s: 2,
        ..Self::FULL
    };

    /// Sizes for tests, which ignore the values of the figures.
    pub(crate) const TINY: Self = Self {
        run: "tiny",
        repeats: 1,
        pgbench_clients: &[1, 2],
        boards: 500,
        image_reports: 100,
        handouts: 3,
        armed: 1_000,
        due_per_second: &[20, 50],
        due_s: 1,
        storms: &[50],
        takeover_per_second: 20,
        takeover_actions: 5,
        idle_boards: 500,
        idle_s: 2,
        ready_s: 2,
        reads: 3,
        pollers: 3,
        polling_s: 1,
        scales: &[100, 1_000],
        day_s: 4,
        day_sample_s: 1,
        lead_s: 2,
        ..Self::QUICK
    };

    /// Warm-up time before events are counted.
    pub(crate) const WARM_UP: Duration = Duration::from_millis(300);
}
