//! From the start of a process to its first deadline and its first answer, with very many instances armed.

use std::time::Duration;

use clock::{Clock, SystemClock};

use super::deadlines::{arm_far, seconds};
use super::failure::Failure;
use crate::bench::{Bench, Lives};
use crate::client::Connection;
use crate::database::{BenchDatabase, Boards, Scratch};
use crate::patience::until;
use crate::report::Report;
use crate::report::{Row, Target};

/// How many are due when the process starts.
const DUE: i64 = 10;
/// How long the first may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Measures.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<(), Failure> {
    let mut many = bench.postgres.make(Scratch::One).await?;
    arm_far(&mut many, bench.sizes.armed).await?;
    let mut none = bench.postgres.make(Scratch::Two).await?;
    // What is started again was killed.
    bench.serve(Scratch::One, Lives::Bench).await?.kill().await?;
    bench.serve(Scratch::Two, Lives::Bench).await?.kill().await?;
    let (mut fired, mut answered) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for round in 1..=bench.sizes.repeats {
        tracing::info!("start: round {round} of {}", bench.sizes.repeats);
        let first = bench.sizes.armed + DUE * i64::try_from(round)?;
        for (index, (scratch, database)) in
            [(Scratch::One, &mut many), (Scratch::Two, &mut none)].into_iter().enumerate()
        {
            let (first_fired, first_answered) = start(bench, scratch, database, first).await?;
            fired[index].push(first_fired);
            answered[index].push(first_answered);
        }
    }
    for (what, [with, without]) in [("the first due one has fired", fired), ("HTTP answers", answered)] {
        let what = format!("start with {} instances armed, until {what}", bench.sizes.armed);
        let row = Row::new("start", what, "s", with).beside("with none", without);
        report.add(row.target(Target::AtMost(5.0)));
    }
    Ok(())
}

/// Starts a server and kills it: seconds until the first due one was committed, and until it answered.
async fn start(
    bench: &Bench,
    scratch: Scratch,
    database: &mut BenchDatabase,
    first: i64,
) -> Result<(f64, f64), Failure> {
    let at = SystemClock.now();
    let boards = Boards { first, count: DUE, state: "Armed", due: Some((at, 1e9)), at, ..Boards::default() };
    database.fill(&boards).await?;
    let armed = database.list_armed(at, at + chrono::TimeDelta::seconds(1)).await?;
    let server = bench.serve(scratch, Lives::Bench).await?;
    let answer = Connection::open(server.http).await?.get("/readyz", "").await?;
    let answered_at = SystemClock.now();
    if answer.status != 200 {
        return Err(format!("GET /readyz: {}", answer.status).into());
    }
    let mut first_at = None;
    until(PATIENCE, async || {
        first_at = database.list_fired(&armed).await?.iter().filter_map(|one| one.committed_at).min();
        Ok(first_at.is_some())
    })
    .await?;
    let first_at = first_at.ok_or("no deadline fired")?;
    let spawned_at = server.spawned_at;
    server.kill().await?;
    Ok((seconds(first_at - spawned_at), seconds(answered_at - spawned_at)))
}
