//! The figures, one file for those measured together.

mod day;
mod deadlines;
mod events;
mod failure;
mod handout;
mod idle;
mod memory;
mod models;
mod reading;
mod scale;
mod start;
mod takeover;

use crate::bench::Bench;
use crate::figure::Figure;
use crate::report::BenchReport;

/// Measures `figures`, and returns the names of those that failed; a failure does not stop the others.
pub(crate) async fn run(bench: &Bench, figures: &[Figure], report: &mut BenchReport) -> Vec<&'static str> {
    let mut failed = Vec::new();
    for figure in figures {
        let name = figure.name();
        if *figure == Figure::Http && figures.contains(&Figure::Events) {
            // Measured together with `events`, with the same comparisons.
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
            report.add_missing(name, lifeguard::cli::output::with_causes(&*error));
            failed.push(name);
        }
    }
    failed
}
