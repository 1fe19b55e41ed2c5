//! What happens is sent through the pipeline, and whoever sends it waits until it is durable.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::EngineError;
use super::handle::Engine;
use super::lease::Identity;
use super::queue::Refused;
use super::work::{Answer, Committed, Ended, Heard, Note, Started, Submission, Work};
use crate::clock;
use crate::store::actions::Startable;
use crate::store::instances::InstanceId;
use crate::store::{Cause, StoreError};

impl Engine {
    /// Decides on `submission` and answers once the result is durable.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`], [`EngineError::NoMachine`], [`EngineError::Busy`] and [`EngineError::Stopping`], with
    /// nothing written; [`EngineError::Store`] when the database fails.
    ///
    /// Where that takes longer than the engine's limit it is answered as unavailable, and may have been done.
    #[tracing::instrument(name = "engine.submit", level = "debug", skip_all)]
    pub async fn submit(&self, submission: Submission) -> Result<Committed, EngineError> {
        let limit = self.inner.event_timeout;
        tokio::select! {
            biased;
            committed = self.submit_patiently(submission) => committed,
            () = clock::pause(limit) => Err(StoreError::from(Cause::Silent(limit)).into()),
        }
    }

    async fn submit_patiently(&self, submission: Submission) -> Result<Committed, EngineError> {
        let mut submission = Box::new(submission);
        loop {
            match self.through(|since, answer| Work::Happened { submission, since, answer }).await? {
                Heard::Committed(committed) => return Ok(committed),
                // It reports because its action ended: its report must not overtake that, as it does where the end waits for
                // a database that was away.
                Heard::TooEarly(id, again) => {
                    submission = again;
                    // In a box, as what is seldom and large: each request would have to carry room for it.
                    Box::pin(self.inner.running.wait_for_ends(id)).await;
                }
                // What conditions want to know, also those of a definition that has come into force meanwhile.
                Heard::Unasked(questions, again) => {
                    submission = again;
                    Box::pin(self.ask(&mut submission, questions)).await;
                }
            }
        }
    }

    /// Lets an action begin, if it is still to be done.
    pub(super) async fn begin(
        &self,
        action: Startable,
        by: Identity,
    ) -> Result<Option<Box<Started>>, EngineError> {
        let action = Box::new(action);
        self.through(|since, answer| Work::Begin { action, by, since, answer }).await
    }

    /// Makes the end of an action durable, and lets the next of its visit begin.
    pub(super) async fn report_end(&self, ended: Arc<Ended>) -> Result<Option<Box<Started>>, EngineError> {
        self.through(|since, answer| Work::End { ended, since, answer }).await
    }

    /// Writes down something that was noticed about an instance, without deciding anything.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such instance; [`EngineError::Busy`] and [`EngineError::Stopping`], with
    /// nothing written; [`EngineError::Store`] when the database fails.
    pub async fn note(&self, id: InstanceId, note: Note) -> Result<(), EngineError> {
        let note = Box::new(note);
        self.through(|since, answer| Work::Noted { id, note, since, answer }).await
    }

    /// Sends something through the pipeline and waits until it is durable.
    async fn through<T>(&self, work: impl FnOnce(Instant, Answer<T>) -> Work) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        self.inner.queue.push(work(Instant::now(), answer)).map_err(|refused| match refused {
            Refused::Full => EngineError::Busy,
            Refused::Closed => EngineError::Stopping,
        })?;
        // A pipeline that broke down answers nobody.
        answered.await.unwrap_or(Err(EngineError::Stopping))
    }
}
