//! Memory of the server and disk space of Postgres used by boards and transitions.

use std::time::Duration;

use clock::{Clock, SystemClock, sleep_real_time};

use super::deadlines::arm_far;
use super::failure::FigureError;
use crate::bench::{Bench, BoardDefinition};
use crate::database::{ScratchDatabase, SeededBoards};
use crate::load::{self, LoadPlan};
use crate::numbers;
use crate::report::BenchReport;
use crate::report::{FigureTarget, ReportRow};
use crate::server::ServerProcess;
use crate::sizes::BenchSizes;

/// Number and interval of equal readings after which the memory of a server counts as steady.
const STEADY_READS: (u32, Duration) = (3, Duration::from_millis(300));

/// Measures the figure; disk space once, because it is counted, not timed.
pub(super) async fn run(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    let count = bench.sizes.armed;
    let mut many = bench.postgres.make(ScratchDatabase::One).await?;
    let empty = many.sizes().await?;
    arm_far(&mut many, count).await?;
    let filled = many.sizes().await?;
    let mut few = bench.postgres.make(ScratchDatabase::Two).await?;
    let (mut resident, mut without) = (Vec::new(), Vec::new());
    for round in 1..=bench.sizes.repeats {
        tracing::info!("memory: round {round} of {}", bench.sizes.repeats);
        let none = steady(bench.serve(ScratchDatabase::Two, BoardDefinition::Bench).await?).await?;
        let all = steady(bench.serve(ScratchDatabase::One, BoardDefinition::Bench).await?).await?;
        resident.push((all - none) / numbers::counted(count));
        without.push(none / 1e6);
    }
    let board = numbers::counted(filled.boards_bytes - empty.boards_bytes) / numbers::counted(count);
    let base = statistics::MeasurementSummary::of(&without).map_or(0.0, |without| without.median);
    let row = ReportRow::new(
        "memory",
        format!("resident memory of the server for each of {count} boards"),
        "bytes",
        resident,
    );
    let row = row.target(FigureTarget::AtMost(200.0)).beside("its rows in Postgres", vec![board]);
    report.add(row.note(format!("without boards the server has {base:.1} MB resident")));
    let instance = numbers::counted(filled.instances_bytes - empty.instances_bytes) / numbers::counted(count);
    let row = ReportRow::new("memory", "Postgres: a board, tables and indexes", "bytes", vec![board]);
    report.add(row.beside("of it the instance", vec![instance]));

    let at = SystemClock.now();
    few.fill(&SeededBoards { count: bench.sizes.boards, state: "A", at, ..SeededBoards::default() }).await?;
    few.settle().await?;
    let before = few.sizes().await?;
    let server = bench.serve(ScratchDatabase::Two, BoardDefinition::Bench).await?;
    let span = Duration::from_secs(bench.sizes.rate_s * 2);
    let boards = bench.sizes.boards.try_into()?;
    load::from_second_process(
        server.http,
        LoadPlan { in_flight: 64, boards, warm: BenchSizes::WARM_UP, span },
    )
    .await?;
    server.stop().await?;
    let after = few.sizes().await?;
    let rows = after.history_rows - before.history_rows;
    let transition =
        numbers::counted(after.history_bytes - before.history_bytes) / numbers::counted(rows.max(1));
    let row = ReportRow::new(
        "memory",
        "Postgres: a transition in history, with its indexes",
        "bytes",
        vec![transition],
    );
    report.add(row.beside("a board", vec![board]).note(format!("by {rows} transitions")));
    Ok(())
}

/// The steady resident memory of a server, in bytes; the server is stopped.
async fn steady(server: ServerProcess) -> Result<f64, FigureError> {
    let (times, step) = STEADY_READS;
    let (mut same, mut last) = (0, 0);
    while same < times {
        sleep_real_time(step).await;
        let resident = server.resident()?;
        same = if resident <= last + last / 100 { same + 1 } else { 0 };
        last = last.max(resident);
    }
    server.stop().await?;
    Ok(numbers::float(usize::try_from(last)?))
}
