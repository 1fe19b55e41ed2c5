//! How large the figures are: the full run, the quick one, and one for the tests.

use std::time::Duration;

use serde::Serialize;

/// Sizes of all figures; they are a part of the report.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct BenchSizes {
    /// Which run this is.
    pub(crate) run: &'static str,
    /// How often each figure is measured; what is counted and not timed is measured once.
    pub(crate) repeats: usize,
    /// The same of those that watch deadlines fall due for a while: lateness, storm and takeover.
    pub(crate) watches: usize,
    /// How long a rate is measured, in seconds.
    pub(crate) rate_s: u64,
    /// Clients of pgbench.
    pub(crate) pgbench_clients: &'static [usize],
    /// How many boards there are where their number is not the point.
    pub(crate) boards: i64,
    /// How many boards report that their image runs in a round.
    pub(crate) image_reports: u64,
    /// How many actions are handed out in a round.
    pub(crate) handouts: u64,
    /// How many deadlines are armed far ahead.
    pub(crate) armed: i64,
    /// How many deadlines fall due a second, one rate after the other.
    pub(crate) due_per_second: &'static [u32],
    /// For how long each rate goes on, in seconds.
    pub(crate) due_s: u32,
    /// How many deadlines fall due at one moment.
    pub(crate) storms: &'static [i64],
    /// How many deadlines fall due a second while one of two processes is killed.
    pub(crate) takeover_per_second: u32,
    /// How many actions run then.
    pub(crate) takeover_actions: u64,
    /// How many idle boards there are.
    pub(crate) idle_boards: i64,
    /// How long they idle, in seconds.
    pub(crate) idle_s: u64,
    /// How long boards are in Ready, in seconds; each is entered again every 300 s.
    pub(crate) ready_s: u64,
    /// How often each way of reading is tried in a round.
    pub(crate) reads: usize,
    /// How many clients poll, each once a second.
    pub(crate) pollers: usize,
    /// For how long, in seconds.
    pub(crate) polling_s: u64,
    /// The numbers of boards at which an event's cost is compared.
    pub(crate) scales: &'static [i64],
    /// How long the day lasts, in seconds.
    pub(crate) day_s: u64,
    /// How often it is looked at, in seconds.
    pub(crate) day_sample_s: u64,
    /// How much time a server has to come up before deadlines fall due, in seconds.
    pub(crate) lead_s: u32,
}

impl BenchSizes {
    /// The sizes that the targets speak of.
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

    /// All of it in under three minutes.
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

    /// For the tests, which look at whether there are figures and not at what they are.
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

    /// How long events are sent before they count.
    pub(crate) const WARM_UP: Duration = Duration::from_millis(300);
}
