//! Synchronizes the clock of this process with the farm time.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::deadlines::Deadlines;
use super::handle::Engine;
use super::timekeeping::{CLOCK_WARNING_THRESHOLD, seconds, set_clock};
use super::work_item::InstanceNote;
use crate::clock::sleep_real_time;
use crate::formatting;
use crate::store::instances::InstanceId;

/// The interval of synchronization, in real time.
const CLOCK_SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of instances in whose history a clock step is recorded: those with the next deadlines.
const MAX_NOTED_INSTANCES: usize = 1000;
/// The number of consecutive readings that must differ before the clock is set; a single one can be late.
const REQUIRED_READINGS: usize = 3;

/// Synchronizes the clock until `stop`, and reports steps of the wall clock.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let mut readings = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_real_time(CLOCK_SYNC_INTERVAL) => {}
        }
        let clock = engine.clock();
        let own = clock.now();
        let target = engine.inner.farm_time.target(own);
        // This server started while it could not see the others; stored times are in their time.
        let is_other = target.is_some_and(|target| (target - own).abs() >= CLOCK_WARNING_THRESHOLD);
        readings = if is_other { readings + 1 } else { 0 };
        if readings >= REQUIRED_READINGS
            && let Some(target) = target
        {
            set_clock(clock, target);
            readings = 0;
        }
        if let Some(step) = clock.follow(target) {
            let step_s = seconds(step);
            tracing::warn!(step_s, "wall clock stepped, deadlines run on elapsed time");
            tokio::select! {
                () = stop.cancelled() => return,
                () = note_step(&engine, step) => {}
            }
        }
    }
}

/// Records a clock step in the history of instances of this server's share whose deadlines run.
async fn note_step(engine: &Engine, step: TimeDelta) {
    let note = |id| {
        let direction = if step > TimeDelta::zero() { "forward" } else { "back" };
        let span = Duration::from_secs(step.num_seconds().unsigned_abs());
        let span = formatting::duration(span);
        let evidence = Map::from_iter([("step_s".to_owned(), Value::from(seconds(step)))]);
        let reason = Some(format!(
            "the server's wall clock was put {direction} by {span}; the deadline runs on elapsed time"
        ));
        engine.note(id, InstanceNote { name: "clock-stepped", sender: None, evidence, reason })
    };
    let mut notes = instances_to_note(engine.inner.queue.deadlines())
        .into_iter()
        .map(note)
        .collect::<FuturesUnordered<_>>();
    let mut failed = 0_usize;
    while let Some(noted) = notes.next().await {
        failed += usize::from(noted.is_err());
    }
    if failed > 0 {
        tracing::debug!(failed, "clock step not recorded for all instances");
    }
}

/// Lists the instances in whose history a clock step is recorded.
fn instances_to_note(deadlines: &Deadlines) -> Vec<InstanceId> {
    deadlines.next_of_share(MAX_NOTED_INSTANCES)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::engine::deadlines::DeadlineShare;
    use crate::machine::Visit;
    use crate::store::DatabaseLife;

    #[test]
    fn a_clock_step_is_recorded_for_the_next_deadlines_only() {
        let deadlines = Deadlines::default();
        for number in 0..1200 {
            let at = DateTime::from_timestamp(2000 - number, 0);
            deadlines.update(DatabaseLife::default(), InstanceId(number), Visit(1), at);
        }
        let noted = |deadlines| instances_to_note(deadlines).into_iter().map(|id| id.0).collect::<Vec<_>>();
        assert!(noted(&deadlines).into_iter().eq((200..1200).rev()));
        deadlines.set_share(DeadlineShare { rank: 1, of: 2 });
        assert!(noted(&deadlines).into_iter().eq((0..1200).rev().filter(|number| number % 2 == 1)));
    }
}
