//! Processor time of an event among few boards and among many, of the server and of Postgres.

use std::time::Duration;

use clock::{Clock, SystemClock};

use super::failure::FigureError;
use crate::bench::{Bench, BoardDefinition};
use crate::database::{ScratchDatabase, SeededBoards};
use crate::load::{self, LoadPlan};
use crate::numbers;
use crate::process;
use crate::report::BenchReport;
use crate::report::{FigureTarget, ReportRow};
use crate::sizes::BenchSizes;

/// Number of events in flight.
const EVENTS_IN_FLIGHT: usize = 64;
/// The databases for the numbers of boards.
const SCALE_DATABASES: [ScratchDatabase; 3] =
    [ScratchDatabase::One, ScratchDatabase::Two, ScratchDatabase::Three];

/// Processor time of an event in microseconds, and the number of events, in one round.
#[derive(Debug, Clone, Copy)]
struct EventCost {
    server: f64,
    postgres: f64,
    events: usize,
}

/// Measures the figure.
pub(super) async fn run(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    let cases: Vec<(i64, ScratchDatabase)> =
        bench.sizes.scales.iter().copied().zip(SCALE_DATABASES).collect();
    for (count, scratch) in &cases {
        let mut database = bench.postgres.make(*scratch).await?;
        let (count, at) = (*count, SystemClock.now());
        database.fill(&SeededBoards { count, state: "A", at, ..SeededBoards::default() }).await?;
        database.settle().await?;
    }
    let mut costs = vec![Vec::new(); cases.len()];
    for round in 1..=bench.sizes.repeats {
        tracing::info!("scale: round {round} of {}", bench.sizes.repeats);
        for ((count, scratch), costs) in cases.iter().zip(&mut costs) {
            costs.push(cost(bench, *scratch, *count).await?);
        }
    }
    let sums =
        |costs: &[EventCost]| costs.iter().map(|cost| cost.server + cost.postgres).collect::<Vec<f64>>();
    let smallest = costs.first().map(|costs| sums(costs)).unwrap_or_default();
    for (index, ((count, _), costs)) in cases.iter().zip(&costs).enumerate() {
        let what = format!("processor time of an event among {count} boards, {EVENTS_IN_FLIGHT} in flight");
        let parts: Vec<String> = costs
            .iter()
            .map(|cost| format!("{:.0} + {:.0} of {} events", cost.server, cost.postgres, cost.events))
            .collect();
        let row = ReportRow::new("scale", what, "µs", sums(costs));
        let mut row = row.note(format!("server + Postgres, round by round: {}", parts.join(", ")));
        if index > 0 {
            row = row.beside(format!("among {}", bench.sizes.scales[0]), smallest.clone());
            row = row.target(FigureTarget::RatioAtMost(1.3));
        }
        report.add(row);
    }
    Ok(())
}

async fn cost(bench: &Bench, scratch: ScratchDatabase, count: i64) -> Result<EventCost, FigureError> {
    let server = bench.serve(scratch, BoardDefinition::Bench).await?;
    let postgres = || process::cpu_with_children(bench.postgres.pid);
    let span = Duration::from_secs(bench.sizes.rate_s);
    let warm = LoadPlan {
        in_flight: EVENTS_IN_FLIGHT,
        boards: count.try_into()?,
        warm: BenchSizes::WARM_UP,
        span: BenchSizes::WARM_UP,
    };
    // Warms up connections and prepared statements, which are not part of the cost of an event.
    load::from_second_process(server.http, warm).await?;
    let before = (server.cpu()?, postgres()?);
    // Without warm-up: all events count, like the processor time of all.
    let load =
        load::from_second_process(server.http, LoadPlan { warm: Duration::ZERO, span, ..warm }).await?;
    let of_server = server.cpu()?.saturating_sub(before.0);
    let of_postgres = postgres()?.saturating_sub(before.1);
    server.stop().await?;
    let each = |span: Duration| numbers::millis(span) * 1e3 / numbers::float(load.events.max(1));
    Ok(EventCost { server: each(of_server), postgres: each(of_postgres), events: load.events })
}
