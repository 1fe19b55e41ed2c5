//! Takeover after one of two processes is killed under load: time until deadlines fire on time again, and until its actions
//! run again.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use clock::{Clock, SystemClock, sleep_real_time};

use super::deadlines::{drain, lateness_ms, seconds};
use super::failure::FigureError;
use crate::bench::{Bench, BoardDefinition};
use crate::client::BenchConnection;
use crate::database::{ScratchDatabase, SeededBoards};
use crate::listener::PollListener;
use crate::load::{self, LoadPlan, report as report_event};
use crate::report::BenchReport;
use crate::report::{FigureTarget, ReportRow};
use crate::timeouts::within;

/// Number of events in flight.
const EVENTS_IN_FLIGHT: usize = 16;
/// Time with due deadlines before the kill.
const TIME_BEFORE_KILL: TimeDelta = TimeDelta::seconds(2);
/// Lateness from which on a deadline is late, in milliseconds.
const LATE_MS: f64 = 50.0;
/// Maximum time until all actions run, or run again.
const ACTIONS_TIMEOUT: Duration = Duration::from_mins(1);

/// Measurements of one round.
struct TakeoverFigures {
    deadlines_s: f64,
    worst_before_s: f64,
    actions_s: Option<f64>,
    at_first_s: f64,
    taken: usize,
}

/// Measures the figure.
pub(super) async fn run(bench: &Bench, report: &mut BenchReport) -> Result<(), FigureError> {
    let mut found = Vec::new();
    for round in 1..=bench.sizes.watches {
        tracing::info!("takeover: round {round} of {}", bench.sizes.watches);
        found.push(kill_one(bench).await?);
    }
    let of = |value: fn(&TakeoverFigures) -> f64| found.iter().map(value).collect::<Vec<f64>>();
    let per_second = bench.sizes.takeover_per_second;
    let what =
        format!("kill -9 of one of two, until deadlines ({per_second}/s) fire within {LATE_MS} ms again");
    let row = ReportRow::new("takeover", what, "s", of(|round| round.deadlines_s))
        .target(FigureTarget::AtMost(2.0));
    report.add(row.beside("the latest one before the kill", of(|round| round.worst_before_s)));
    let taken: Vec<String> = found.iter().map(|round| round.taken.to_string()).collect();
    let again = found.iter().filter_map(|round| round.actions_s).collect();
    let row =
        ReportRow::new("takeover", "kill -9 of one of two, until all its actions run again", "s", again);
    let row = row
        .target(FigureTarget::AtMost(2.0))
        .note(format!("it ran {} actions when it was killed", taken.join(", ")));
    report.add(row.beside("handing out all actions at first", of(|round| round.at_first_s)));
    Ok(())
}

async fn kill_one(bench: &Bench) -> Result<TakeoverFigures, FigureError> {
    let sizes = &bench.sizes;
    let mut listener = PollListener::bind().await?;
    let mut database = bench.postgres.make(ScratchDatabase::One).await?;
    let (boards, at) = (sizes.boards, SystemClock.now());
    let actions = i64::try_from(sizes.takeover_actions)?;
    // The last boards run actions, the others send events.
    let (count, poll_port) = (boards + actions, Some(listener.port));
    database.fill(&SeededBoards { count, state: "A", poll_port, at, ..SeededBoards::default() }).await?;
    database.settle().await?;
    let lead = TimeDelta::seconds(i64::from(sizes.lead_s) * 2);
    let seconds_after = TimeDelta::seconds(i64::from(sizes.due_s) + 2);
    let begin = SystemClock.now() + lead;
    let end = begin + TIME_BEFORE_KILL + seconds_after;
    let due = Some((begin, f64::from(sizes.takeover_per_second)));
    let due_count = i64::from(sizes.takeover_per_second) * (end - begin).num_seconds();
    let armed =
        SeededBoards { first: count, count: due_count, state: "Armed", due, at, ..SeededBoards::default() };
    database.fill(&armed).await?;
    let armed = database.list_armed(begin, end).await?;
    let victim = bench.serve(ScratchDatabase::One, BoardDefinition::Bench).await?;
    let survivor = bench.serve(ScratchDatabase::One, BoardDefinition::Bench).await?;

    let asked_at = Instant::now();
    let (mut first, mut second) =
        (BenchConnection::open(victim.http).await?, BenchConnection::open(survivor.http).await?);
    for (board, is_first) in
        (u64::try_from(boards)?..u64::try_from(count)?).zip([true, false].into_iter().cycle())
    {
        report_event(if is_first { &mut first } else { &mut second }, board, "poll").await?;
    }
    let all = (u64::try_from(boards)?..u64::try_from(count)?).collect();
    let polled_at = polled(&mut listener, all).await?.ok_or("the actions were not handed out in time")?;
    let at_first_s = polled_at.saturating_duration_since(asked_at).as_secs_f64();
    if SystemClock.now() > begin {
        return Err("the servers were not ready before the first deadline fell due".into());
    }

    let span = (end - SystemClock.now()).to_std().unwrap_or_default();
    let plan =
        LoadPlan { in_flight: EVENTS_IN_FLIGHT, boards: boards.try_into()?, warm: Duration::ZERO, span };
    let events = load::from_second_process(survivor.http, plan);
    let kill = async {
        sleep_real_time((begin + TIME_BEFORE_KILL - SystemClock.now()).to_std().unwrap_or_default()).await;
        let names = database.list_running_of(victim.pid).await?;
        let taken: HashSet<u64> =
            names.iter().filter_map(|name| name.trim_start_matches('b').parse().ok()).collect();
        listener.discard();
        let killed = Instant::now();
        let killed_at = victim.kill().await?;
        let count = taken.len();
        let again_at = polled(&mut listener, taken).await?;
        let again = again_at.map(|at| at.saturating_duration_since(killed).as_secs_f64());
        drain(&mut database, end).await?;
        Ok::<_, FigureError>((killed_at, count, again))
    };
    let (events, kill) = tokio::join!(events, kill);
    events?;
    let (killed_at, taken, actions_s) = kill?;
    survivor.stop().await?;
    let fired = database.list_fired(&armed).await?;
    let late = lateness_ms(&fired);
    let before = fired
        .iter()
        .zip(&late)
        .filter(|(deadline, _)| deadline.committed_at.is_some_and(|at| at < killed_at));
    let before: Vec<f64> = before.map(|(_, late)| late / 1e3).collect();
    let worst_before_s = statistics::percentile(&before, 100).unwrap_or_default();
    // Time until the last late deadline was handled; zero if none was late.
    let after =
        fired.iter().zip(&late).filter(|(deadline, late)| deadline.due_at >= killed_at && **late >= LATE_MS);
    let last = after.map(|(deadline, _)| deadline.committed_at.unwrap_or_else(|| SystemClock.now())).max();
    let deadlines_s = last.map_or(0.0, |last| seconds(last - killed_at));
    // Actions of the killed server that did not run again in time count with the timeout.
    let actions_s = if taken > 0 { Some(actions_s.unwrap_or(ACTIONS_TIMEOUT.as_secs_f64())) } else { None };
    Ok(TakeoverFigures { deadlines_s, worst_before_s, actions_s, at_first_s, taken })
}

/// The time at which the last of `boards` was polled; `None` on timeout.
async fn polled(
    listener: &mut PollListener,
    mut boards: HashSet<u64>,
) -> Result<Option<Instant>, FigureError> {
    let all = async {
        let mut last = Instant::now();
        while !boards.is_empty() {
            let (board, at) = listener.next().await?;
            if boards.remove(&board) {
                last = at;
            }
        }
        Ok::<_, std::io::Error>(last)
    };
    Ok(within(ACTIONS_TIMEOUT, all).await.transpose()?)
}
