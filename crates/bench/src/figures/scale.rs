//! What an event costs among few boards and among many: processor time of the server and of Postgres.

use std::time::Duration;

use clock::{Clock, SystemClock};

use super::failure::Failure;
use crate::bench::{Bench, Lives};
use crate::database::{Boards, Scratch};
use crate::load::{self, Plan};
use crate::process;
use crate::report::Report;
use crate::report::{Row, Target};
use crate::sizes::Sizes;
use crate::stats;

/// How many events are in flight.
const IN_FLIGHT: usize = 64;
/// Where each number of boards is.
const SCRATCHES: [Scratch; 3] = [Scratch::One, Scratch::Two, Scratch::Three];

/// What an event costs in one round, in microseconds, and how many there were.
#[derive(Debug, Clone, Copy)]
struct Cost {
    server: f64,
    postgres: f64,
    events: usize,
}

/// Measures.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<(), Failure> {
    let contestants: Vec<(i64, Scratch)> = bench.sizes.scales.iter().copied().zip(SCRATCHES).collect();
    for (count, scratch) in &contestants {
        let mut database = bench.postgres.make(*scratch).await?;
        let (count, at) = (*count, SystemClock.now());
        database.fill(&Boards { count, state: "A", at, ..Boards::default() }).await?;
        database.settle().await?;
    }
    let mut costs = vec![Vec::new(); contestants.len()];
    for round in 1..=bench.sizes.repeats {
        tracing::info!("scale: round {round} of {}", bench.sizes.repeats);
        for ((count, scratch), costs) in contestants.iter().zip(&mut costs) {
            costs.push(cost(bench, *scratch, *count).await?);
        }
    }
    let sums = |costs: &[Cost]| costs.iter().map(|cost| cost.server + cost.postgres).collect::<Vec<f64>>();
    let least = costs.first().map(|costs| sums(costs)).unwrap_or_default();
    for (index, ((count, _), costs)) in contestants.iter().zip(&costs).enumerate() {
        let what = format!("processor time of an event among {count} boards, {IN_FLIGHT} in flight");
        let told: Vec<String> = costs
            .iter()
            .map(|cost| format!("{:.0} + {:.0} of {} events", cost.server, cost.postgres, cost.events))
            .collect();
        let row = Row::new("scale", what, "µs", sums(costs));
        let mut row = row.note(format!("server + Postgres, round by round: {}", told.join(", ")));
        if index > 0 {
            row = row.beside(format!("among {}", bench.sizes.scales[0]), least.clone());
            row = row.target(Target::RatioAtMost(1.3));
        }
        report.add(row);
    }
    Ok(())
}

async fn cost(bench: &Bench, scratch: Scratch, count: i64) -> Result<Cost, Failure> {
    let server = bench.serve(scratch, Lives::Bench).await?;
    let postgres = || process::cpu_with_children(bench.postgres.pid);
    let span = Duration::from_secs(bench.sizes.rate_s);
    let warm = Plan { in_flight: IN_FLIGHT, boards: count.try_into()?, warm: Sizes::WARM, span: Sizes::WARM };
    // Connections and what Postgres prepares for them are no part of an event's cost.
    load::from_second_process(server.http, warm).await?;
    let before = (server.cpu()?, postgres()?);
    // All that is sent counts, as the processor time of all of it does.
    let load = load::from_second_process(server.http, Plan { warm: Duration::ZERO, span, ..warm }).await?;
    let of_server = server.cpu()?.saturating_sub(before.0);
    let of_postgres = postgres()?.saturating_sub(before.1);
    server.stop().await?;
    let each = |span: Duration| stats::millis(span) * 1e3 / stats::float(load.events.max(1));
    Ok(Cost { server: each(of_server), postgres: each(of_postgres), events: load.events })
}
