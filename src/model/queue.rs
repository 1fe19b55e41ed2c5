//! Who asks a model when: one request at a time for each, as many at once as there are processors, one loading at a
//! time. Nobody waits longer than the queue's patience, and nothing that does not end keeps others from their turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Mutex as Gate, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio::time::{Instant, timeout, timeout_at};

use super::ModelError;
use super::host::lock;

/// What waits for its turn.
pub(super) struct ModelQueue {
    /// One for each model that was asked: a session runs one request.
    gates: Mutex<HashMap<String, Arc<Gate<()>>>>,
    /// One model is loaded at a time, so that the bound holds.
    loading: Arc<Gate<()>>,
    /// As many as there are processors.
    slots: Arc<Semaphore>,
    /// How long a caller waits in all, and how long one run may take.
    timeout: Duration,
}

/// A request whose model nobody else asks meanwhile.
pub(super) struct ModelTurn {
    gate: Arc<OwnedMutexGuard<()>>,
    deadline: Instant,
}

/// What work holds while it is done.
pub(super) struct RunSlot {
    deadline: Instant,
    _held: (Arc<OwnedMutexGuard<()>>, Option<OwnedMutexGuard<()>>, OwnedSemaphorePermit),
}

impl ModelQueue {
    /// Nobody waits yet.
    pub(super) fn new(patience: Duration) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            gates: Mutex::default(),
            loading: Arc::default(),
            slots: Arc::new(Semaphore::new(processors)),
            timeout: patience,
        }
    }

    /// Forgets the models that are not `wanted`.
    pub(super) fn retain(&self, wanted: impl Fn(&str) -> bool) {
        lock(&self.gates).retain(|model, _| wanted(model));
    }

    /// Waits until nobody else asks this model.
    ///
    /// # Errors
    ///
    /// [`ModelError::Busy`], as for all that waits here.
    pub(super) async fn turn(&self, model: &str) -> Result<ModelTurn, ModelError> {
        let until = Instant::now() + self.timeout;
        let gate = Arc::clone(lock(&self.gates).entry(model.to_owned()).or_default());
        let gate = self.wait(until, "its turn with this model", gate.lock_owned()).await?;
        Ok(ModelTurn { gate: Arc::new(gate), deadline: until })
    }

    /// Waits for a place to run.
    pub(super) async fn slot(&self, turn: &ModelTurn) -> Result<RunSlot, ModelError> {
        self.slot_with(turn, None).await
    }

    /// Waits until no other model is loaded, and for a place then: whoever waits for loading holds none.
    pub(super) async fn slot_to_load(&self, turn: &ModelTurn) -> Result<RunSlot, ModelError> {
        let loading = Arc::clone(&self.loading).lock_owned();
        let loading = self.wait(turn.deadline, "other models to be loaded", loading).await?;
        self.slot_with(turn, Some(loading)).await
    }

    async fn slot_with(
        &self,
        turn: &ModelTurn,
        loading: Option<OwnedMutexGuard<()>>,
    ) -> Result<RunSlot, ModelError> {
        let place = Arc::clone(&self.slots).acquire_owned();
        let place = self.wait(turn.deadline, "predictions of other models", place).await?;
        let place = place.map_err(|error| ModelError::Fault(error.to_string()))?;
        Ok(RunSlot { deadline: turn.deadline, _held: (Arc::clone(&turn.gate), loading, place) })
    }

    /// Does `work` aside, where it keeps no other task waiting. The place is given back when it is done, and not when
    /// whoever asked has gone; or when it took too long: a thread cannot be ended, so it is left alone then.
    ///
    /// `given_up` says so and gives the error; `returned` comes after that, if the work is done at last.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        place: RunSlot,
        work: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
        given_up: impl FnOnce() -> ModelError + Send + 'static,
        returned: impl FnOnce() + Send + 'static,
    ) -> Result<T, ModelError> {
        let until = place.deadline;
        let patience = self.timeout;
        let watched = async move {
            let _held = place;
            let mut work = tokio::task::spawn_blocking(work);
            #[expect(clippy::disallowed_methods, reason = "a thread's work takes the machine's time")]
            if let Ok(done) = timeout(patience, &mut work).await {
                return ended(done);
            }
            let error = given_up();
            #[expect(clippy::disallowed_methods, reason = "it waits for a thread that may never end")]
            tokio::spawn(async move {
                // What comes of it is of no use to anybody any more.
                let _ = work.await;
                returned();
            });
            Err(error)
        };
        #[expect(clippy::disallowed_methods, reason = "it holds the place when whoever asked has gone")]
        let watched = tokio::spawn(watched);
        ended(self.wait(until, "its answer", watched).await?)
    }

    async fn wait<T>(
        &self,
        until: Instant,
        what: &str,
        it: impl Future<Output = T>,
    ) -> Result<T, ModelError> {
        let done = timeout_at(until, it).await;
        done.map_err(|_| ModelError::Busy(format!("waited {:?} in all, at last for {what}", self.timeout)))
    }
}

/// What came of work, or that it broke off.
fn ended<T>(done: Result<Result<T, ModelError>, JoinError>) -> Result<T, ModelError> {
    done.unwrap_or_else(|error| Err(ModelError::Fault(format!("a prediction broke off: {error}"))))
}
