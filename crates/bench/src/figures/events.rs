//! Durable events a second: by the engine in this process, and over HTTP from a second one, beside pgbench.

use std::sync::Arc;

use clock::{Clock, SystemClock};
use lifeguard::cli::serve::Server;

use super::failure::Failure;
use crate::bench::{Bench, Lives};
use crate::database::{Boards, Scratch};
use crate::figure::Figure;
use crate::listener::PollListener;
use crate::load::{self, Plan};
use crate::postgres::{FORMS, PGBENCH_BOARDS, Pgbench};
use crate::report::Report;
use crate::report::{Row, Target};
use crate::sizes::Sizes;
use crate::stats::Summary;

/// How many events are in flight, and what is to be reached in process and over HTTP: times pgbench's best.
const IN_FLIGHT: [(usize, Option<f64>, Option<f64>); 3] =
    [(256, Some(4.5), Some(2.5)), (64, Some(3.0), None), (1, None, None)];

/// What pgbench found, round by round, for each form with each number of clients.
pub(super) struct Limit(Vec<(&'static str, usize, Vec<Pgbench>)>);

impl Limit {
    /// Makes the database that pgbench works on, in these forms with these numbers of clients.
    pub(super) async fn prepare(
        bench: &Bench,
        forms: &[&'static str],
        clients: &[usize],
    ) -> Result<Self, Failure> {
        let mut database = bench.postgres.make(Scratch::Pgbench).await?;
        let (count, at) = (PGBENCH_BOARDS, SystemClock.now());
        database.fill(&Boards { first: 1, count, state: "A", at, ..Boards::default() }).await?;
        database.settle().await?;
        let with = |clients: usize| forms.iter().map(move |form| (*form, clients, Vec::new()));
        Ok(Self(clients.iter().copied().flat_map(with).collect()))
    }

    /// Runs each contestant once.
    pub(super) async fn round(&mut self, bench: &Bench) -> Result<(), Failure> {
        for (form, clients, found) in &mut self.0 {
            found.push(bench.postgres.pgbench(form, *clients, bench.sizes.rate_s).await?);
        }
        Ok(())
    }

    /// The most transactions a second that any contestant reached, by its median: what it was, and its rounds.
    fn best(&self) -> (String, Vec<f64>) {
        let all = self.0.iter().map(|(form, clients, found)| {
            let rates: Vec<f64> = found.iter().map(|one| one.per_second).collect();
            (format!("pgbench, {form}, {clients} clients"), rates)
        });
        all.max_by(|(_, one), (_, other)| median(one).total_cmp(&median(other))).unwrap_or_default()
    }

    /// The transactions a second of the first contestant's latest run.
    pub(super) fn last_rate(&self) -> Option<f64> {
        self.0.first()?.2.last().map(|found| found.per_second)
    }

    /// The least time that a transaction of a single client took, by its median: what it was, and its rounds.
    pub(super) fn latency(&self) -> (String, Vec<f64>) {
        let least = self.latencies().min_by(|(_, one), (_, other)| median(one).total_cmp(&median(other)));
        least.map(|(form, latencies)| (of_one_client(form), latencies)).unwrap_or_default()
    }

    /// How long a transaction of a single client took, round by round, for each form.
    fn latencies(&self) -> impl Iterator<Item = (&'static str, Vec<f64>)> {
        let of_one = self.0.iter().filter(|(_, clients, _)| *clients == 1);
        of_one.map(|(form, _, found)| (*form, found.iter().map(|one| one.latency_ms).collect()))
    }

    /// All contestants in words, by their medians.
    fn told(&self) -> String {
        let all = self.0.iter().map(|(form, clients, found)| {
            let rates: Vec<f64> = found.iter().map(|one| one.per_second).collect();
            format!("{form} {clients}: {:.0}", median(&rates))
        });
        all.collect::<Vec<_>>().join(", ")
    }
}

fn of_one_client(form: &str) -> String {
    format!("pgbench, {form}, 1 client")
}

fn median(values: &[f64]) -> f64 {
    Summary::of(values).map_or(0.0, |summary| summary.median)
}

/// Measures those of the two figures that are among `figures`.
pub(super) async fn run(bench: &Bench, figures: &[Figure], report: &mut Report) -> Result<(), Failure> {
    let (is_in_process, is_http) = (figures.contains(&Figure::Events), figures.contains(&Figure::Http));
    let mut limit = Limit::prepare(bench, &FORMS, bench.sizes.pgbench_clients).await?;
    let mut databases = [bench.postgres.make(Scratch::One).await?, bench.postgres.make(Scratch::Two).await?];
    for database in &mut databases {
        let (count, at) = (bench.sizes.boards, SystemClock.now());
        database.fill(&Boards { count, state: "A", at, ..Boards::default() }).await?;
        database.settle().await?;
    }
    let engine =
        Server::start(bench.serve_options(Scratch::One, Lives::Bench)?, Arc::new(SystemClock)).await?;
    let server = bench.serve(Scratch::Two, Lives::Bench).await?;
    let mut in_process = [const { Vec::new() }; IN_FLIGHT.len()];
    let mut http = [const { Vec::new() }; IN_FLIGHT.len()];
    let mut images = Vec::new();
    for round in 1..=bench.sizes.repeats {
        tracing::info!("events: round {round} of {}", bench.sizes.repeats);
        limit.round(bench).await?;
        for (index, (in_flight, ..)) in IN_FLIGHT.into_iter().enumerate() {
            let plan = plan(bench, in_flight)?;
            if is_in_process {
                in_process[index].push(load::in_process(&engine.engine, plan).await?);
            }
            if is_http {
                http[index].push(load::from_second_process(server.http, plan).await?);
            }
        }
        if is_in_process {
            images.push(image_running(bench).await?);
        }
    }
    server.stop().await?;
    engine.stop().await?;
    for (database, loads) in databases.iter_mut().zip([&in_process, &http]) {
        let answered: usize = loads.iter().flatten().map(|load| load.events).sum();
        let written = database.sizes().await?.history_rows;
        if written < i64::try_from(answered)? {
            return Err(format!("{answered} events were answered, but only {written} are in history").into());
        }
    }
    report.note(if is_in_process { "events" } else { "http" }, format!("1/s by pgbench: {}", limit.told()));
    for (figure, how, is_asked, loads) in [
        ("events", "in process", is_in_process, in_process),
        ("http", "from a second process", is_http, http),
    ] {
        for ((in_flight, of_engine, of_http), loads) in IN_FLIGHT.into_iter().zip(loads).filter(|_| is_asked)
        {
            let of = |value: fn(&load::Load) -> f64| loads.iter().map(value).collect::<Vec<f64>>();
            let (best, rates) = limit.best();
            let p99 = median(&of(|load| load.p99_ms));
            let what = format!("durable events, {in_flight} in flight, {how}");
            let mut row = Row::new(figure, what, "1/s", of(|load| load.per_second)).beside(best, rates);
            row = row.note(format!("99 of 100 were answered within {p99:.2} ms"));
            if let Some(least) = if figure == "http" { of_http } else { of_engine } {
                row = row.target(Target::RatioAtLeast(least));
            }
            report.add(row);
            if in_flight == 1 {
                for (form, latencies) in limit.latencies() {
                    let what = format!("mean time of an event, one in flight, {how}");
                    let row = Row::new(figure, what, "ms", of(|load| 1e3 / load.per_second));
                    let row = row.beside(of_one_client(form), latencies);
                    // BEGIN, UPDATE, INSERT, COMMIT: the equal transaction, as programs that decide send it.
                    let is_equal = figure == "events" && form == FORMS[1];
                    report.add(if is_equal { row.target(Target::RatioAtMost(1.0)) } else { row });
                }
            }
        }
    }
    if is_in_process {
        let (best, rates) = limit.best();
        let what = "image-running by states/board.yaml, 256 in flight, in process: it asks for a poll, too";
        report.add(Row::new("events", what, "1/s", images).beside(best, rates));
    }
    Ok(())
}

/// How many boards a second can report that their image runs, of those which do so at once after a reboot.
async fn image_running(bench: &Bench) -> Result<f64, Failure> {
    let listener = PollListener::bind().await?;
    let mut database = bench.postgres.make(Scratch::Three).await?;
    let (count, at) = (bench.sizes.image_reports, SystemClock.now());
    let poll_port = Some(listener.port);
    let boards =
        Boards { count: count.try_into()?, state: "RebootComplete", poll_port, at, ..Boards::default() };
    database.fill(&boards).await?;
    database.settle().await?;
    let server =
        Server::start(bench.serve_options(Scratch::Three, Lives::Board)?, Arc::new(SystemClock)).await?;
    let rate = load::once_each(&server.engine, IN_FLIGHT[0].0, count, "image-running").await;
    server.stop().await?;
    Ok(rate?)
}

fn plan(bench: &Bench, in_flight: usize) -> Result<Plan, Failure> {
    let span = std::time::Duration::from_secs(bench.sizes.rate_s);
    Ok(Plan { in_flight, boards: bench.sizes.boards.try_into()?, warm: Sizes::WARM, span })
}
