//! Housekeeping: tomorrow's partitions of history are there before tomorrow is, and what is too old goes.
//!
//! Every process does so, and whoever comes second finds it done. What could not be done is tried again, and nothing
//! waits for it: where there is no partition for a day, the default one takes the day's entries until there is.
//!
//! Nothing is dropped on one reading of a clock: this process's time, its machine's wall clock and the database's clock must
//! agree in several rounds running, and each round drops one day at most.

use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, Days, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::handle::Engine;
use crate::clock::{Clock, sleep_real_time, time_after};
use crate::store::{Store, StoreError, partitions};

/// How many days have their partitions ahead of time: a week in which nobody has to look at a fault.
const PARTITIONS_AHEAD: Days = Days::new(7);
/// The time from one round to the next, on the farm's clock.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_hours(1);
/// The time to the next round after one that failed, in real time: somebody held a lock, or the database was away.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// How far apart clocks that agree may be.
const MAX_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::minutes(5);
/// In how many rounds running the clocks must have agreed before anything is dropped.
const REQUIRED_CONFIRMATIONS: u32 = 3;

/// Whether the time is known well enough to drop what is too old by it.
#[derive(Debug, Default)]
pub(super) struct ClockConfirmation {
    /// In how many rounds running the clocks agreed.
    agreed_rounds: u32,
    is_warned: bool,
}

impl ClockConfirmation {
    /// Compares the clocks once more; true when they have agreed often enough. A clock that follows no wall clock, as in
    /// tests and the demo, needs no confirmation.
    fn confirm(&mut self, clock: &dyn Clock, database: DateTime<Utc>) -> bool {
        let Some(wall) = clock.wall() else { return true };
        let own = clock.now();
        let agree = |one: DateTime<Utc>, other: DateTime<Utc>| (one - other).abs() <= MAX_CLOCK_DIFFERENCE;
        if agree(own, wall) && agree(wall, database) && agree(database, own) {
            self.agreed_rounds = self.agreed_rounds.saturating_add(1);
            self.is_warned = false;
        } else {
            self.agreed_rounds = 0;
            if !std::mem::replace(&mut self.is_warned, true) {
                tracing::warn!(%own, %wall, %database, "clocks disagree: no history is dropped until they agree");
            }
        }
        self.agreed_rounds >= REQUIRED_CONFIRMATIONS
    }
}

/// Keeps house until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    for face in engine.inner.faces.iter() {
        face.start(engine.store()).await;
    }
    let mut confirmation = ClockConfirmation::default();
    let mut is_well = true;
    // A dump that was restored may lack the days since.
    let mut life = engine.store().follow_life();
    while !stop.is_cancelled() {
        let next_at = time_after(engine.clock().now(), HOUSEKEEPING_INTERVAL);
        let done = tokio::select! {
            done = run_round(&engine, &mut confirmation) => done,
            () = stop.cancelled() => return,
        };
        match &done {
            Ok(()) if !is_well => tracing::info!("housekeeping of history works again"),
            Err(error) if is_well => {
                tracing::warn!(
                    error = error as &dyn Error,
                    "housekeeping of history failed and is tried again"
                );
            }
            Ok(()) | Err(_) => {}
        }
        is_well = done.is_ok();
        tokio::select! {
            () = stop.cancelled() => {}
            () = engine.clock().sleep_until(next_at), if is_well => {}
            Ok(()) = life.changed() => {}
            () = sleep_real_time(RETRY_INTERVAL), if !is_well => {}
        }
    }
}

/// Makes what will be needed, and drops one day of what is too old.
pub(super) async fn run_round(
    engine: &Engine,
    confirmation: &mut ClockConfirmation,
) -> Result<(), StoreError> {
    let now = engine.clock().now();
    let today = now.date_naive();
    let last = today.checked_add_days(PARTITIONS_AHEAD).unwrap_or(today);
    let store = engine.store();
    let made = store.within(Store::MAX_STATEMENT_TIME, partitions::ensure(store, today, last)).await?;
    if made > 0 {
        tracing::info!(made, "made partitions of history");
    }
    let database = store.within(Store::MAX_STATEMENT_TIME, partitions::database_time(store)).await?;
    let is_confirmed = confirmation.confirm(engine.clock(), database);
    if let Some(horizon) = engine.inner.retention.horizon(now).filter(|_| is_confirmed)
        && let Some(day) = store
            .within(Store::MAX_STATEMENT_TIME, partitions::drop_oldest_before(store, horizon.date_naive()))
            .await?
    {
        tracing::info!(%day, "dropped a partition of history");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;

    /// A clock that shows one time while its machine's wall shows another.
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
    fn time_is_confirmed_when_all_clocks_agreed_three_times_running() {
        let now = DateTime::UNIX_EPOCH;
        let later = now + TimeDelta::days(400);
        let right = Readings { own: now, wall: now };
        let mut confirmation = ClockConfirmation::default();
        let mut confirm = |clock: &Readings, database| confirmation.confirm(clock, database);
        assert_eq!([(); 3].map(|()| confirm(&right, now)), [false, false, true]);
        // Whichever clock is wrong, once: it begins anew.
        let apart = now + TimeDelta::seconds(301);
        for (own, wall, database) in
            [(later, now, now), (now, later, now), (now, now, later), (now, now, apart)]
        {
            assert!(!confirm(&Readings { own, wall }, database));
            assert_eq!([(); 3].map(|()| confirm(&right, now + TimeDelta::minutes(5))), [false, false, true]);
        }
    }
}
