//! What can be measured.

use clap::ValueEnum;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Figure {
    /// Durable events a second, by the engine in this process
    Events,
    /// Durable events a second, over HTTP from a second process
    Http,
    /// From the answer to an event until its action is begun
    Handout,
    /// How late deadlines fire, at several rates
    Lateness,
    /// Very many deadlines at one moment
    Storm,
    /// One of two processes is killed
    Takeover,
    /// From the start of the process to its first deadline
    Start,
    /// What a silent farm writes
    Idle,
    /// Lists, unchanged lists, changes, and clients that poll
    Reading,
    /// What an event costs among few boards and among many
    Scale,
    /// What boards and transitions take of memory and disk
    Memory,
    /// Predictions over HTTP, of a model hosted by ONNX Runtime
    Models,
    /// A day's load in ten minutes; only when it is asked for
    Day,
}

impl Figure {
    /// All of them, in the order in which they are measured.
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

    /// Its name on the command line and in the report.
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
