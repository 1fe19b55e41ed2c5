//! The farm's time: one for all servers on a database, and none that jumps.
//!
//! Deadlines are stored as times, and any server may fire them. So all servers keep the time of the one that has run for
//! longest: who starts joins it, whoever runs follows it, and it follows its machine's wall clock, slowly. A wall clock that
//! is stepped, or that differs from the others', neither fires deadlines early nor late.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::deadlines::Deadlines;
use super::work::Note;
use crate::clock::{self, Clock, pause};
use crate::store::instances::InstanceId;
use crate::store::{Connection, StoreError, workers};

/// How often the clock is led, in real time.
const PERIOD: Duration = Duration::from_secs(1);
/// For how long another server's time is followed after it was last told.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// In the history of how many instances a step is noted at most: those whose deadlines come next.
const MAX_NOTED: usize = 1000;
/// So many readings running show that this server's time is not the farm's: one may have come late.
const READINGS: usize = 3;
/// A difference that is worth a warning.
const REMARKABLE: TimeDelta = TimeDelta::seconds(1);

/// What is known of the farm's time, and since when: the time of another server, or none where this one's is the farm's.
#[derive(Debug, Default)]
pub(super) struct FarmTime(Mutex<Option<(Instant, Option<DateTime<Utc>>)>>);

impl FarmTime {
    /// Takes what another server tells; `None` where this one's time is the farm's.
    pub(super) fn learn(&self, time: Option<DateTime<Utc>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), time));
    }

    /// What a clock that shows `own` is to follow: `None` is the wall clock. While the database is away nobody knows, and
    /// it goes on as it is.
    fn target(&self, own: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.map(|(told_at, time)| (told_at.elapsed(), time)) {
            Some((age, time)) if age <= FRESH_FOR => time.map(|time| clock::after(time, age)),
            Some(_) | None => Some(own),
        }
    }
}

/// Takes the time of the servers that run for this one's.
///
/// # Errors
///
/// [`StoreError`] when the database does not say.
pub(super) async fn join(db: &mut Connection, clock: &dyn Clock) -> Result<(), StoreError> {
    if let Some(time) = workers::find_time(db).await? {
        take(clock, time);
    }
    Ok(())
}

fn take(clock: &dyn Clock, time: DateTime<Utc>) {
    let ahead = clock.join(time);
    if ahead.abs() >= REMARKABLE {
        tracing::warn!(
            ahead_s = seconds(ahead),
            "the other servers' time differs from this machine's clock and is used"
        );
    }
}

/// Leads the clock until `stop`, and tells when the wall clock was stepped.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let mut readings = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = pause(PERIOD) => {}
        }
        let clock = engine.clock();
        let own = clock.now();
        let target = engine.inner.farm_time.target(own);
        // This server started while the others could not be seen: what is stored was meant by their time.
        let is_other = target.is_some_and(|target| (target - own).abs() >= REMARKABLE);
        readings = if is_other { readings + 1 } else { 0 };
        if readings >= READINGS
            && let Some(target) = target
        {
            take(clock, target);
            readings = 0;
        }
        if let Some(step) = clock.follow(target) {
            let step_s = seconds(step);
            tracing::warn!(step_s, "the wall clock was stepped; deadlines run on elapsed time");
            tokio::select! {
                () = stop.cancelled() => return,
                () = note(&engine, step) => {}
            }
        }
    }
}

/// Notes a step in the history of instances whose deadlines run, of this server's share.
async fn note(engine: &Engine, step: TimeDelta) {
    let note = |id| {
        let direction = if step > TimeDelta::zero() { "forward" } else { "back" };
        let span = Duration::from_secs(step.num_seconds().unsigned_abs());
        let span = humantime::format_duration(span);
        let evidence = Map::from_iter([("step_s".to_owned(), Value::from(seconds(step)))]);
        let remark = Some(format!(
            "the server's wall clock was put {direction} by {span}; the deadline runs on elapsed time"
        ));
        engine.note(id, Note { name: "clock-stepped", sender: None, evidence, remark })
    };
    let mut notes =
        to_note(engine.inner.queue.deadlines()).into_iter().map(note).collect::<FuturesUnordered<_>>();
    let mut failed = 0_usize;
    while let Some(noted) = notes.next().await {
        failed += usize::from(noted.is_err());
    }
    if failed > 0 {
        tracing::debug!(failed, "the step of the wall clock could not be noted everywhere");
    }
}

/// In whose history a step is noted.
fn to_note(deadlines: &Deadlines) -> Vec<InstanceId> {
    deadlines.next_of_share(MAX_NOTED)
}

fn seconds(span: TimeDelta) -> f64 {
    span.as_seconds_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::deadlines::Share;
    use crate::machine::Visit;
    use crate::store::Life;

    #[test]
    fn a_step_is_noted_where_deadlines_come_next_and_not_everywhere() {
        let deadlines = Deadlines::default();
        for number in 0..1200 {
            let at = DateTime::from_timestamp(2000 - number, 0);
            deadlines.learn(Life::default(), InstanceId(number), Visit(1), at);
        }
        let noted = |deadlines| to_note(deadlines).into_iter().map(|id| id.0).collect::<Vec<_>>();
        assert!(noted(&deadlines).into_iter().eq((200..1200).rev()));
        deadlines.set_share(Share { rank: 1, of: 2 });
        assert!(noted(&deadlines).into_iter().eq((0..1200).rev().filter(|number| number % 2 == 1)));
    }
}
