//! Time from the answer to an event to the start of its action, on an idle machine.

use std::time::{Duration, Instant};

use clock::{Clock, SystemClock, sleep_real_time};

use super::events::PgbenchBaseline;
use super::failure::FigureError;
use crate::bench::{Bench, BoardDefinition};
use crate::client::BenchConnection;
use crate::database::{ScratchDatabase, SeededBoards};
use crate::listener::PollListener;
use crate::load::report as report_event;
use crate::numbers;
use crate::postgres::PGBENCH_SCRIPT_NAMES;
use crate::report::BenchReport;
use crate::report::{FigureTarget, ReportRow};
use crate::timeouts::within;

/// Maximum time until an action begins.
const ACTION_START_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause before the next event, so that the machine is idle.
const EVENT_PAUSE: Duration = Duration::from_millis(20);

/// Measures the figure.
pub(super) async fn run(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    let mut limit = PgbenchBaseline::prepare(bench, &PGBENCH_SCRIPT_NAMES[2..], &[1]).await?;
    let mut listener = PollListener::bind().await?;
    let mut database = bench.postgres.make(ScratchDatabase::One).await?;
    let (rounds, handouts) = (u64::try_from(bench.sizes.repeats)?, bench.sizes.handouts);
    let (count, at) = (i64::try_from(rounds * handouts)?, SystemClock.now());
    let poll_port = Some(listener.port);
    database.fill(&SeededBoards { count, state: "A", poll_port, at, ..SeededBoards::default() }).await?;
    database.settle().await?;
    let server = bench.serve(ScratchDatabase::One, BoardDefinition::Bench).await?;
    let mut connection = BenchConnection::open(server.http).await?;
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        limit.round(bench).await?;
        let mut waits = Vec::new();
        for board in round * handouts..(round + 1) * handouts {
            sleep_real_time(EVENT_PAUSE).await;
            report_event(&mut connection, board, "poll").await?;
            let answered_at = Instant::now();
            let begun = within(ACTION_START_TIMEOUT, listener.next_of(board)).await;
            let begun_at = begun.ok_or("an action did not begin within 20 s")??;
            // The action may begin before the client has read the answer.
            waits.push(numbers::millis(begun_at.saturating_duration_since(answered_at)));
        }
        p50.extend(statistics::percentile(&waits, 50));
        p99.extend(statistics::percentile(&waits, 99));
    }
    server.stop().await?;
    let (comparison, latencies) = limit.latency();
    for (what, values) in [("p50", p50), ("p99", p99)] {
        let row = ReportRow::new(
            "handout",
            format!("event answered → its poll reaches the board, {what}"),
            "ms",
            values,
        );
        let row = row.beside(comparison.clone(), latencies.clone());
        report.add(if what == "p99" { row.target(FigureTarget::AtMost(10.0)) } else { row });
    }
    Ok(())
}
