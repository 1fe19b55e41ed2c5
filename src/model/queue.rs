//! The queue of requests: one request at a time for each model, as many in all as there are processors, and one loading at
//! a time. A request waits at most for the timeout of the queue, and a run that does not end does not block the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Mutex as Gate, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio::time::{Instant, timeout, timeout_at};

use super::ModelError;
use super::host::lock;
use crate::formatting::duration;

/// The locks and slots that requests wait for.
pub(super) struct ModelQueue {
    /// One for each requested model: a session runs one request at a time.
    gates: Mutex<HashMap<String, Arc<Gate<()>>>>,
    /// One model is loaded at a time, so that the memory limit holds.
    loading: Arc<Gate<()>>,
    /// As many slots as there are processors.
    slots: Arc<Semaphore>,
    /// The timeout of a request in all, and of one run.
    timeout: Duration,
}

/// Exclusive access to a model.
pub(super) struct ModelTurn {
    gate: Arc<OwnedMutexGuard<()>>,
    deadline: Instant,
}

/// The locks and the slot that a run holds.
pub(super) struct RunSlot {
    deadline: Instant,
    _held: (Arc<OwnedMutexGuard<()>>, Option<OwnedMutexGuard<()>>, OwnedSemaphorePermit),
}

impl ModelQueue {
    /// Creates a queue with a timeout.
    pub(super) fn new(timeout: Duration) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            gates: Mutex::default(),
            loading: Arc::default(),
            slots: Arc::new(Semaphore::new(processors)),
            timeout,
        }
    }

    /// Removes the models that are not `wanted`.
    pub(super) fn retain(&self, wanted: impl Fn(&str) -> bool) {
        lock(&self.gates).retain(|model, _| wanted(model));
    }

    /// Waits for exclusive access to a model.
    ///
    /// # Errors
    ///
    /// [`ModelError::Busy`] after the timeout, as in every function that waits here.
    pub(super) async fn turn(&self, model: &str) -> Result<ModelTurn, ModelError> {
        let deadline = Instant::now() + self.timeout;
        let gate = Arc::clone(lock(&self.gates).entry(model.to_owned()).or_default());
        let gate = self.wait(deadline, "other requests to this model", gate.lock_owned()).await?;
        Ok(ModelTurn { gate: Arc::new(gate), deadline })
    }

    /// Waits for a slot to run.
    pub(super) async fn slot(&self, turn: &ModelTurn) -> Result<RunSlot, ModelError> {
        self.slot_with(turn, None).await
    }

    /// Waits until no other model is being loaded, and then for a slot: a request that waits for loading holds none.
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
        let slot = Arc::clone(&self.slots).acquire_owned();
        let slot = self.wait(turn.deadline, "predictions of other models", slot).await?;
        let slot = slot.map_err(|error| ModelError::Fault(error.to_string()))?;
        Ok(RunSlot { deadline: turn.deadline, _held: (Arc::clone(&turn.gate), loading, slot) })
    }

    /// Runs `work` on a blocking thread. The slot is released when the work ends, even if the caller has gone, or after the
    /// timeout: a thread cannot be cancelled, so it is abandoned then.
    ///
    /// `timed_out` returns the error of an abandoned run; `returned` is called if the run ends after all.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        slot: RunSlot,
        work: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
        timed_out: impl FnOnce() -> ModelError + Send + 'static,
        returned: impl FnOnce() + Send + 'static,
    ) -> Result<T, ModelError> {
        let deadline = slot.deadline;
        let run_timeout = self.timeout;
        let watched = async move {
            let _held = slot;
            let mut work = tokio::task::spawn_blocking(work);
            #[expect(clippy::disallowed_methods, reason = "a thread takes real time")]
            if let Ok(done) = timeout(run_timeout, &mut work).await {
                return ended(done);
            }
            let error = timed_out();
            #[expect(clippy::disallowed_methods, reason = "it waits for a thread that may never end")]
            tokio::spawn(async move {
                // The result is no longer needed.
                let _ = work.await;
                returned();
            });
            Err(error)
        };
        #[expect(clippy::disallowed_methods, reason = "it holds the slot after the caller has gone")]
        let watched = tokio::spawn(watched);
        ended(self.wait(deadline, "the prediction", watched).await?)
    }

    async fn wait<T>(
        &self,
        deadline: Instant,
        subject: &str,
        future: impl Future<Output = T>,
    ) -> Result<T, ModelError> {
        let done = timeout_at(deadline, future).await;
        done.map_err(|_| {
            let waited = duration(self.timeout);
            ModelError::Busy(format!("waited {waited} in all, last for {subject}"))
        })
    }
}

/// The result of a run, or the error of one that panicked.
fn ended<T>(done: Result<Result<T, ModelError>, JoinError>) -> Result<T, ModelError> {
    done.unwrap_or_else(|error| Err(ModelError::Fault(format!("a prediction panicked: {error}"))))
}
