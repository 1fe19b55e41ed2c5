//! Creation of an engine.

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
    cached_view, diagram_cache, dwell_times, failing_actions, pending_findings, running_actions, timekeeping,
    troubles, turn_times,
};
use crate::clock::Clock;
use crate::formatting::with_causes;
use crate::machine::Vocabulary;
use crate::model::Models;
use crate::store::changes::{self, ChangeCursor, ChangeOrigin};
use crate::store::{StartupWait, Store};
use crate::worker::Worker;

/// The parts of an engine.
pub struct EngineParts {
    /// The database.
    pub store: Store,
    /// The clock of the farm.
    pub clock: Arc<dyn Clock>,
    /// The worker that runs actions.
    pub worker: Worker,
    /// The hosted models.
    pub models: Models,
    /// The names that definitions can use.
    pub vocabulary: Arc<Vocabulary>,
    /// The faces.
    pub faces: Faces,
}

/// The options of an engine.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// The retention of history.
    pub retention: Retention,
    /// The time limit of an event.
    pub event_timeout: Duration,
}

impl Engine {
    /// Creates an engine, activates `loaded`, and creates the partitions of history for the next days.
    ///
    /// # Errors
    ///
    /// [`EngineError::StrandsInstances`] when an instance is in a state that its definition does not have; otherwise those of
    /// [`activate`](Self::activate).
    pub async fn new(
        parts: EngineParts,
        loaded: Vec<LoadedDefinition>,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let EngineParts { store, clock, worker, models, vocabulary, faces } = parts;
        let EngineOptions { retention, event_timeout } = options;
        let origin = changes::new_origin();
        let mut startup_wait = StartupWait::default();
        let (definitions, cursor) = loop {
            match join_and_activate(&store, origin, (&vocabulary, &loaded), &*clock).await {
                Ok(found) => break found,
                // The database became unavailable after the connection.
                Err(EngineError::Store(error)) => startup_wait.wait(error).await?,
                Err(error) => return Err(error),
            }
        };
        let queue = WorkQueue::new(Arc::clone(&clock));
        let inner = EngineInner {
            store,
            definitions,
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
            feed: ChangeFeed::new(cursor),
            state_counts: cached_view::StateCountsByMachine::default(),
            dwell_times: dwell_times::DwellTimesByMachine::default(),
            turn_times: turn_times::TurnTimes::default(),
            failing_actions: failing_actions::FailingActions::default(),
            farm_time: timekeeping::FarmTime::default(),
            diagrams: diagram_cache::DiagramCache::default(),
        };
        let engine = Self { inner: Arc::new(inner) };
        match housekeeping::run_round(&engine, &mut ClockConfirmation::default()).await {
            // It is retried while the server runs; the default partition takes entries meanwhile.
            Err(error) if error.is_transient() => {
                tracing::warn!(error = %with_causes(&error), "housekeeping at start failed");
            }
            result => result?,
        }
        Ok(engine)
    }
}

/// Joins the farm time, activates `loaded`, and returns the active definitions and the cursor of the change log.
async fn join_and_activate(
    store: &Store,
    origin: ChangeOrigin,
    (vocabulary, loaded): (&Arc<Vocabulary>, &[LoadedDefinition]),
    clock: &dyn Clock,
) -> Result<(DefinitionCache, ChangeCursor), EngineError> {
    timekeeping::join_farm_time(&mut *store.reader().await?, clock).await?;
    let context =
        ActivationContext { vocabulary, origin, loaded_together: &[], sender: None, now: clock.now() };
    let definitions = activation::activate_at_start(store, loaded, context).await?;
    let cursor = changes::current_cursor(&mut *store.reader().await?).await?;
    Ok((definitions, cursor))
}
