//! WAL written by an idle farm: nothing for resting boards, and only the re-entries of boards in Ready.

use std::time::Duration;

use clock::{Clock, SystemClock, sleep_real_time};

use super::failure::FigureError;
use crate::bench::{Bench, BoardDefinition};
use crate::database::{BenchDatabase, ScratchDatabase, SeededBoards, WalUse};
use crate::listener::PollListener;
use crate::numbers;
use crate::postgres::{PGBENCH_BOARDS, PGBENCH_SCRIPT_NAMES};
use crate::report::BenchReport;
use crate::report::{FigureTarget, ReportRow};

/// Tables with rows of boards.
const BOARD_TABLES: [&str; 5] = ["instance", "device", "history", "action", "change"];
/// Time for a server to settle after its start.
const SETTLE_TIME: Duration = Duration::from_secs(1);
/// Interval at which boards re-enter Ready by `states/board.yaml`, in seconds.
const READY_REENTRY_S: f64 = 300.0;
/// Maximum duration of the measurement without boards, in seconds; its rate is constant.
const MAX_EMPTY_FARM_S: u64 = 60;

/// Measures the figure once: bytes are counted, not timed.
pub(super) async fn run(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    at_rest(bench, report).await?;
    let beside = pgbench_bytes(bench).await?;
    let row = in_ready(bench).await?;
    report.add(
        row.target(FigureTarget::AtMost(250.0)).beside("pgbench, one-statement, 1 client", vec![beside]),
    );
    Ok(())
}

async fn at_rest(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    let (count, idle_s) = (bench.sizes.idle_boards, bench.sizes.idle_s);
    tracing::info!("idle: {count} boards at rest for {idle_s} s");
    let mut database = bench.postgres.make(ScratchDatabase::One).await?;
    let empty_s = MAX_EMPTY_FARM_S.min(idle_s.div_ceil(4));
    let server = bench.serve(ScratchDatabase::One, BoardDefinition::Board).await?;
    let empty = measure_wal(&mut database, empty_s).await?;
    server.stop().await?;
    let at = SystemClock.now();
    database.fill(&SeededBoards { count, state: "New", at, ..SeededBoards::default() }).await?;
    database.settle().await?;
    let server = bench.serve(ScratchDatabase::One, BoardDefinition::Board).await?;
    let written = measure_wal(&mut database, idle_s).await?;
    server.stop().await?;
    let length = |seconds: u64| numbers::float(usize::try_from(seconds).unwrap_or(usize::MAX));
    let scale = length(idle_s) / length(empty_s);
    let boards = |wal: &WalUse| numbers::counted(wal.of(&BOARD_TABLES));
    let what = format!("WAL for {count} boards in New in {idle_s} s");
    let row = ReportRow::new("idle", what, "bytes", vec![boards(&written)]).target(FigureTarget::AtMost(0.0));
    report.add(row.beside("without boards", vec![boards(&empty) * scale]).note(describe_wal(&written)));
    let what = format!("all WAL with {count} boards in New in {idle_s} s");
    let row = ReportRow::new("idle", what, "bytes", vec![numbers::counted(written.bytes)]);
    report.add(row.beside("without boards", vec![numbers::counted(empty.bytes) * scale]));
    Ok(())
}

/// Measures boards in Ready that are polled and past their first re-entry.
async fn in_ready(bench: &Bench) -> Result<ReportRow, FigureError> {
    let (count, ready_s) = (bench.sizes.idle_boards, bench.sizes.ready_s);
    tracing::info!("idle: {count} boards in Ready for {ready_s} s");
    let listener = PollListener::bind().await?;
    let mut database = bench.postgres.make(ScratchDatabase::One).await?;
    let at = SystemClock.now();
    let due = Some((at, numbers::counted(count) / READY_REENTRY_S));
    let (poll_port, action) = (Some(listener.port), Some("poll"));
    let ready = SeededBoards {
        count,
        state: "Ready",
        due,
        at_full_seconds: true,
        action,
        poll_port,
        at,
        ..SeededBoards::default()
    };
    database.fill(&ready).await?;
    database.settle().await?;
    let server = bench.serve(ScratchDatabase::One, BoardDefinition::Board).await?;
    while database.count_waiting().await? > 0 || database.count_armed(SystemClock.now()).await? > 0 {
        sleep_real_time(SETTLE_TIME).await;
    }
    let from = SystemClock.now();
    let written = measure_wal(&mut database, ready_s).await?;
    let to = SystemClock.now();
    server.stop().await?;
    let entered = database.count_moves(from, to).await?;
    if entered == 0 {
        return Err(format!("no board entered Ready again in {ready_s} s").into());
    }
    // Commits count; writes to Postgres's catalogs are shown in the note.
    let of_boards = written.of(&BOARD_TABLES) + written.of(&["commits"]);
    let each = numbers::counted(of_boards) / numbers::counted(entered);
    let row = ReportRow::new("idle", "WAL for each re-entry of Ready, whose poll runs", "bytes", vec![each]);
    Ok(row.note(format!(
        "{entered} of {count} boards entered it again in {ready_s} s; {}",
        describe_wal(&written)
    )))
}

/// Measures the WAL written in `seconds` seconds.
async fn measure_wal(database: &mut BenchDatabase, seconds: u64) -> Result<WalUse, FigureError> {
    sleep_real_time(SETTLE_TIME).await;
    let begin = database.begin_wal().await?;
    sleep_real_time(Duration::from_secs(seconds)).await;
    Ok(database.end_wal(begin).await?)
}

/// WAL bytes of a pgbench transaction.
async fn pgbench_bytes(bench: &Bench) -> Result<f64, FigureError> {
    let mut database = bench.postgres.make(ScratchDatabase::Pgbench).await?;
    let (count, at) = (PGBENCH_BOARDS, SystemClock.now());
    database.fill(&SeededBoards { first: 1, count, state: "A", at, ..SeededBoards::default() }).await?;
    database.settle().await?;
    let before = (database.wal_position().await?, database.sizes().await?.history_rows);
    bench.postgres.pgbench(PGBENCH_SCRIPT_NAMES[2], 1, bench.sizes.rate_s).await?;
    let after = (database.wal_position().await?, database.sizes().await?.history_rows);
    Ok(numbers::counted(after.0 - before.0) / numbers::counted(after.1 - before.1))
}

/// The WAL by cause as text.
fn describe_wal(wal: &WalUse) -> String {
    let parts = wal.by_relation.iter().map(|(name, bytes)| format!("{name} {bytes}"));
    let parts: Vec<String> = parts.collect();
    format!("of {} bytes: {}; full-page images {}", wal.bytes, parts.join(", "), wal.page_images)
}
