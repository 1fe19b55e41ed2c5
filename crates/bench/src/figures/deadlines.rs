//! Lateness of deadlines: at several rates, among many that are far ahead, and with many at the same time.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use clock::{Clock, SystemClock, sleep_real_time};

use super::events::PgbenchBaseline;
use super::failure::FigureError;
use crate::bench::{Bench, BoardDefinition};
use crate::client::BenchConnection;
use crate::database::{BenchDatabase, FiredDeadline, ScratchDatabase, SeededBoards};
use crate::load::report as report_event;
use crate::numbers;
use crate::postgres::PGBENCH_SCRIPT_NAMES;
use crate::report::BenchReport;
use crate::report::{FigureTarget, ReportRow};
use crate::server::ServerProcess;
use crate::timeouts::until;

/// Maximum time for handling all deadlines after the last due time.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(5);
/// Distance of the far deadlines, in days.
const FAR_DAYS: i64 = 10;
/// Minimum time between the start of the server and the first deadline.
const MIN_LEAD: Duration = Duration::from_millis(500);
/// Maximum attempts to start a server in time; each attempt has twice as much time.
const MAX_SERVER_STARTS: u32 = 4;

/// Inserts boards whose deadlines are too far ahead to fall due.
pub(super) async fn arm_far(database: &mut BenchDatabase, count: i64) -> Result<(), FigureError> {
    let at = SystemClock.now();
    let due = Some((at + TimeDelta::days(FAR_DAYS), 100.0));
    database.fill(&SeededBoards { count, state: "Armed", due, at, ..SeededBoards::default() }).await?;
    Ok(database.settle().await?)
}

/// A rate of due deadlines for a number of seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeadlineRate {
    pub(super) per_second: u32,
    pub(super) seconds: u32,
}

/// Arms deadlines and starts a server before the first one falls due; `first` is the number of the next board.
///
/// The rates follow one another with a second between them. Returns the start of each rate and the end of the last one.
pub(super) async fn arm_and_serve(
    bench: &Bench,
    database: &mut BenchDatabase,
    first: &mut i64,
    rates: &[DeadlineRate],
) -> Result<(ServerProcess, Vec<DateTime<Utc>>), FigureError> {
    let mut lead = TimeDelta::seconds(bench.sizes.lead_s.into());
    for _ in 0..MAX_SERVER_STARTS {
        let mut at = SystemClock.now() + lead;
        let mut moments = vec![at];
        for DeadlineRate { per_second, seconds } in rates {
            let count = i64::from(*per_second) * i64::from(*seconds);
            let due = Some((at, f64::from(*per_second)));
            let boards = SeededBoards {
                first: *first,
                count,
                state: "Armed",
                due,
                at: SystemClock.now(),
                ..SeededBoards::default()
            };
            database.fill(&boards).await?;
            *first += count;
            at += TimeDelta::seconds(i64::from(*seconds) + 1);
            moments.push(at);
        }
        let server = bench.serve(ScratchDatabase::One, BoardDefinition::Bench).await?;
        if SystemClock.now() + MIN_LEAD <= moments[0] {
            return Ok((server, moments));
        }
        tracing::info!(
            "the server started too late for the first deadline; retrying with twice as much time"
        );
        server.kill().await?;
        lead = lead * 2;
        // Handles the armed deadlines before the next attempt.
        let server = bench.serve(ScratchDatabase::One, BoardDefinition::Bench).await?;
        drain(database, at).await?;
        server.stop().await?;
    }
    Err("the server did not start before the deadlines fell due".into())
}

/// Waits until all deadlines before `moment` are handled, or [`DRAIN_TIMEOUT`] has passed.
pub(super) async fn drain(database: &mut BenchDatabase, moment: DateTime<Utc>) -> Result<(), FigureError> {
    sleep_real_time((moment - SystemClock.now()).to_std().unwrap_or_default()).await;
    until(DRAIN_TIMEOUT, async || Ok(database.count_armed(moment).await? == 0)).await?;
    Ok(())
}

/// The lateness of each deadline in milliseconds; unhandled ones are late until now.
pub(super) fn lateness_ms(fired: &[FiredDeadline]) -> Vec<f64> {
    let now = SystemClock.now();
    fired
        .iter()
        .map(|deadline| seconds(deadline.committed_at.unwrap_or(now) - deadline.due_at) * 1e3)
        .collect()
}

/// Converts a span to seconds; it may be negative.
pub(super) fn seconds(span: TimeDelta) -> f64 {
    span.as_seconds_f64()
}

/// Measures the lateness at each rate.
pub(super) async fn lateness(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    let mut limit = PgbenchBaseline::prepare(bench, &PGBENCH_SCRIPT_NAMES[2..], &[1]).await?;
    let mut database = bench.postgres.make(ScratchDatabase::One).await?;
    arm_far(&mut database, bench.sizes.armed).await?;
    let mut first = bench.sizes.armed;
    let rates: Vec<DeadlineRate> = bench
        .sizes
        .due_per_second
        .iter()
        .map(|per_second| DeadlineRate { per_second: *per_second, seconds: bench.sizes.due_s })
        .collect();
    let mut found = vec![(Vec::new(), Vec::new(), 0); rates.len()];
    for round in 1..=bench.sizes.watches {
        tracing::info!("lateness: round {round} of {}", bench.sizes.watches);
        limit.round(bench).await?;
        let (server, moments) = arm_and_serve(bench, &mut database, &mut first, &rates).await?;
        let mut armed = Vec::new();
        for window in moments.windows(2) {
            armed.push(database.list_armed(window[0], window[1]).await?);
        }
        drain(&mut database, moments[rates.len()]).await?;
        server.stop().await?;
        for (armed, (p50, p99, lost)) in armed.iter().zip(&mut found) {
            let fired = database.list_fired(armed).await?;
            let late = lateness_ms(&fired);
            p50.extend(statistics::percentile(&late, 50));
            p99.extend(statistics::percentile(&late, 99));
            *lost += fired.iter().filter(|deadline| deadline.committed_at.is_none()).count();
        }
    }
    let (comparison, latencies) = limit.latency();
    for (DeadlineRate { per_second, seconds }, (p50, p99, lost)) in rates.into_iter().zip(found) {
        let what = format!("{per_second} due a second for {seconds} s among {} armed", bench.sizes.armed);
        for (share, values) in [("p50", p50), ("p99", p99)] {
            let row = ReportRow::new("lateness", format!("{what}, {share}"), "ms", values);
            let mut row = row.beside(comparison.clone(), latencies.clone());
            if share == "p99" && per_second == 1000 {
                row = row.target(FigureTarget::AtMost(50.0));
            }
            if lost > 0 {
                row = row.note(format!(
                    "{lost} were not handled within {DRAIN_TIMEOUT:?} and count as late as that"
                ));
            }
            report.add(row);
        }
    }
    Ok(())
}

/// Measures how long many deadlines at the same time take, and the latency of events meanwhile.
pub(super) async fn storm(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    let clients = bench.sizes.pgbench_clients.last().copied().unwrap_or(1);
    let mut limit = PgbenchBaseline::prepare(bench, &PGBENCH_SCRIPT_NAMES[2..], &[clients]).await?;
    for storm in bench.sizes.storms {
        let mut database = bench.postgres.make(ScratchDatabase::One).await?;
        let (count, at) = (bench.sizes.boards, SystemClock.now());
        database.fill(&SeededBoards { count, state: "A", at, ..SeededBoards::default() }).await?;
        database.settle().await?;
        let mut first = count;
        let rate = DeadlineRate { per_second: u32::try_from(*storm)?, seconds: 1 };
        let (mut drained, mut p99, mut beside, mut before) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 1..=bench.sizes.watches {
            tracing::info!("storm of {storm}: round {round} of {}", bench.sizes.watches);
            limit.round(bench).await?;
            beside.extend(limit.last_rate().map(|per_second| f64::from(rate.per_second) / per_second));
            let (server, moments) = arm_at_once(bench, &mut database, &mut first, rate).await?;
            let armed = database.list_armed(moments, moments + TimeDelta::seconds(1)).await?;
            let mut client = EventClient::of(BenchConnection::open(server.http).await?, count.try_into()?);
            tokio::select! {
                drained = drain(&mut database, moments + TimeDelta::seconds(1)) => drained?,
                ended = client.run() => ended?,
            }
            server.stop().await?;
            let fired = database.list_fired(&armed).await?;
            let last =
                fired.iter().map(|deadline| deadline.committed_at.unwrap_or_else(|| SystemClock.now())).max();
            let last = last.ok_or("no deadline fell due")?;
            drained.push(seconds(last - moments));
            p99.extend(statistics::percentile(&client.latencies(moments, last), 99));
            before.extend(statistics::percentile(&client.latencies(DateTime::<Utc>::MIN_UTC, moments), 99));
        }
        let row = ReportRow::new(
            "storm",
            format!("{storm} due at one moment, until all are handled"),
            "s",
            drained,
        );
        let row = row.beside(format!("as many transactions of pgbench, {clients} clients"), beside);
        report.add(if *storm == 10_000 { row.target(FigureTarget::AtMost(2.0)) } else { row });
        let what = format!("an event while {storm} deadlines are handled, p99");
        report.add(ReportRow::new("storm", what, "ms", p99).beside("before the storm", before));
    }
    Ok(())
}

/// Like [`arm_and_serve`], with all deadlines at the same time.
async fn arm_at_once(
    bench: &Bench,
    database: &mut BenchDatabase,
    first: &mut i64,
    rate: DeadlineRate,
) -> Result<(ServerProcess, DateTime<Utc>), FigureError> {
    // A rate so high that all deadlines fall within a millisecond.
    let at = SystemClock.now() + TimeDelta::seconds(bench.sizes.lead_s.into());
    let count = i64::from(rate.per_second);
    let due = Some((at, 1e9));
    let now = SystemClock.now();
    database
        .fill(&SeededBoards { first: *first, count, state: "Armed", due, at: now, ..SeededBoards::default() })
        .await?;
    *first += count;
    let server = bench.serve(ScratchDatabase::One, BoardDefinition::Bench).await?;
    if SystemClock.now() > at {
        return Err("the server started too late for the storm".into());
    }
    Ok((server, at))
}

/// A client that sends one event after the other.
struct EventClient {
    connection: BenchConnection,
    boards: u64,
    /// Send time and latency in milliseconds of each event.
    answered: Vec<(DateTime<Utc>, f64)>,
}

impl EventClient {
    fn of(connection: BenchConnection, boards: u64) -> Self {
        Self { connection, boards, answered: Vec::new() }
    }

    /// Sends events until it is dropped.
    async fn run(&mut self) -> Result<(), FigureError> {
        for board in (0..self.boards).cycle() {
            let (sent_at, sent) = (SystemClock.now(), Instant::now());
            report_event(&mut self.connection, board, "flip").await?;
            self.answered.push((sent_at, numbers::millis(sent.elapsed())));
        }
        Ok(())
    }

    /// Latencies of the events sent from `from` to `to`.
    fn latencies(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<f64> {
        let sent = self.answered.iter().filter(|(at, _)| (from..=to).contains(at));
        sent.map(|(_, latency)| *latency).collect()
    }
}
