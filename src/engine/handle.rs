//! The engine: what its parts work with, and what others may ask of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::face::Faces;
use super::feed::Feed;
use super::queue::Queue;
use super::recent::Recent;
use super::retention::Retention;
use super::retries::Retries;
use super::{dwell_times, findings, kept, pictures, rules, running, timekeeping, troubles, turn_times};
use crate::actions::Registry;
use crate::clock::Clock;
use crate::machine::Instance;
use crate::model::Models;
use crate::store::changes::Origin;
use crate::store::instances::InstanceId;
use crate::store::{Life, Store};
use crate::worker::Worker;

/// Drives the instances of the machines that it was given.
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: Arc<Inner>,
}

/// What all parts of an engine work with.
pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) rules: rules::Rules,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) worker: Worker,
    pub(super) models: Models,
    pub(super) faces: Faces,
    /// By what this process knows its own changes in the log.
    pub(super) origin: Origin,
    pub(super) retention: Retention,
    pub(super) began: Instant,
    /// How long an event may wait for its answer.
    pub(super) event_timeout: Duration,
    pub(super) running: running::Running,
    pub(super) troubles: troubles::Troubles,
    pub(super) findings: findings::Pending,
    pub(super) queue: Queue,
    pub(super) recent: Recent,
    pub(super) retries: Retries,
    /// There may be actions to begin.
    pub(super) actions_changed: Notify,
    /// Something was written that other processes may want to know of.
    pub(super) written: Notify,
    pub(super) feed: Feed,
    pub(super) counts: kept::ByMachine,
    pub(super) usual: dwell_times::ByMachine,
    pub(super) turn_times: turn_times::TurnTimes,
    pub(super) farm_time: timekeeping::FarmTime,
    pub(super) pictures: pictures::Pictures,
}

impl Engine {
    /// How long an event waits for its answer, if nothing else is said: longer than models may take to answer what a
    /// condition asks, and than the database may take for one statement.
    pub const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

    /// The kinds of action that there are.
    #[must_use]
    pub fn kinds(&self) -> &Arc<Registry> {
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
        self.inner.queue.deadlines().hold();
    }

    /// For how long it has been running, in real time.
    pub(super) fn uptime(&self) -> Duration {
        self.inner.began.elapsed()
    }

    /// The models that this process hosts.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.inner.models
    }

    /// What had to be tried again since the engine was made.
    #[must_use]
    pub fn retries(&self) -> &Retries {
        &self.inner.retries
    }

    /// Learns that an instance was written outside the pipeline.
    pub(super) fn learn(&self, life: Life, id: InstanceId, instance: &Instance) {
        if self.inner.queue.deadlines().learn(life, id, instance.visit, instance.deadline_at) {
            self.inner.queue.wake();
        }
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
        self.inner.feed.wake_for_own();
    }
}
