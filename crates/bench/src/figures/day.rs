//! The load of a day in ten minutes: whether performance stays the same.
//!
//! The server runs in this process, with a clock at 144 times real time; each board re-enters Ready every 300 s of that
//! clock, and is rebooted four times a day.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::{Clock, ScaledClock, SystemClock, sleep_real_time};
use lifeguard::cli::serve::LifeguardServer;
use lifeguard::engine::Engine;
use machine::EventSource;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::failure::FigureError;
use crate::bench::{Bench, BoardDefinition};
use crate::database::{BenchDatabase, ScratchDatabase, SeededBoards, TableSizes};
use crate::load::submit;
use crate::numbers;
use crate::process;
use crate::report::BenchReport;
use crate::report::ReportRow;

/// Speed of the clock: a day in ten minutes.
const CLOCK_SPEED: f64 = 144.0;
/// Interval at which boards re-enter Ready, in seconds of the clock.
const READY_REENTRY_S: f64 = 300.0;
/// Duration of a reboot in real time: a minute of the clock.
const REBOOT_TIME: Duration = Duration::from_millis(417);
/// Reboots per real second, for four reboots of each of ten thousand boards a day.
const REBOOTS_PER_SECOND: u32 = 67;

/// A sample.
#[derive(Debug, Clone, Copy)]
struct DaySample {
    at: Instant,
    wal: i64,
    sizes: TableSizes,
    resident: u64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Measures the figure once: its end is compared with its beginning.
pub(super) async fn run(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    let mut database = bench.postgres.make(ScratchDatabase::One).await?;
    let clock = Arc::new(ScaledClock::new(CLOCK_SPEED));
    let (count, at) = (bench.sizes.boards, clock.now());
    let due = Some((at, numbers::counted(count) / READY_REENTRY_S));
    database.fill(&SeededBoards { count, state: "Ready", due, at, ..SeededBoards::default() }).await?;
    database.settle().await?;
    let server =
        LifeguardServer::start(bench.serve_options(ScratchDatabase::One, BoardDefinition::Bench)?, clock)
            .await?;
    let (latencies, mut answered) = unbounded_channel();
    let reboots = reboot(server.engine.clone(), count.try_into()?, latencies);
    let watching = watch(bench, &mut database, &mut answered);
    let samples = tokio::select! {
        samples = watching => samples,
        result = reboots => Err(result.err().unwrap_or_else(|| "the reboots ended".into())),
    };
    server.stop().await?;
    add_rows(&samples?, report);
    Ok(())
}

/// Reboots one board after the other, and sends the latency of each event in milliseconds to `latencies`.
async fn reboot(engine: Engine, boards: u64, latencies: UnboundedSender<f64>) -> Result<(), FigureError> {
    let mut tasks: JoinSet<io::Result<()>> = JoinSet::new();
    let began = Instant::now();
    for number in 0_u32.. {
        let due = Duration::from_secs(1) * number / REBOOTS_PER_SECOND;
        sleep_real_time(due.saturating_sub(began.elapsed())).await;
        let (engine, latencies, board) = (engine.clone(), latencies.clone(), u64::from(number) % boards);
        tasks.spawn(async move {
            timed(&engine, board, "rq-reboot", EventSource::Operator, &latencies).await?;
            sleep_real_time(REBOOT_TIME).await;
            timed(&engine, board, "image-running", lifeguard::boards::BOARD_SOURCE, &latencies).await
        });
        while let Some(result) = tasks.try_join_next() {
            result??;
        }
    }
    Ok(())
}

/// Submits an event and records its latency.
async fn timed(
    engine: &Engine,
    board: u64,
    event: &str,
    source: EventSource,
    latencies: &UnboundedSender<f64>,
) -> io::Result<()> {
    let sent_at = Instant::now();
    submit(engine, board, event, source).await?;
    // The receiver is dropped at the end of the run.
    let _ = latencies.send(numbers::millis(sent_at.elapsed()));
    Ok(())
}

/// Takes samples at intervals.
async fn watch(
    bench: &Bench,
    database: &mut BenchDatabase,
    answered: &mut UnboundedReceiver<f64>,
) -> Result<Vec<DaySample>, FigureError> {
    let step = Duration::from_secs(bench.sizes.day_sample_s);
    let mut samples = Vec::new();
    let began = Instant::now();
    for number in 1..=u32::try_from(bench.sizes.day_s / bench.sizes.day_sample_s)? {
        sleep_real_time((step * number).saturating_sub(began.elapsed())).await;
        let latencies: Vec<f64> = std::iter::from_fn(|| answered.try_recv().ok()).collect();
        samples.push(DaySample {
            at: Instant::now(),
            wal: database.wal_position().await?,
            sizes: database.sizes().await?,
            resident: process::resident(std::process::id())?,
            p50_ms: statistics::percentile(&latencies, 50).unwrap_or(f64::INFINITY),
            p99_ms: statistics::percentile(&latencies, 99).unwrap_or(f64::INFINITY),
        });
        tracing::info!(
            "day: {} of {} s, at {}",
            began.elapsed().as_secs(),
            bench.sizes.day_s,
            SystemClock.now()
        );
    }
    Ok(samples)
}

/// Reports the last fifth beside the first.
fn add_rows(samples: &[DaySample], report: &mut BenchReport) {
    let rate = |value: fn(&DaySample) -> i64| {
        let pairs = samples.windows(2);
        let rates = pairs.map(|pair| numbers::counted(value(&pair[1]) - value(&pair[0])) / span(pair));
        rates.collect::<Vec<f64>>()
    };
    let level = |value: fn(&DaySample) -> f64| samples.iter().map(value).collect::<Vec<f64>>();
    let all = [
        ("transitions a second", "1/s", rate(|sample| sample.sizes.history_rows)),
        ("WAL a second", "bytes/s", rate(|sample| sample.wal)),
        ("history on the disk a second", "bytes/s", rate(|sample| sample.sizes.history_bytes)),
        ("instances on the disk", "bytes", level(|sample| numbers::counted(sample.sizes.instances_bytes))),
        ("dead rows", "", level(|sample| numbers::counted(sample.sizes.dead_rows))),
        (
            "resident memory",
            "bytes",
            level(|sample| numbers::counted(sample.resident.try_into().unwrap_or(i64::MAX))),
        ),
        ("an event, p50", "ms", level(|sample| sample.p50_ms)),
        ("an event, p99", "ms", level(|sample| sample.p99_ms)),
    ];
    for (what, unit, values) in all {
        let fifth = values.len().div_ceil(5);
        let (first, last) = (values[..fifth].to_vec(), values[values.len() - fifth..].to_vec());
        report.add(
            ReportRow::new("day", format!("{what}, in the last fifth"), unit, last)
                .beside("in the first", first),
        );
    }
}

/// The seconds between two samples.
fn span(pair: &[DaySample]) -> f64 {
    pair[1].at.saturating_duration_since(pair[0].at).as_secs_f64()
}
