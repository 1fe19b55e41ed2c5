//! Housekeeping: tomorrow's partitions of history are there before tomorrow is, and what is too old goes.
//!
//! Every process does so, and whoever comes second finds it done. What could not be done is tried again, and nothing
//! waits for it: where there is no partition for a day, the default one takes the day's entries until there is.

use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Days, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::{Engine, outlets};
use crate::clock::{after, pause};
use crate::machine::parse_span;
use crate::store::{StoreError, partitions};

/// How many days have their partitions ahead of time: a week in which nobody has to look at a fault.
const AHEAD: Days = Days::new(7);
/// The time from one round to the next, on the farm's clock.
const PERIOD: Duration = Duration::from_hours(1);
/// The same after a round that failed, in real time: somebody held a lock, or the database was away.
const SOON: Duration = Duration::from_secs(10);

/// How long history is kept. It goes by whole days (UTC), each once its last moment is that old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// So long.
    For(Duration),
    /// Until somebody drops it by hand.
    Forever,
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        match parse_span(text) {
            Ok(span) if span.is_zero() => Err("what happens must be kept for some time".to_owned()),
            Ok(span) => Ok(Self::For(span)),
            Err(error) => Err(format!("{error}; write it like `90d`, `12h` or `forever`")),
        }
    }
}

impl Retention {
    /// The moment before which nothing needs to be kept any more.
    fn horizon(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::For(span) => now.checked_sub_signed(TimeDelta::from_std(span).ok()?),
            Self::Forever => None,
        }
    }
}

/// Keeps house until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    outlets::learn(&engine).await;
    let mut is_well = true;
    while !stop.is_cancelled() {
        let next_at = after(engine.clock().now(), PERIOD);
        let done = round(&engine).await;
        if let Err(error) = &done
            && std::mem::replace(&mut is_well, false)
        {
            tracing::warn!(error = error as &dyn Error, "history cannot be tidied yet");
        }
        is_well = done.is_ok();
        tokio::select! {
            () = stop.cancelled() => {}
            () = engine.clock().sleep_until(next_at), if is_well => {}
            () = pause(SOON), if !is_well => {}
        }
    }
}

/// Makes what will be needed and drops what is too old.
pub(super) async fn round(engine: &Engine) -> Result<(), StoreError> {
    let now = engine.clock().now();
    let today = now.date_naive();
    let last = today.checked_add_days(AHEAD).unwrap_or(today);
    let made = partitions::ensure(engine.store(), today, last).await?;
    let dropped = match engine.inner.retention.horizon(now) {
        Some(horizon) => partitions::drop_before(engine.store(), horizon.date_naive()).await?,
        None => 0,
    };
    if made > 0 || dropped > 0 {
        tracing::info!(made, dropped, "history has its days");
    }
    Ok(())
}
