//! Durable events per second: in this process, and over HTTP from a second one, beside pgbench.

use std::sync::Arc;

use clock::{Clock, SystemClock};
use lifeguard::cli::serve::LifeguardServer;
use statistics::MeasurementSummary;

use super::failure::FigureError;
use crate::bench::{Bench, BoardDefinition};
use crate::database::{ScratchDatabase, SeededBoards};
use crate::figure::Figure;
use crate::listener::PollListener;
use crate::load::{self, LoadPlan};
use crate::postgres::{PGBENCH_BOARDS, PGBENCH_SCRIPT_NAMES, PgbenchResult};
use crate::report::BenchReport;
use crate::report::{FigureTarget, ReportRow};
use crate::sizes::BenchSizes;

/// Events in flight, with the targets in process and over HTTP as multiples of pgbench's best rate.
const EVENTS_IN_FLIGHT: [(usize, Option<f64>, Option<f64>); 3] =
    [(256, Some(4.5), Some(2.5)), (64, Some(3.0), None), (1, None, None)];

/// Results of pgbench by form and number of clients, one per round.
pub(super) struct PgbenchBaseline(Vec<(&'static str, usize, Vec<PgbenchResult>)>);

impl PgbenchBaseline {
    /// Creates the database of pgbench, for these forms and numbers of clients.
    pub(super) async fn prepare(
        bench: &Bench,
        forms: &[&'static str],
        clients: &[usize],
    ) -> Result<Self, FigureError> {
        let mut database = bench.postgres.make(ScratchDatabase::Pgbench).await?;
        let (count, at) = (PGBENCH_BOARDS, SystemClock.now());
        database.fill(&SeededBoards { first: 1, count, state: "A", at, ..SeededBoards::default() }).await?;
        database.settle().await?;
        let for_clients = |clients: usize| forms.iter().map(move |form| (*form, clients, Vec::new()));
        Ok(Self(clients.iter().copied().flat_map(for_clients).collect()))
    }

    /// Runs each form with each number of clients once.
    pub(super) async fn round(&mut self, bench: &Bench) -> Result<(), FigureError> {
        for (form, clients, found) in &mut self.0 {
            found.push(bench.postgres.pgbench(form, *clients, bench.sizes.rate_s).await?);
        }
        Ok(())
    }

    /// The highest median rate: its description and its rates, one per round.
    fn best(&self) -> (String, Vec<f64>) {
        let all = self.0.iter().map(|(form, clients, found)| {
            let rates: Vec<f64> = found.iter().map(|result| result.per_second).collect();
            (format!("pgbench, {form}, {clients} clients"), rates)
        });
        all.max_by(|(_, rates), (_, other)| median(rates).total_cmp(&median(other))).unwrap_or_default()
    }

    /// The latest rate of the first form.
    pub(super) fn last_rate(&self) -> Option<f64> {
        self.0.first()?.2.last().map(|found| found.per_second)
    }

    /// The lowest median latency of a single client: its description and its latencies, one per round.
    pub(super) fn latency(&self) -> (String, Vec<f64>) {
        let best =
            self.latencies().min_by(|(_, latencies), (_, other)| median(latencies).total_cmp(&median(other)));
        best.map(|(form, latencies)| (of_one_client(form), latencies)).unwrap_or_default()
    }

    /// Latencies of a single client for each form, one per round.
    fn latencies(&self) -> impl Iterator<Item = (&'static str, Vec<f64>)> {
        let of_one = self.0.iter().filter(|(_, clients, _)| *clients == 1);
        of_one.map(|(form, _, found)| (*form, found.iter().map(|result| result.latency_ms).collect()))
    }

    /// The median rates of all forms and numbers of clients as text.
    fn describe(&self) -> String {
        let all = self.0.iter().map(|(form, clients, found)| {
            let rates: Vec<f64> = found.iter().map(|result| result.per_second).collect();
            format!("{form} {clients}: {:.0}", median(&rates))
        });
        all.collect::<Vec<_>>().join(", ")
    }
}

fn of_one_client(form: &str) -> String {
    format!("pgbench, {form}, 1 client")
}

fn median(values: &[f64]) -> f64 {
    MeasurementSummary::of(values).map_or(0.0, |summary| summary.median)
}

/// Measures `events` and `http`, if they are among `figures`.
pub(super) async fn run(
    bench: &Bench,
    figures: &[Figure],
    report: &mut BenchReport,
) -> Result<(), FigureError> {
    let (is_in_process, is_http) = (figures.contains(&Figure::Events), figures.contains(&Figure::Http));
    let mut limit =
        PgbenchBaseline::prepare(bench, &PGBENCH_SCRIPT_NAMES, bench.sizes.pgbench_clients).await?;
    let mut databases =
        [bench.postgres.make(ScratchDatabase::One).await?, bench.postgres.make(ScratchDatabase::Two).await?];
    for database in &mut databases {
        let (count, at) = (bench.sizes.boards, SystemClock.now());
        database.fill(&SeededBoards { count, state: "A", at, ..SeededBoards::default() }).await?;
        database.settle().await?;
    }
    let engine = LifeguardServer::start(
        bench.serve_options(ScratchDatabase::One, BoardDefinition::Bench)?,
        Arc::new(SystemClock),
    )
    .await?;
    let server = bench.serve(ScratchDatabase::Two, BoardDefinition::Bench).await?;
    let mut in_process = [const { Vec::new() }; EVENTS_IN_FLIGHT.len()];
    let mut http = [const { Vec::new() }; EVENTS_IN_FLIGHT.len()];
    let mut images = Vec::new();
    for round in 1..=bench.sizes.repeats {
        tracing::info!("events: round {round} of {}", bench.sizes.repeats);
        limit.round(bench).await?;
        for (index, (in_flight, ..)) in EVENTS_IN_FLIGHT.into_iter().enumerate() {
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
    report
        .note(if is_in_process { "events" } else { "http" }, format!("1/s by pgbench: {}", limit.describe()));
    for (figure, how, is_selected, loads) in [
        ("events", "in process", is_in_process, in_process),
        ("http", "from a second process", is_http, http),
    ] {
        for ((in_flight, of_engine, of_http), loads) in
            EVENTS_IN_FLIGHT.into_iter().zip(loads).filter(|_| is_selected)
        {
            let of = |value: fn(&load::LoadMeasurement) -> f64| loads.iter().map(value).collect::<Vec<f64>>();
            let (best, rates) = limit.best();
            let p99 = median(&of(|load| load.p99_ms));
            let what = format!("durable events, {in_flight} in flight, {how}");
            let mut row = ReportRow::new(figure, what, "1/s", of(|load| load.per_second)).beside(best, rates);
            row = row.note(format!("99 of 100 were answered within {p99:.2} ms"));
            if let Some(min) = if figure == "http" { of_http } else { of_engine } {
                row = row.target(FigureTarget::RatioAtLeast(min));
            }
            report.add(row);
            if in_flight == 1 {
                for (form, latencies) in limit.latencies() {
                    let what = format!("mean time of an event, one in flight, {how}");
                    let row = ReportRow::new(figure, what, "ms", of(|load| 1e3 / load.per_second));
                    let row = row.beside(of_one_client(form), latencies);
                    // BEGIN, UPDATE, INSERT, COMMIT: the equivalent transaction of a program that decides itself.
                    let is_equal = figure == "events" && form == PGBENCH_SCRIPT_NAMES[1];
                    report.add(if is_equal { row.target(FigureTarget::RatioAtMost(1.0)) } else { row });
                }
            }
        }
    }
    if is_in_process {
        let (best, rates) = limit.best();
        let what = "image-running by states/board.yaml, 256 in flight, in process, with a poll";
        report.add(ReportRow::new("events", what, "1/s", images).beside(best, rates));
    }
    Ok(())
}

/// Reports of running images per second, by boards that report at once after a reboot.
async fn image_running(bench: &Bench) -> Result<f64, FigureError> {
    let listener = PollListener::bind().await?;
    let mut database = bench.postgres.make(ScratchDatabase::Three).await?;
    let (count, at) = (bench.sizes.image_reports, SystemClock.now());
    let poll_port = Some(listener.port);
    let boards = SeededBoards {
        count: count.try_into()?,
        state: "RebootComplete",
        poll_port,
        at,
        ..SeededBoards::default()
    };
    database.fill(&boards).await?;
    database.settle().await?;
    let server = LifeguardServer::start(
        bench.serve_options(ScratchDatabase::Three, BoardDefinition::Board)?,
        Arc::new(SystemClock),
    )
    .await?;
    let rate = load::once_each(&server.engine, EVENTS_IN_FLIGHT[0].0, count, "image-running").await;
    server.stop().await?;
    Ok(rate?)
}

fn plan(bench: &Bench, in_flight: usize) -> Result<LoadPlan, FigureError> {
    let span = std::time::Duration::from_secs(bench.sizes.rate_s);
    Ok(LoadPlan { in_flight, boards: bench.sizes.boards.try_into()?, warm: BenchSizes::WARM_UP, span })
}
