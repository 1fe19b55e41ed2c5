//! Loads of events from boards with a number of events in flight: in this process, or over HTTP from a second one.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use lifeguard::cli::output;
use lifeguard::cli::serve::BOARD_MACHINE;
use lifeguard::engine::{CommittedSubmission, Engine, Submission};
use lifeguard::store::instances::InstanceKey;
use machine::{Cause, EventName, EventSource, MachineName, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use statistics::percentile;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::client::BenchConnection;
use crate::numbers::{float, millis};

/// The step from board to board, a prime that divides no number of boards, so that all boards are visited and neighbours
/// rarely follow one another.
const BOARD_STEP: u64 = 7919;

/// Options of the hidden command `load`, the second process.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadProcessOptions {
    /// Address of the server
    #[arg(long)]
    server: SocketAddr,
    /// Number of events in flight, each on its own connection
    #[arg(long)]
    in_flight: usize,
    /// Number of boards
    #[arg(long)]
    boards: u64,
    /// Warm-up time before events are counted, in milliseconds
    #[arg(long)]
    warm_ms: u64,
    /// Time during which events are counted, in milliseconds
    #[arg(long)]
    span_ms: u64,
}

/// The parameters of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadPlan {
    pub(crate) in_flight: usize,
    pub(crate) boards: u64,
    pub(crate) warm: Duration,
    pub(crate) span: Duration,
}

/// The result of a load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadMeasurement {
    /// Number of counted events; each was a transition.
    pub(crate) events: usize,
    /// Counted events per second.
    pub(crate) per_second: f64,
    /// Median time from request to answer, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99th percentile of that time, in milliseconds.
    pub(crate) p99_ms: f64,
}

/// A sender of boards' events.
pub(crate) enum LoadCaller {
    /// Submits events to the engine of this process.
    InProcess(Engine),
    /// Sends events over HTTP.
    Http(BenchConnection),
}

impl LoadCaller {
    /// Sends an event that moves `board` to another state; any other outcome is an error.
    pub(crate) async fn report(&mut self, board: u64, event: &str) -> io::Result<()> {
        match self {
            Self::InProcess(engine) => {
                match submit(engine, board, event, lifeguard::boards::BOARD_SOURCE).await?.outcome {
                    Outcome::Moved { .. } => Ok(()),
                    Outcome::Stayed | Outcome::Ignored(_) => Err(io::Error::other("an event moved nothing")),
                }
            }
            Self::Http(connection) => report(connection, board, event).await,
        }
    }
}

/// Submits an event of `board` to the engine of this process.
pub(crate) async fn submit(
    engine: &Engine,
    board: u64,
    event: &str,
    source: EventSource,
) -> io::Result<CommittedSubmission> {
    let name = EventName::new(event).map_err(io::Error::other)?;
    let machine = MachineName::new(BOARD_MACHINE).map_err(io::Error::other)?;
    let cause = Cause::Event { name, source, args: Map::new(), visit: None };
    let submission = Submission::new(InstanceKey::Name(machine, name_of(board)), cause);
    engine.submit(submission).await.map_err(io::Error::other)
}

/// The name of board `board`.
pub(crate) fn name_of(board: u64) -> String {
    format!("b{board:07}")
}

/// Sends an event that moves `board`, over HTTP.
pub(crate) async fn report(connection: &mut BenchConnection, board: u64, event: &str) -> io::Result<()> {
    let path = format!("/api/v1/devices/{}/events/{event}", name_of(board));
    let answer = connection.post(&path).await?;
    if answer.status == 200 && answer.body.starts_with(br#"{"outcome":"moved""#) {
        return Ok(());
    }
    let (status, body) = (answer.status, String::from_utf8_lossy(&answer.body));
    Err(io::Error::other(format!("POST {path}: {status} {body}")))
}

/// Runs a load with `callers`, one for each event in flight.
pub(crate) async fn drive(callers: Vec<LoadCaller>, plan: LoadPlan) -> io::Result<LoadMeasurement> {
    let step = u64::try_from(callers.len()).map_err(io::Error::other)?;
    let from = Instant::now() + plan.warm;
    let to = from + plan.span;
    let mut tasks: JoinSet<io::Result<Vec<f64>>> = JoinSet::new();
    for (first, mut caller) in (0..step).zip(callers) {
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let mut number = first;
            loop {
                let sent_at = Instant::now();
                if sent_at >= to {
                    return Ok(latencies);
                }
                caller.report(number.wrapping_mul(BOARD_STEP) % plan.boards, "flip").await?;
                if (from..to).contains(&Instant::now()) {
                    latencies.push(millis(sent_at.elapsed()));
                }
                number += step;
            }
        });
    }
    let mut all = Vec::new();
    while let Some(result) = tasks.join_next().await {
        all.extend(result??);
    }
    Ok(LoadMeasurement {
        events: all.len(),
        per_second: float(all.len()) / plan.span.as_secs_f64(),
        p50_ms: percentile(&all, 50).unwrap_or(f64::INFINITY),
        p99_ms: percentile(&all, 99).unwrap_or(f64::INFINITY),
    })
}

/// Runs a load on the engine of this process.
pub(crate) async fn in_process(engine: &Engine, plan: LoadPlan) -> io::Result<LoadMeasurement> {
    drive((0..plan.in_flight).map(|_| LoadCaller::InProcess(engine.clone())).collect(), plan).await
}

/// Sends `event` once for each board to the engine of this process, with `in_flight` at a time; returns events per second.
pub(crate) async fn once_each(
    engine: &Engine,
    in_flight: usize,
    boards: u64,
    event: &'static str,
) -> io::Result<f64> {
    let step = u64::try_from(in_flight).map_err(io::Error::other)?;
    let began = Instant::now();
    let mut tasks: JoinSet<io::Result<usize>> = JoinSet::new();
    for first in 0..step {
        let mut caller = LoadCaller::InProcess(engine.clone());
        tasks.spawn(async move {
            let mut reported = 0;
            for board in (first..boards).step_by(in_flight) {
                caller.report(board, event).await?;
                reported += 1;
            }
            Ok(reported)
        });
    }
    let mut all = 0;
    while let Some(result) = tasks.join_next().await {
        all += result??;
    }
    Ok(float(all) / began.elapsed().as_secs_f64())
}

/// Runs a load from a second process against `server`.
pub(crate) async fn from_second_process(
    server: SocketAddr,
    plan: LoadPlan,
) -> Result<LoadMeasurement, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["load", "--server", &server.to_string()]);
    for (name, value) in [
        ("--in-flight", u128::try_from(plan.in_flight)?),
        ("--boards", plan.boards.into()),
        ("--warm-ms", plan.warm.as_millis()),
        ("--span-ms", plan.span.as_millis()),
    ] {
        command.arg(name).arg(value.to_string());
    }
    // The second process competes with the server for processor time; one thread needs the least.
    command.env("TOKIO_WORKER_THREADS", "1");
    let output = command.process_group(0).kill_on_drop(true).output().await?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the load failed: {}", stderr.trim_end()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs the hidden command of the second process, which prints its result as JSON.
pub(crate) async fn run(options: LoadProcessOptions) -> Result<(), Box<dyn Error>> {
    let LoadProcessOptions { server, in_flight, boards, warm_ms, span_ms } = options;
    let mut callers = Vec::new();
    for _ in 0..in_flight {
        callers.push(LoadCaller::Http(BenchConnection::open(server).await?));
    }
    let (warm, span) = (Duration::from_millis(warm_ms), Duration::from_millis(span_ms));
    let load = drive(callers, LoadPlan { in_flight, boards, warm, span }).await?;
    Ok(output::print(&serde_json::to_string(&load)?)?)
}
