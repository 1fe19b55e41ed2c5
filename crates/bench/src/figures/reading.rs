//! Reading: the whole list, the unchanged list, changes, and polling clients.

use std::time::{Duration, Instant};

use clock::{Clock, SystemClock, sleep_real_time};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::failure::FigureError;
use crate::bench::{Bench, BoardDefinition};
use crate::client::{BenchConnection, BenchResponse};
use crate::database::{ScratchDatabase, SeededBoards};
use crate::load::report as report_event;
use crate::numbers;
use crate::process;
use crate::report::BenchReport;
use crate::report::{FigureTarget, ReportRow};
use crate::server::ServerProcess;

/// Path of the list.
const LIST_PATH: &str = "/api/v1/devices";
/// Number of boards that change before their changes are read.
const CHANGED_BOARDS: u64 = 10;

/// The parts of a list that the figure needs.
#[derive(Debug, Deserialize)]
struct DeviceList {
    devices: Vec<serde::de::IgnoredAny>,
    /// The cursor for `since`.
    cursor: Option<serde_json::Value>,
}

/// Measurements, one per round, in milliseconds or milliseconds per second.
#[derive(Debug, Default)]
struct ReadingFigures {
    list: Vec<f64>,
    bare_list: Vec<f64>,
    unchanged: Vec<f64>,
    healthz: Vec<f64>,
    changes: Vec<f64>,
    quiet: CpuUse,
    polling: CpuUse,
    polling_changes: CpuUse,
}

/// Processor time per second, in milliseconds, one value per round.
#[derive(Debug, Default)]
struct CpuUse {
    server: Vec<f64>,
    postgres: Vec<f64>,
}

/// Measures the figure.
pub(super) async fn run(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    let (count, at) = (bench.sizes.boards, SystemClock.now());
    let mut database = bench.postgres.make(ScratchDatabase::One).await?;
    database.fill(&SeededBoards { count, state: "A", at, ..SeededBoards::default() }).await?;
    database.settle().await?;
    let server = bench.serve(ScratchDatabase::One, BoardDefinition::Bench).await?;
    let mut connection = BenchConnection::open(server.http).await?;
    let mut found = ReadingFigures::default();
    for round in 1..=bench.sizes.repeats {
        tracing::info!("reading: round {round} of {}", bench.sizes.repeats);
        let (mut bare, mut times) = (Vec::new(), [const { Vec::new() }; 4]);
        let (list, tag) = read(&mut connection, count).await?;
        let unchanged = format!("if-none-match: {tag}\r\n");
        let since = list.cursor.map(|cursor| {
            let cursor = cursor.as_str().map_or_else(|| cursor.to_string(), str::to_owned);
            format!("{LIST_PATH}?since={cursor}")
        });
        for _ in 0..bench.sizes.reads {
            times[0].push(timed(&mut connection, LIST_PATH, "", 200).await?);
            let began = Instant::now();
            database.read_list().await?;
            bare.push(numbers::millis(began.elapsed()));
            times[1].push(timed(&mut connection, LIST_PATH, &unchanged, 304).await?);
            times[2].push(timed(&mut connection, "/healthz", "", 200).await?);
        }
        found.quiet.watch(bench, &server, quiet(bench)).await?;
        found.polling.watch(bench, &server, poll(bench, &server, LIST_PATH, &unchanged)).await?;
        if let Some(since) = &since {
            for board in 0..CHANGED_BOARDS {
                report_event(&mut connection, board, "flip").await?;
            }
            for _ in 0..bench.sizes.reads {
                times[3].push(timed(&mut connection, since, "", 200).await?);
            }
            found.polling_changes.watch(bench, &server, poll(bench, &server, since, "")).await?;
        }
        for (all, times) in [
            (&mut found.list, &times[0]),
            (&mut found.bare_list, &bare),
            (&mut found.unchanged, &times[1]),
            (&mut found.healthz, &times[2]),
            (&mut found.changes, &times[3]),
        ] {
            all.extend(statistics::percentile(times, 50));
        }
    }
    server.stop().await?;
    add_rows(bench, found, report);
    Ok(())
}

fn add_rows(bench: &Bench, found: ReadingFigures, report: &mut BenchReport) {
    let count = bench.sizes.boards;
    let row = |what: String, values| ReportRow::new("reading", what, "ms", values);
    let all = row(format!("{count} boards listed, p50"), found.list)
        .beside("the rows by SQL alone", found.bare_list);
    report.add(all.target(FigureTarget::AtMost(30.0)));
    let unchanged = row("the list unchanged (304), p50".to_owned(), found.unchanged);
    report.add(unchanged.beside("/healthz", found.healthz.clone()).target(FigureTarget::AtMost(2.0)));
    let has_changes = !found.changes.is_empty();
    if has_changes {
        let changes = row(format!("{CHANGED_BOARDS} changes since a cursor, p50"), found.changes);
        report.add(changes.beside("/healthz", found.healthz).target(FigureTarget::AtMost(2.0)));
    } else {
        report.add_missing("reading", "changes since a cursor: the list's answer has no `cursor`");
    }
    let pollers = bench.sizes.pollers;
    for (subject, used) in [("an unchanged list", found.polling), ("10 changes", found.polling_changes)] {
        for (process, used, quiet) in
            [("server", used.server, &found.quiet.server), ("Postgres", used.postgres, &found.quiet.postgres)]
        {
            if used.is_empty() {
                continue;
            }
            let what =
                format!("{pollers} clients ask for {subject} once a second: processor time of {process}");
            report
                .add(ReportRow::new("reading", what, "ms/s", used).beside("without clients", quiet.clone()));
        }
    }
}

/// Waits without clients for the duration of polling.
async fn quiet(bench: &Bench) -> Result<(), FigureError> {
    sleep_real_time(Duration::from_secs(bench.sizes.polling_s)).await;
    Ok(())
}

impl CpuUse {
    /// Measures the processor time of server and Postgres during `work`.
    async fn watch(
        &mut self,
        bench: &Bench,
        server: &ServerProcess,
        work: impl Future<Output = Result<(), FigureError>>,
    ) -> Result<(), FigureError> {
        let postgres = || process::cpu_with_children(bench.postgres.pid);
        let (began, of_server, of_postgres) = (Instant::now(), server.cpu()?, postgres()?);
        work.await?;
        let seconds = began.elapsed().as_secs_f64();
        self.server.push(numbers::millis(server.cpu()?.saturating_sub(of_server)) / seconds);
        self.postgres.push(numbers::millis(postgres()?.saturating_sub(of_postgres)) / seconds);
        Ok(())
    }
}

/// Reads the whole list with its entity tag.
async fn read(connection: &mut BenchConnection, count: i64) -> Result<(DeviceList, String), FigureError> {
    let answer = connection.get(LIST_PATH, "").await?;
    let list: DeviceList = serde_json::from_slice(&answer.body)?;
    if i64::try_from(list.devices.len())? != count {
        return Err(format!("the list has {} of {count} boards", list.devices.len()).into());
    }
    let tag = answer.header("etag").ok_or("the list has no ETag")?.to_owned();
    Ok((list, tag))
}

/// The latency of a request in milliseconds; its status must be `status`.
async fn timed(
    connection: &mut BenchConnection,
    path: &str,
    headers: &str,
    status: u16,
) -> Result<f64, FigureError> {
    let began = Instant::now();
    let answer = connection.get(path, headers).await?;
    let took = numbers::millis(began.elapsed());
    expect(&answer, path, status)?;
    Ok(took)
}

fn expect(answer: &BenchResponse, path: &str, status: u16) -> std::io::Result<()> {
    if answer.status == status {
        return Ok(());
    }
    Err(std::io::Error::other(format!("GET {path}: {}, expected {status}", answer.status)))
}

/// Lets clients poll once per second each, evenly spread.
async fn poll(bench: &Bench, server: &ServerProcess, path: &str, headers: &str) -> Result<(), FigureError> {
    let status = if headers.is_empty() { 200 } else { 304 };
    let pollers = u32::try_from(bench.sizes.pollers)?;
    let mut tasks: JoinSet<std::io::Result<()>> = JoinSet::new();
    for poller in 0..pollers {
        let mut connection = BenchConnection::open(server.http).await?;
        let (path, headers, polls) = (path.to_owned(), headers.to_owned(), bench.sizes.polling_s);
        tasks.spawn(async move {
            sleep_real_time(Duration::from_secs(1) * poller / pollers).await;
            for _ in 0..polls {
                let began = Instant::now();
                expect(&connection.get(&path, &headers).await?, &path, status)?;
                sleep_real_time(Duration::from_secs(1).saturating_sub(began.elapsed())).await;
            }
            Ok(())
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}
