//! The engine: what its parts work with, and what others may ask of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::face::Faces;
use super::feed::ChangeFeed;
use super::instance_cache::InstanceCache;
use super::retention::Retention;
use super::retry_counters::RetryCounters;
use super::work_queue::WorkQueue;
use super::{
    cached_view, definition_cache, diagram_cache, dwell_times, pending_findings, running_actions,
    timekeeping, troubles, turn_times,
};
use crate::actions::ActionRegistry;
use crate::clock::Clock;
use crate::machine::Instance;
use crate::model::Models;
use crate::store::changes::ChangeOrigin;
use crate::store::instances::InstanceId;
use crate::store::{DatabaseLife, Store};
use crate::worker::Worker;

/// Drives the instances of the machines that it was given.
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: Arc<EngineInner>,
}

/// What all parts of an engine work with.
pub(super) struct EngineInner {
    pub(super) store: Store,
    pub(super) definitions: definition_cache::DefinitionCache,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) worker: Worker,
    pub(super) models: Models,
    pub(super) faces: Faces,
    /// By what this process knows its own changes in the log.
    pub(super) origin: ChangeOrigin,
    pub(super) retention: Retention,
    pub(super) started_at: Instant,
    /// How long an event may wait for its answer.
    pub(super) event_timeout: Duration,
    pub(super) running: running_actions::RunningActions,
    pub(super) troubles: troubles::TroubleTracker,
    pub(super) findings: pending_findings::PendingFindings,
    pub(super) queue: WorkQueue,
    pub(super) instance_cache: InstanceCache,
    pub(super) retries: RetryCounters,
    /// There may be actions to begin.
    pub(super) actions_changed: Notify,
    /// Something was written that other processes may want to know of.
    pub(super) written: Notify,
    pub(super) feed: ChangeFeed,
    pub(super) state_counts: cached_view::StateCountsByMachine,
    pub(super) dwell_times: dwell_times::DwellTimesByMachine,
    pub(super) turn_times: turn_times::TurnTimes,
    pub(super) farm_time: timekeeping::FarmTime,
    pub(super) diagrams: diagram_cache::DiagramCache,
}

impl Engine {
    /// How long an event waits for its answer, if nothing else is said: longer than models may take to answer what a
    /// condition asks, and than the database may take for one statement.
    pub const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

    /// The kinds of action that there are.
    #[must_use]
    pub fn kinds(&self) -> &Arc<ActionRegistry> {
        self.inner.worker.kinds()
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The farm's clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    /// Lets no deadline pass any more, because from now on nobody can report anything to this process: to be called before
    /// it stops to listen. Other processes let those pass that fall to it.
    pub fn hold_deadlines(&self) {
        self.inner.queue.deadlines().hold_all();
    }

    /// For how long it has been running, in real time.
    pub(super) fn uptime(&self) -> Duration {
        self.inner.started_at.elapsed()
    }

    /// The models that this process hosts.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.inner.models
    }

    /// What had to be tried again since the engine was made.
    #[must_use]
    pub fn retries(&self) -> &RetryCounters {
        &self.inner.retries
    }

    /// Learns that an instance was written outside the pipeline.
    pub(super) fn note_written(&self, life: DatabaseLife, id: InstanceId, instance: &Instance) {
        if self.inner.queue.deadlines().update(life, id, instance.visit, instance.deadline_at) {
            self.inner.queue.wake();
        }
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
        self.inner.feed.wake_for_own();
    }
}
