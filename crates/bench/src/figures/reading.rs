//! Reading: the whole list, the list that has not changed, what has changed, and clients that poll.

use std::time::{Duration, Instant};

use clock::{Clock, SystemClock, pause};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::failure::Failure;
use crate::bench::{Bench, Lives};
use crate::client::{Answer, Connection};
use crate::database::{Boards, Scratch};
use crate::load::report as report_event;
use crate::process;
use crate::report::Report;
use crate::report::{Row, Target};
use crate::server::ServerProcess;
use crate::stats;

/// Where the list is.
const LIST: &str = "/api/v1/devices";
/// How many boards change before their changes are read.
const CHANGES: u64 = 10;

/// What of a list matters here.
#[derive(Debug, Deserialize)]
struct List {
    devices: Vec<serde::de::IgnoredAny>,
    /// What to ask for as `since` to read what has changed after it.
    cursor: Option<serde_json::Value>,
}

/// Round by round, in milliseconds or milliseconds a second.
#[derive(Debug, Default)]
struct Found {
    list: Vec<f64>,
    bare_list: Vec<f64>,
    unchanged: Vec<f64>,
    healthz: Vec<f64>,
    changes: Vec<f64>,
    quiet: Used,
    polling: Used,
    polling_changes: Used,
}

/// Processor time a second, in milliseconds, round by round.
#[derive(Debug, Default)]
struct Used {
    server: Vec<f64>,
    postgres: Vec<f64>,
}

/// Measures.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<(), Failure> {
    let (count, at) = (bench.sizes.boards, SystemClock.now());
    let mut database = bench.postgres.make(Scratch::One).await?;
    database.fill(&Boards { count, state: "A", at, ..Boards::default() }).await?;
    database.settle().await?;
    let server = bench.serve(Scratch::One, Lives::Bench).await?;
    let mut connection = Connection::open(server.http).await?;
    let mut found = Found::default();
    for round in 1..=bench.sizes.repeats {
        tracing::info!("reading: round {round} of {}", bench.sizes.repeats);
        let (mut bare, mut times) = (Vec::new(), [const { Vec::new() }; 4]);
        let (list, tag) = read(&mut connection, count).await?;
        let unchanged = format!("if-none-match: {tag}\r\n");
        let since = list.cursor.map(|cursor| {
            let cursor = cursor.as_str().map_or_else(|| cursor.to_string(), str::to_owned);
            format!("{LIST}?since={cursor}")
        });
        for _ in 0..bench.sizes.reads {
            times[0].push(timed(&mut connection, LIST, "", 200).await?);
            let began = Instant::now();
            database.read_list().await?;
            bare.push(stats::millis(began.elapsed()));
            times[1].push(timed(&mut connection, LIST, &unchanged, 304).await?);
            times[2].push(timed(&mut connection, "/healthz", "", 200).await?);
        }
        found.quiet.watch(bench, &server, quiet(bench)).await?;
        found.polling.watch(bench, &server, poll(bench, &server, LIST, &unchanged)).await?;
        if let Some(since) = &since {
            for board in 0..CHANGES {
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
            all.extend(stats::percentile(times, 0.5));
        }
    }
    server.stop().await?;
    tell(bench, found, report);
    Ok(())
}

fn tell(bench: &Bench, found: Found, report: &mut Report) {
    let count = bench.sizes.boards;
    let row = |what: String, values| Row::new("reading", what, "ms", values);
    let all = row(format!("{count} boards listed, p50"), found.list)
        .beside("the rows by SQL alone", found.bare_list);
    report.add(all.target(Target::AtMost(30.0)));
    let unchanged = row("the list unchanged (304), p50".to_owned(), found.unchanged);
    report.add(unchanged.beside("/healthz", found.healthz.clone()).target(Target::AtMost(2.0)));
    let has_changes = !found.changes.is_empty();
    if has_changes {
        let changes = row(format!("{CHANGES} changes since a cursor, p50"), found.changes);
        report.add(changes.beside("/healthz", found.healthz).target(Target::AtMost(2.0)));
    } else {
        report.miss("reading", "changes since a cursor: the list's answer has no `cursor`");
    }
    let pollers = bench.sizes.pollers;
    for (asked, used) in [("an unchanged list", found.polling), ("10 changes", found.polling_changes)] {
        for (who, used, quiet) in
            [("server", used.server, &found.quiet.server), ("Postgres", used.postgres, &found.quiet.postgres)]
        {
            if used.is_empty() {
                continue;
            }
            let what = format!("{pollers} clients ask for {asked} once a second: processor time of {who}");
            report.add(Row::new("reading", what, "ms/s", used).beside("when nobody asks", quiet.clone()));
        }
    }
}

/// Lets nobody ask for as long as clients do otherwise.
async fn quiet(bench: &Bench) -> Result<(), Failure> {
    pause(Duration::from_secs(bench.sizes.polling_s)).await;
    Ok(())
}

impl Used {
    /// Notes what server and Postgres take while `work` goes on.
    async fn watch(
        &mut self,
        bench: &Bench,
        server: &ServerProcess,
        work: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let postgres = || process::cpu_with_children(bench.postgres.pid);
        let (began, of_server, of_postgres) = (Instant::now(), server.cpu()?, postgres()?);
        work.await?;
        let seconds = began.elapsed().as_secs_f64();
        self.server.push(stats::millis(server.cpu()?.saturating_sub(of_server)) / seconds);
        self.postgres.push(stats::millis(postgres()?.saturating_sub(of_postgres)) / seconds);
        Ok(())
    }
}

/// Reads the whole list, and its tag.
async fn read(connection: &mut Connection, count: i64) -> Result<(List, String), Failure> {
    let answer = connection.get(LIST, "").await?;
    let list: List = serde_json::from_slice(&answer.body)?;
    if i64::try_from(list.devices.len())? != count {
        return Err(format!("the list has {} of {count} boards", list.devices.len()).into());
    }
    let tag = answer.header("etag").ok_or("the list has no ETag")?.to_owned();
    Ok((list, tag))
}

/// How long an answer takes, in milliseconds, that must have this status.
async fn timed(connection: &mut Connection, path: &str, headers: &str, status: u16) -> Result<f64, Failure> {
    let began = Instant::now();
    let answer = connection.get(path, headers).await?;
    let took = stats::millis(began.elapsed());
    expect(&answer, path, status)?;
    Ok(took)
}

fn expect(answer: &Answer, path: &str, status: u16) -> std::io::Result<()> {
    if answer.status == status {
        return Ok(());
    }
    Err(std::io::Error::other(format!("GET {path}: {} where {status} was to come", answer.status)))
}

/// Lets clients ask once a second each, evenly spread.
async fn poll(bench: &Bench, server: &ServerProcess, path: &str, headers: &str) -> Result<(), Failure> {
    let status = if headers.is_empty() { 200 } else { 304 };
    let pollers = u32::try_from(bench.sizes.pollers)?;
    let mut tasks: JoinSet<std::io::Result<()>> = JoinSet::new();
    for poller in 0..pollers {
        let mut connection = Connection::open(server.http).await?;
        let (path, headers, turns) = (path.to_owned(), headers.to_owned(), bench.sizes.polling_s);
        tasks.spawn(async move {
            pause(Duration::from_secs(1) * poller / pollers).await;
            for _ in 0..turns {
                let began = Instant::now();
                expect(&connection.get(&path, &headers).await?, &path, status)?;
                pause(Duration::from_secs(1).saturating_sub(began.elapsed())).await;
            }
            Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
