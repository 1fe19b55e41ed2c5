//! Housekeeping of history: creates partitions ahead of time, and drops those beyond the retention.
//!
//! Every process does this; the second one finds it done. Failures are retried, and nothing waits for them: without a
//! partition for a day, its entries go to the default partition.
//!
//! Partitions are dropped only if the farm time, the wall clock of this machine and the clock of the database have agreed in
//! several consecutive rounds, and each round drops at most one day.

use std::time::Duration;

use chrono::{DateTime, Days, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::handle::Engine;
use crate::clock::{Clock, sleep_real_time, time_after};
use crate::formatting::with_causes;
use crate::store::{Store, StoreError, partitions};

/// The number of days for which partitions are created ahead of time: a week to repair a failure.
const PARTITIONS_AHEAD: Days = Days::new(7);
/// The interval of the rounds, in farm time.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_hours(1);
/// The time to the next round after a failure, in real time.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The maximum difference between clocks that agree.
const MAX_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::minutes(5);
/// The number of consecutive rounds in which the clocks must agree before a partition is dropped.
const REQUIRED_CONFIRMATIONS: u32 = 3;

/// The agreement of the clocks over several rounds.
#[derive(Debug, Default)]
pub(super) struct ClockConfirmation {
    /// The number of consecutive rounds in which the clocks agreed.
    agreed_rounds: u32,
    is_warned: bool,
}

impl ClockConfirmation {
    /// Compares the clocks; true when they have agreed in enough rounds. A clock that follows no wall clock, as in tests and
    /// the demo, needs no confirmation.
    fn confirm(&mut self, clock: &dyn Clock, database: DateTime<Utc>) -> bool {
        let Some(wall) = clock.wall() else { return true };
        let own = clock.now();
        let agree =
            |first: DateTime<Utc>, second: DateTime<Utc>| (first - second).abs() <= MAX_CLOCK_DIFFERENCE;
        if agree(own, wall) && agree(wall, database) && agree(database, own) {
            self.agreed_rounds = self.agreed_rounds.saturating_add(1);
            self.is_warned = false;
        } else {
            self.agreed_rounds = 0;
            if !std::mem::replace(&mut self.is_warned, true) {
                tracing::warn!(farm_time = %own, machine_clock = %wall, database_clock = %database, "clocks disagree, no history is dropped");
            }
        }
        self.agreed_rounds >= REQUIRED_CONFIRMATIONS
    }
}

/// Runs rounds of housekeeping until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    for face in engine.inner.faces.iter() {
        face.start(engine.store()).await;
    }
    let mut confirmation = ClockConfirmation::default();
    let mut is_reported = false;
    // A restored dump can lack the partitions of the days since.
    let mut life = engine.store().follow_life();
    while !stop.is_cancelled() {
        let next_at = time_after(engine.clock().now(), HOUSEKEEPING_INTERVAL);
        let done = tokio::select! {
            done = run_round(&engine, &mut confirmation) => done,
            () = stop.cancelled() => return,
        };
        match &done {
            Ok(()) if is_reported => {
                tracing::info!("housekeeping recovered");
                is_reported = false;
            }
            // The outage of the database is logged.
            Err(error) if !is_reported && error.cause().is_none() => {
                tracing::warn!(error = %with_causes(error), "housekeeping failed, will retry");
                is_reported = true;
            }
            Ok(()) | Err(_) => {}
        }
        let is_healthy = done.is_ok();
        tokio::select! {
            () = stop.cancelled() => {}
            () = engine.clock().sleep_until(next_at), if is_healthy => {}
            Ok(()) = life.changed() => {}
            () = sleep_real_time(RETRY_INTERVAL), if !is_healthy => {}
        }
    }
}

/// Creates the partitions of the next days, and drops one day beyond the retention.
pub(super) async fn run_round(
    engine: &Engine,
    confirmation: &mut ClockConfirmation,
) -> Result<(), StoreError> {
    let now = engine.clock().now();
    let today = now.date_naive();
    let last = today.checked_add_days(PARTITIONS_AHEAD).unwrap_or(today);
    let store = engine.store();
    let created = store.within(Store::MAX_STATEMENT_TIME, partitions::ensure(store, today, last)).await?;
    if created > 0 {
        tracing::info!(created, "partitions created");
    }
    let database = store.within(Store::MAX_STATEMENT_TIME, partitions::database_time(store)).await?;
    let is_confirmed = confirmation.confirm(engine.clock(), database);
    if let Some(horizon) = engine.inner.retention.horizon(now).filter(|_| is_confirmed)
        && let Some(day) = store
            .within(Store::MAX_STATEMENT_TIME, partitions::drop_oldest_before(store, horizon.date_naive()))
            .await?
    {
        tracing::info!(%day, "partition dropped");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;

    /// A clock that differs from the wall clock of its machine.
    struct Readings {
        own: DateTime<Utc>,
        wall: DateTime<Utc>,
    }

    impl Clock for Readings {
        fn now(&self) -> DateTime<Utc> {
            self.own
        }

        fn sleep_until(&self, _: DateTime<Utc>) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }

        fn wall(&self) -> Option<DateTime<Utc>> {
            Some(self.wall)
        }
    }

    #[test]
    fn the_time_is_confirmed_when_all_clocks_agreed_in_three_consecutive_rounds() {
        let now = DateTime::UNIX_EPOCH;
        let later = now + TimeDelta::days(400);
        let right = Readings { own: now, wall: now };
        let mut confirmation = ClockConfirmation::default();
        let mut confirm = |clock: &Readings, database| confirmation.confirm(clock, database);
        assert_eq!([(); 3].map(|()| confirm(&right, now)), [false, false, true]);
        // One wrong reading of any clock starts the count again.
        let apart = now + TimeDelta::seconds(301);
        for (own, wall, database) in
            [(later, now, now), (now, later, now), (now, now, later), (now, now, apart)]
        {
            assert!(!confirm(&Readings { own, wall }, database));
            assert_eq!([(); 3].map(|()| confirm(&right, now + TimeDelta::minutes(5))), [false, false, true]);
        }
    }
}
