//! Submissions to the pipeline. Callers wait until the result is durable.

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
    /// A submission that exceeds the time limit is answered as unavailable, and may have been committed.
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
                // A report must not overtake the end of the action that caused it, which may wait for the database.
                SubmissionAnswer::WaitsForAction(id, returned) => {
                    submission = returned;
                    // Boxed, because it is rare and large: otherwise the future of every request would be as large.
                    Box::pin(self.inner.running.wait_for_ends(id)).await;
                }
                // Conditions of a definition that was activated meanwhile can need predictions as well.
                SubmissionAnswer::NeedsPredictions(questions, returned) => {
                    submission = returned;
                    Box::pin(self.ask_models(&mut submission, questions)).await;
                }
            }
        }
    }

    /// Starts an action, if it is still waiting.
    pub(super) async fn begin(
        &self,
        action: StartableAction,
        worker: WorkerIdentity,
    ) -> Result<Option<Box<StartedRun>>, EngineError> {
        let action = Box::new(action);
        self.send_and_wait(|since, answer| WorkItem::Begin { action, worker, since, answer }).await
    }

    /// Commits the end of an action, and starts the next action of its visit.
    pub(super) async fn report_end(
        &self,
        ended: Arc<EndedRun>,
    ) -> Result<Option<Box<StartedRun>>, EngineError> {
        self.send_and_wait(|since, answer| WorkItem::End { ended, since, answer }).await
    }

    /// Adds a note about an instance to history, without a decision.
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
        // A lane that panicked sends no answer.
        answered.await.unwrap_or(Err(EngineError::Stopping))
    }
}
