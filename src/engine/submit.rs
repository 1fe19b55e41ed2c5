//! What happens is sent through the pipeline, and whoever sends it waits until it is durable.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::EngineError;
use super::handle::Engine;
use super::lease::WorkerIdentity;
use super::work_item::{
    AnswerSender, CommittedSubmission, EndedRun, InstanceNote, StartedRun, Submission, SubmissionAnswer,
    WorkItem,
};
use super::work_queue::QueueRefusal;
use crate::clock;
use crate::store::actions::StartableAction;
use crate::store::instances::InstanceId;
use crate::store::{StoreError, UnavailableCause};

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
    pub async fn submit(&self, submission: Submission) -> Result<CommittedSubmission, EngineError> {
        let limit = self.inner.event_timeout;
        tokio::select! {
            biased;
            committed = self.submit_with_retries(submission) => committed,
            () = clock::sleep_real_time(limit) => Err(StoreError::from(UnavailableCause::Silent(limit)).into()),
        }
    }

    async fn submit_with_retries(&self, submission: Submission) -> Result<CommittedSubmission, EngineError> {
        let mut submission = Box::new(submission);
        loop {
            match self
                .send_and_wait(|since, answer| WorkItem::Submitted { submission, since, answer })
                .await?
            {
                SubmissionAnswer::Committed(committed) => return Ok(committed),
                // It reports because its action ended: its report must not overtake that, as it does where the end waits for
                // a database that was away.
                SubmissionAnswer::WaitsForAction(id, again) => {
                    submission = again;
                    // In a box, as what is seldom and large: each request would have to carry room for it.
                    Box::pin(self.inner.running.wait_for_ends(id)).await;
                }
                // What conditions want to know, also those of a definition that has come into force meanwhile.
                SubmissionAnswer::NeedsPredictions(questions, again) => {
                    submission = again;
                    Box::pin(self.ask_models(&mut submission, questions)).await;
                }
            }
        }
    }

    /// Lets an action begin, if it is still to be done.
    pub(super) async fn begin(
        &self,
        action: StartableAction,
        by: WorkerIdentity,
    ) -> Result<Option<Box<StartedRun>>, EngineError> {
        let action = Box::new(action);
        self.send_and_wait(|since, answer| WorkItem::Begin { action, by, since, answer }).await
    }

    /// Makes the end of an action durable, and lets the next of its visit begin.
    pub(super) async fn report_end(
        &self,
        ended: Arc<EndedRun>,
    ) -> Result<Option<Box<StartedRun>>, EngineError> {
        self.send_and_wait(|since, answer| WorkItem::End { ended, since, answer }).await
    }

    /// Writes down something that was noticed about an instance, without deciding anything.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such instance; [`EngineError::Busy`] and [`EngineError::Stopping`], with
    /// nothing written; [`EngineError::Store`] when the database fails.
    pub async fn note(&self, id: InstanceId, note: InstanceNote) -> Result<(), EngineError> {
        let note = Box::new(note);
        self.send_and_wait(|since, answer| WorkItem::Noted { id, note, since, answer }).await
    }

    /// Sends something through the pipeline and waits until it is durable.
    async fn send_and_wait<T>(
        &self,
        work: impl FnOnce(Instant, AnswerSender<T>) -> WorkItem,
    ) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        self.inner.queue.push(work(Instant::now(), answer)).map_err(|refused| match refused {
            QueueRefusal::Full => EngineError::Busy,
            QueueRefusal::Closed => EngineError::Stopping,
        })?;
        // A pipeline that broke down answers nobody.
        answered.await.unwrap_or(Err(EngineError::Stopping))
    }
}
