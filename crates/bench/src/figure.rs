//! The figures of the bench.

use clap::ValueEnum;

/// A figure of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Figure {
    /// Durable events per second, by the engine in this process
    Events,
    /// Durable events per second, over HTTP from a second process
    Http,
    /// Time from the answer to an event to the start of its action
    Handout,
    /// Lateness of deadlines at several rates
    Lateness,
    /// Many deadlines due at the same time
    Storm,
    /// Takeover after one of two processes is killed
    Takeover,
    /// Time from the start of a process to its first deadline
    Start,
    /// WAL written by an idle farm
    Idle,
    /// Lists, unchanged lists, changes, and polling clients
    Reading,
    /// Cost of an event among few boards and among many
    Scale,
    /// Memory and disk used by boards and transitions
    Memory,
    /// Predictions over HTTP of a model hosted by ONNX Runtime
    Models,
    /// The load of a day in ten minutes; only with --only
    Day,
}

impl Figure {
    /// All figures, in the order of measurement.
    pub(crate) const ALL: [Self; 13] = [
        Self::Events,
        Self::Http,
        Self::Handout,
        Self::Lateness,
        Self::Storm,
        Self::Takeover,
        Self::Start,
        Self::Idle,
        Self::Reading,
        Self::Scale,
        Self::Memory,
        Self::Models,
        Self::Day,
    ];

    /// The name on the command line and in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Http => "http",
            Self::Handout => "handout",
            Self::Lateness => "lateness",
            Self::Storm => "storm",
            Self::Takeover => "takeover",
            Self::Start => "start",
            Self::Idle => "idle",
            Self::Reading => "reading",
            Self::Scale => "scale",
            Self::Memory => "memory",
            Self::Models => "models",
            Self::Day => "day",
        }
    }
}
