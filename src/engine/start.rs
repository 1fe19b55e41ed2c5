//! An engine begins.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::activation::{self, Adopting, Loaded};
use super::error::EngineError;
use super::face::Faces;
use super::feed::Feed;
use super::handle::{Engine, Inner};
use super::housekeeping::{self, Confirmation};
use super::queue::Queue;
use super::recent::Recent;
use super::retention::Retention;
use super::retries::Retries;
use super::rules::Rules;
use super::{dwell_times, findings, kept, pictures, running, timekeeping, troubles, turn_times};
use crate::clock::Clock;
use crate::machine::Vocabulary;
use crate::model::Models;
use crate::store::changes::{self, Cursor, Origin};
use crate::store::{StartupWait, Store};
use crate::worker::Worker;

/// What an engine is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The farm's clock.
    pub clock: Arc<dyn Clock>,
    /// Who carries actions out.
    pub worker: Worker,
    /// The models that this process hosts.
    pub models: Models,
    /// What definitions may name.
    pub vocabulary: Arc<Vocabulary>,
    /// What is known of what instances stand for.
    pub faces: Faces,
}

/// How an engine is to work.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long history is kept.
    pub retention: Retention,
    /// How long an event may wait for its answer.
    pub event_timeout: Duration,
}

impl Engine {
    /// Makes an engine that follows the definitions in force, with `loaded` among them, and sees to it that history has
    /// room for today.
    ///
    /// # Errors
    ///
    /// [`EngineError::Strands`] when an instance is in a state that its definition does not have.
    pub async fn new(parts: Parts, loaded: Vec<Loaded>, options: Options) -> Result<Self, EngineError> {
        let Parts { store, clock, worker, models, vocabulary, faces } = parts;
        let Options { retention, event_timeout } = options;
        let origin = changes::new_origin();
        let mut waiting = StartupWait::default();
        let (rules, seen) = loop {
            match look_around(&store, origin, (&vocabulary, &loaded), &*clock).await {
                Ok(found) => break found,
                // It went away since it was connected to.
                Err(EngineError::Store(error)) => waiting.wait(error).await?,
                Err(error) => return Err(error),
            }
        };
        let queue = Queue::new(Arc::clone(&clock));
        let inner = Inner {
            store,
            rules,
            clock,
            worker,
            models,
            faces,
            origin,
            retention,
            began: Instant::now(),
            event_timeout,
            running: running::Running::default(),
            troubles: troubles::Troubles::default(),
            findings: findings::Pending::default(),
            queue,
            recent: Recent::default(),
            retries: Retries::default(),
            actions_changed: Notify::new(),
            written: Notify::new(),
            feed: Feed::new(seen),
            counts: kept::ByMachine::default(),
            usual: dwell_times::ByMachine::default(),
            turn_times: turn_times::TurnTimes::default(),
            farm_time: timekeeping::FarmTime::default(),
            pictures: pictures::Pictures::default(),
        };
        let engine = Self { inner: Arc::new(inner) };
        match housekeeping::round(&engine, &mut Confirmation::default()).await {
            // It is tried again while we serve, and the default partition takes what comes meanwhile.
            Err(error) if error.is_passing() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "history could not be tidied yet");
            }
            result => result?,
        }
        Ok(engine)
    }
}

/// Takes the time of the servers that run, puts `loaded` in force, and gives what is in force then and what has been told.
async fn look_around(
    store: &Store,
    origin: Origin,
    (vocabulary, loaded): (&Arc<Vocabulary>, &[Loaded]),
    clock: &dyn Clock,
) -> Result<(Rules, Cursor), EngineError> {
    timekeeping::join(&mut *store.reader().await?, clock).await?;
    let adopting = Adopting { vocabulary, origin, beside: &[], sender: None, now: clock.now() };
    let rules = activation::begin(store, loaded, adopting).await?;
    let seen = changes::state(&mut *store.reader().await?).await?;
    Ok((rules, seen))
}
