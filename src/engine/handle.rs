//! The engine handle and the shared state of its parts.

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
    cached_view, definition_cache, diagram_cache, dwell_times, failing_actions, pending_findings,
    running_actions, timekeeping, troubles, turn_times,
};
use crate::actions::ActionRegistry;
use crate::clock::Clock;
use crate::machine::Instance;
use crate::model::Models;
use crate::store::changes::ChangeOrigin;
use crate::store::instances::InstanceId;
use crate::store::{DatabaseLife, Store};
use crate::worker::Worker;

/// Drives the instances of the active machines.
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: Arc<EngineInner>,
}

/// The shared state of the parts of an engine.
pub(super) struct EngineInner {
    pub(super) store: Store,
    pub(super) definitions: definition_cache::DefinitionCache,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) worker: Worker,
    pub(super) models: Models,
    pub(super) faces: Faces,
    /// The origin of the changes of this process in the change log.
    pub(super) origin: ChangeOrigin,
    pub(super) retention: Retention,
    pub(super) started_at: Instant,
    /// The time limit of an event.
    pub(super) event_timeout: Duration,
    pub(super) running: running_actions::RunningActions,
    pub(super) troubles: troubles::TroubleTracker,
    pub(super) findings: pending_findings::PendingFindings,
    pub(super) queue: WorkQueue,
    pub(super) instance_cache: InstanceCache,
    pub(super) retries: RetryCounters,
    /// Signals that there may be actions to start.
    pub(super) actions_changed: Notify,
    /// Signals a write that other processes are notified of.
    pub(super) written: Notify,
    pub(super) feed: ChangeFeed,
    pub(super) state_counts: cached_view::StateCountsByMachine,
    pub(super) dwell_times: dwell_times::DwellTimesByMachine,
    pub(super) turn_times: turn_times::TurnTimes,
    pub(super) failing_actions: failing_actions::FailingActions,
    pub(super) farm_time: timekeeping::FarmTime,
    pub(super) diagrams: diagram_cache::DiagramCache,
}

impl Engine {
    /// The default time limit of an event: longer than the time limits of model queries and of database statements.
    pub const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

    /// Returns the registry of action kinds.
    #[must_use]
    pub fn kinds(&self) -> &Arc<ActionRegistry> {
        self.inner.worker.kinds()
    }

    /// Returns the store, for reading.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Returns the clock of the farm.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    /// Holds all deadlines of this process. To be called before it stops accepting reports; other processes fire the
    /// deadlines of its share.
    pub fn hold_deadlines(&self) {
        self.inner.queue.deadlines().hold_all();
    }

    /// Returns the time since its start, in real time.
    pub(super) fn uptime(&self) -> Duration {
        self.inner.started_at.elapsed()
    }

    /// Returns the hosted models.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.inner.models
    }

    /// Returns the counters of retries.
    #[must_use]
    pub fn retries(&self) -> &RetryCounters {
        &self.inner.retries
    }

    /// Records that an instance was written outside the pipeline.
    pub(super) fn note_written(&self, life: DatabaseLife, id: InstanceId, instance: &Instance) {
        if self.inner.queue.deadlines().update(life, id, instance.visit, instance.deadline_at) {
            self.inner.queue.wake();
        }
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
        self.inner.feed.wake_for_own();
    }
}
