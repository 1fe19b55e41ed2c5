//! The figures, one file for those that are measured together.

mod day;
mod deadlines;
mod events;
mod handout;
mod idle;
mod memory;
mod models;
mod reading;
mod scale;
mod start;
mod takeover;

use std::error::Error;

use clap::ValueEnum;

use super::report::Report;
use super::sizes::Sizes;
use super::{Bench, Lives, load, process, stats, within};

/// What a figure that could not be measured says.
type Failure = Box<dyn Error>;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Figure {
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
    pub(super) const ALL: [Self; 13] = [
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
    fn name(self) -> &'static str {
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

/// Measures `figures`. One that fails does not keep the others from being measured; the names of those are returned.
pub(super) async fn run(bench: &Bench, figures: &[Figure], report: &mut Report) -> Vec<&'static str> {
    let mut failed = Vec::new();
    for figure in figures {
        let name = figure.name();
        if *figure == Figure::Http && figures.contains(&Figure::Events) {
            // Measured with the other: the contestants are the same.
            continue;
        }
        tracing::info!("{name}");
        let measured = match figure {
            Figure::Events | Figure::Http => events::run(bench, figures, report).await,
            Figure::Handout => handout::run(bench, report).await,
            Figure::Lateness => deadlines::lateness(bench, report).await,
            Figure::Storm => deadlines::storm(bench, report).await,
            Figure::Takeover => takeover::run(bench, report).await,
            Figure::Start => start::run(bench, report).await,
            Figure::Idle => idle::run(bench, report).await,
            Figure::Reading => reading::run(bench, report).await,
            Figure::Scale => scale::run(bench, report).await,
            Figure::Memory => memory::run(bench, report).await,
            Figure::Models => models::run(bench, report).await,
            Figure::Day => day::run(bench, report).await,
        };
        if let Err(error) = measured {
            report.miss(name, crate::cli::told(&*error));
            failed.push(name);
        }
    }
    failed
}
