//! An engine begins.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::activation::{self, ActivationContext, LoadedDefinition};
use super::definition_cache::DefinitionCache;
use super::error::EngineError;
use super::face::Faces;
use super::feed::ChangeFeed;
use super::handle::{Engine, EngineInner};
use super::housekeeping::{self, ClockConfirmation};
use super::instance_cache::InstanceCache;
use super::retention::Retention;
use super::retry_counters::RetryCounters;
use super::work_queue::WorkQueue;
use super::{
    cached_view, diagram_cache, dwell_times, pending_findings, running_actions, timekeeping, troubles,
    turn_times,
};
use crate::clock::Clock;
use crate::machine::Vocabulary;
use crate::model::Models;
use crate::store::changes::{self, ChangeCursor, ChangeOrigin};
use crate::store::{StartupWait, Store};
use crate::worker::Worker;

/// What an engine is made of.
pub struct EngineParts {
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
pub struct EngineOptions {
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
    /// [`EngineError::StrandsInstances`] when an instance is in a state that its definition does not have.
    pub async fn new(
        parts: EngineParts,
        loaded: Vec<LoadedDefinition>,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let EngineParts { store, clock, worker, models, vocabulary, faces } = parts;
        let EngineOptions { retention, event_timeout } = options;
        let origin = changes::new_origin();
        let mut waiting = StartupWait::default();
        let (rules, seen) = loop {
            match join_and_activate(&store, origin, (&vocabulary, &loaded), &*clock).await {
                Ok(found) => break found,
                // It went away since it was connected to.
                Err(EngineError::Store(error)) => waiting.wait(error).await?,
                Err(error) => return Err(error),
            }
        };
        let queue = WorkQueue::new(Arc::clone(&clock));
        let inner = EngineInner {
            store,
            definitions: rules,
            clock,
            worker,
            models,
            faces,
            origin,
            retention,
            started_at: Instant::now(),
            event_timeout,
            running: running_actions::RunningActions::default(),
            troubles: troubles::TroubleTracker::default(),
            findings: pending_findings::PendingFindings::default(),
            queue,
            instance_cache: InstanceCache::default(),
            retries: RetryCounters::default(),
            actions_changed: Notify::new(),
            written: Notify::new(),
            feed: ChangeFeed::new(seen),
            state_counts: cached_view::StateCountsByMachine::default(),
            dwell_times: dwell_times::DwellTimesByMachine::default(),
            turn_times: turn_times::TurnTimes::default(),
            farm_time: timekeeping::FarmTime::default(),
            diagrams: diagram_cache::DiagramCache::default(),
        };
        let engine = Self { inner: Arc::new(inner) };
        match housekeeping::run_round(&engine, &mut ClockConfirmation::default()).await {
            // It is tried again while we serve, and the default partition takes what comes meanwhile.
            Err(error) if error.is_transient() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "history could not be tidied yet");
            }
            result => result?,
        }
        Ok(engine)
    }
}

/// Takes the time of the servers that run, puts `loaded` in force, and gives what is in force then and what has been told.
async fn join_and_activate(
    store: &Store,
    origin: ChangeOrigin,
    (vocabulary, loaded): (&Arc<Vocabulary>, &[LoadedDefinition]),
    clock: &dyn Clock,
) -> Result<(DefinitionCache, ChangeCursor), EngineError> {
    timekeeping::join_farm_time(&mut *store.reader().await?, clock).await?;
    let adopting =
        ActivationContext { vocabulary, origin, loaded_together: &[], sender: None, now: clock.now() };
    let rules = activation::activate_at_start(store, loaded, adopting).await?;
    let seen = changes::current_cursor(&mut *store.reader().await?).await?;
    Ok((rules, seen))
}
