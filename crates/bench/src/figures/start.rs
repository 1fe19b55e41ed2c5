//! Time from the start of a process to its first deadline and its first answer, with many armed instances.

use std::time::Duration;

use clock::{Clock, SystemClock};

use super::deadlines::{arm_far, seconds};
use super::failure::FigureError;
use crate::bench::{Bench, BoardDefinition};
use crate::client::BenchConnection;
use crate::database::{BenchDatabase, ScratchDatabase, SeededBoards};
use crate::report::BenchReport;
use crate::report::{FigureTarget, ReportRow};
use crate::timeouts::until;

/// Number of deadlines due when the process starts.
const DUE_DEADLINES: i64 = 10;
/// Maximum time until the first deadline fires.
const FIRST_DEADLINE_TIMEOUT: Duration = Duration::from_mins(5);

/// Measures the figure.
pub(super) async fn run(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    let mut many = bench.postgres.make(ScratchDatabase::One).await?;
    arm_far(&mut many, bench.sizes.armed).await?;
    let mut none = bench.postgres.make(ScratchDatabase::Two).await?;
    // Servers are restarted after a kill.
    bench.serve(ScratchDatabase::One, BoardDefinition::Bench).await?.kill().await?;
    bench.serve(ScratchDatabase::Two, BoardDefinition::Bench).await?.kill().await?;
    let (mut fired, mut answered) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for round in 1..=bench.sizes.repeats {
        tracing::info!("start: round {round} of {}", bench.sizes.repeats);
        let first = bench.sizes.armed + DUE_DEADLINES * i64::try_from(round)?;
        for (index, (scratch, database)) in
            [(ScratchDatabase::One, &mut many), (ScratchDatabase::Two, &mut none)].into_iter().enumerate()
        {
            let (first_fired, first_answered) = start(bench, scratch, database, first).await?;
            fired[index].push(first_fired);
            answered[index].push(first_answered);
        }
    }
    for (what, [with, without]) in [("the first due deadline has fired", fired), ("HTTP answers", answered)] {
        let what = format!("start with {} instances armed, until {what}", bench.sizes.armed);
        let row = ReportRow::new("start", what, "s", with).beside("with none", without);
        report.add(row.target(FigureTarget::AtMost(5.0)));
    }
    Ok(())
}

/// Starts a server and kills it; returns the seconds until the first deadline was committed and until the first answer.
async fn start(
    bench: &Bench,
    scratch: ScratchDatabase,
    database: &mut BenchDatabase,
    first: i64,
) -> Result<(f64, f64), FigureError> {
    let at = SystemClock.now();
    let boards = SeededBoards {
        first,
        count: DUE_DEADLINES,
        state: "Armed",
        due: Some((at, 1e9)),
        at,
        ..SeededBoards::default()
    };
    database.fill(&boards).await?;
    let armed = database.list_armed(at, at + chrono::TimeDelta::seconds(1)).await?;
    let server = bench.serve(scratch, BoardDefinition::Bench).await?;
    let answer = BenchConnection::open(server.http).await?.get("/readyz", "").await?;
    let answered_at = SystemClock.now();
    if answer.status != 200 {
        return Err(format!("GET /readyz: {}", answer.status).into());
    }
    let mut first_at = None;
    until(FIRST_DEADLINE_TIMEOUT, async || {
        first_at =
            database.list_fired(&armed).await?.iter().filter_map(|deadline| deadline.committed_at).min();
        Ok(first_at.is_some())
    })
    .await?;
    let first_at = first_at.ok_or("no deadline fired")?;
    let spawned_at = server.spawned_at;
    server.kill().await?;
    Ok((seconds(first_at - spawned_at), seconds(answered_at - spawned_at)))
}
