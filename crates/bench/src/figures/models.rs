//! Predictions over HTTP: latency and rate, beside HTTP alone, and beside the original StateService if it runs.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lifeguard::cli::serve::{ModelArgs, ServeOptions};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::failure::FigureError;
use crate::bench::{Bench, BoardDefinition};
use crate::client::BenchConnection;
use crate::database::ScratchDatabase;
use crate::numbers;
use crate::report::BenchReport;
use crate::report::ReportRow;
use crate::sizes::BenchSizes;

/// The model of StateService's README, made by `fixtures/models/make_vectors.py`.
const COLORS_MODEL: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../fixtures/models/state_service/colors_v1.onnx"
));
/// Number of rows of a large call.
const ROWS_PER_LARGE_CALL: usize = 1_000;
/// Number of concurrent clients.
const CONCURRENT_CLIENTS: usize = 8;

/// A request of the figure.
#[derive(Debug, Clone, Copy)]
enum ModelCall {
    /// `/healthz`: the cost of HTTP alone.
    Healthz,
    /// Predictions for this many rows.
    Rows(usize),
}

/// Measurements of one server, one per round.
#[derive(Debug, Default)]
struct ModelFigures {
    /// Latencies of one client, in milliseconds.
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Answers per second to concurrent clients.
    answers: Vec<f64>,
    /// Rows per second in large calls of concurrent clients.
    rows: Vec<f64>,
}

/// Measures the figure.
pub(super) async fn run(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    drop(bench.postgres.make(ScratchDatabase::One).await?);
    let options = hosting(bench)?;
    let server = bench.serve_with(&options).await?;
    if let Some(body) = body(ModelCall::Rows(1), 0) {
        let answer = BenchConnection::open(server.http).await?.post_json("/state", &body).await?;
        if answer.status == 503 {
            // ONNX Runtime is not installed.
            let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            report.add_missing("models", problem["detail"].as_str().unwrap_or("there is no ONNX Runtime"));
            return server.stop().await;
        }
    }
    let (mut ours, mut bare, mut original) =
        (ModelFigures::default(), ModelFigures::default(), ModelFigures::default());
    for round in 1..=bench.sizes.repeats {
        tracing::info!("models: round {round} of {}", bench.sizes.repeats);
        ours.measure(server.http, ModelCall::Rows(1), bench.sizes.rate_s).await?;
        bare.measure(server.http, ModelCall::Healthz, bench.sizes.rate_s).await?;
        if let Some(address) = bench.state_service {
            original.measure(address, ModelCall::Rows(1), bench.sizes.rate_s).await?;
        }
    }
    server.stop().await?;
    // Rows of large calls are compared with calls of one row: `/healthz` has no rows.
    bare.rows.clone_from(&ours.answers);
    add_rows(&ours, &bare, ["/healthz", "/healthz", "/healthz", "one row a call"], report);
    if bench.state_service.is_some() {
        add_rows(&ours, &original, ["the original StateService"; 4], report);
    }
    Ok(())
}

/// The options of a server with the model in its folders.
fn hosting(bench: &Bench) -> Result<ServeOptions, FigureError> {
    let folder = bench.scratch.path.join("models");
    let (config, models) = (folder.join("config"), folder.join("models"));
    fs_err::create_dir_all(&config)?;
    fs_err::create_dir_all(models.join("state_service"))?;
    fs_err::write(models.join("state_service/colors_v1.onnx"), COLORS_MODEL)?;
    let states = ["green", "red", "blue"];
    let text =
        json!({ "name": "colors", "team": "state_service", "model": "colors_v1.onnx", "states": states });
    fs_err::write(config.join("colors.json"), text.to_string())?;
    let base = bench.serve_options(ScratchDatabase::One, BoardDefinition::Bench)?;
    let onnxruntime = bench.onnxruntime.clone();
    let models =
        ModelArgs { config: Some(config), models: Some(models), onnxruntime, ..ModelArgs::default() };
    Ok(ServeOptions { models, ..base })
}

fn add_rows(ours: &ModelFigures, other: &ModelFigures, names: [&str; 4], report: &mut BenchReport) {
    let rows = [
        ("POST /state, one row, one client, p50".to_owned(), "ms", &ours.p50, &other.p50),
        ("POST /state, one row, one client, p99".to_owned(), "ms", &ours.p99, &other.p99),
        (format!("POST /state, one row, {CONCURRENT_CLIENTS} clients"), "1/s", &ours.answers, &other.answers),
        (
            format!("rows by POST /state, {ROWS_PER_LARGE_CALL} in a call, {CONCURRENT_CLIENTS} clients"),
            "rows/s",
            &ours.rows,
            &other.rows,
        ),
    ];
    for ((what, unit, ours, other), name) in rows.into_iter().zip(names) {
        report.add(ReportRow::new("models", what, unit, ours.clone()).beside(name, other.clone()));
    }
}

impl ModelFigures {
    /// Measures one client, then concurrent clients.
    async fn measure(&mut self, server: SocketAddr, question: ModelCall, seconds: u64) -> io::Result<()> {
        let span = Duration::from_secs(seconds);
        let latencies = ask(server, question, 1, span).await?;
        self.p50.extend(statistics::percentile(&latencies, 50));
        self.p99.extend(statistics::percentile(&latencies, 99));
        let per_second = |answers: Vec<f64>| numbers::float(answers.len()) / span.as_secs_f64();
        self.answers.push(per_second(ask(server, question, CONCURRENT_CLIENTS, span).await?));
        if let ModelCall::Rows(_) = question {
            let calls = per_second(
                ask(server, ModelCall::Rows(ROWS_PER_LARGE_CALL), CONCURRENT_CLIENTS, span).await?,
            );
            self.rows.push(calls * numbers::float(ROWS_PER_LARGE_CALL));
        }
        Ok(())
    }
}

/// Lets `clients` send one request after the other for `span`; returns the latencies in milliseconds.
async fn ask(
    server: SocketAddr,
    question: ModelCall,
    clients: usize,
    span: Duration,
) -> io::Result<Vec<f64>> {
    let from = Instant::now() + BenchSizes::WARM_UP;
    let to = from + span;
    let mut tasks: JoinSet<io::Result<Vec<f64>>> = JoinSet::new();
    for client in 0..clients {
        let body = body(question, client);
        tasks.spawn(async move {
            let mut connection = BenchConnection::open(server).await?;
            let mut times = Vec::new();
            loop {
                let sent_at = Instant::now();
                if sent_at >= to {
                    return Ok(times);
                }
                let answer = match &body {
                    Some(body) => connection.post_json("/state", body).await?,
                    None => connection.get("/healthz", "").await?,
                };
                if (from..to).contains(&Instant::now()) {
                    times.push(numbers::millis(sent_at.elapsed()));
                }
                if answer.status != 200 || (body.is_some() && !answer.body.starts_with(br#"{"state": [""#)) {
                    let body = String::from_utf8_lossy(&answer.body);
                    return Err(io::Error::other(format!("{server} answered {}: {body}", answer.status)));
                }
            }
        });
    }
    let mut all = Vec::new();
    while let Some(times) = tasks.join_next().await {
        all.extend(times??);
    }
    Ok(all)
}

/// Rows on all sides of the model's thresholds, different ones for each client.
fn body(question: ModelCall, client: usize) -> Option<String> {
    let ModelCall::Rows(count) = question else { return None };
    let rows: Vec<Value> = (0..count)
        .map(|row| json!([(row * 37 + client * 131) % 1_000, (row * 53 + client * 97) % 400]))
        .collect();
    Some(json!({ "name": "colors", "values": rows }).to_string())
}
