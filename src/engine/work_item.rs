//! The work items of the pipeline, and their answers.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::deadlines::DueDeadline;
use super::error::EngineError;
use super::lease::WorkerIdentity;
use super::predictions::Predictions;
use super::running_actions::RunningActionGuard;
use super::tag_condition::TagCondition;
use crate::actions::{Evidence, Job, UnfinishedAction};
use crate::machine::{Cause, EventSource, Instance, ModelQuestion, Outcome};
use crate::store::DatabaseLife;
use crate::store::actions::{RunningAction, StartableAction};
use crate::store::claims::GrantedUnits;
use crate::store::instances::{InstanceId, InstanceKey};

/// A stimulus that is submitted to the engine.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The instance.
    pub target: InstanceKey,
    /// The cause.
    pub cause: Cause,
    /// The sender, where it is known.
    pub sender: Option<String>,
    /// The evidence, for history.
    pub evidence: Option<Map<String, Value>>,
    /// The reason, for history.
    pub reason: Option<String>,
    /// The condition on the entity tag of the instance (`Engine::tag`), where there is one.
    pub tag_condition: Option<TagCondition>,
    /// The time of its place in queues, where that is not the present time.
    pub queue_at: Option<DateTime<Utc>>,
    /// The predictions of models: the engine queries them.
    pub predictions: Predictions,
}

impl Submission {
    /// A submission to `target` with only a cause.
    #[must_use]
    pub fn new(target: InstanceKey, cause: Cause) -> Self {
        let predictions = Predictions::default();
        Self {
            target,
            cause,
            sender: None,
            evidence: None,
            reason: None,
            tag_condition: None,
            queue_at: None,
            predictions,
        }
    }

    /// The submission of an event that another instance raised at, or refused from, the instance `id`.
    pub(super) fn raised(id: InstanceId, cause: &Cause) -> Self {
        let sender = match cause {
            Cause::Event { source, .. } => Some(source.to_string()),
            Cause::Created { .. }
            | Cause::Began { .. }
            | Cause::Suspend { .. }
            | Cause::Retry { .. }
            | Cause::Deadline { .. }
            | Cause::Force { .. } => None,
        };
        Self { sender, ..Self::new(InstanceKey::Id(id), cause.clone()) }
    }

    pub(super) fn is_retry(&self) -> bool {
        matches!(self.cause, Cause::Retry { .. })
    }

    pub(super) fn is_report(&self) -> bool {
        matches!(self.cause, Cause::Event { source: EventSource::Face(_), .. })
    }
}

/// A committed submission.
#[derive(Debug, Clone)]
pub struct CommittedSubmission {
    /// The instance's number.
    pub id: InstanceId,
    /// Its outcome.
    pub outcome: Outcome,
    /// The instance after it.
    pub instance: Arc<Instance>,
}

/// A note for the history of an instance; it is not decided on.
#[derive(Debug, Clone)]
pub struct InstanceNote {
    /// Its name in history.
    pub name: &'static str,
    /// The sender, where it is known.
    pub sender: Option<String>,
    /// The evidence.
    pub evidence: Map<String, Value>,
    /// The reason.
    pub reason: Option<String>,
}

/// The answer to a submission.
pub(super) enum SubmissionAnswer {
    /// It is committed.
    Committed(CommittedSubmission),
    /// The end of an action of the instance has to be committed first; the submission is returned.
    WaitsForAction(InstanceId, Box<Submission>),
    /// Models have to be queried first; the submission is returned.
    NeedsPredictions(Vec<ModelQuestion>, Box<Submission>),
}

/// An action that this process runs once its start is committed.
pub(super) struct StartedRun {
    pub(super) action: RunningAction,
    /// Its granted units.
    pub(super) granted: Vec<GrantedUnits>,
    pub(super) job: Job,
    pub(super) guard: RunningActionGuard,
}

/// The end of an action.
pub(super) struct EndedRun {
    pub(super) action: RunningAction,
    /// The worker that ran it.
    pub(super) worker: WorkerIdentity,
    pub(super) result: Result<Evidence, UnfinishedAction>,
    /// Cancelled when the action was to stop.
    pub(super) token: CancellationToken,
}

/// The sender of the answer to a waiting request.
pub(super) type AnswerSender<T> = oneshot::Sender<Result<T, EngineError>>;

/// A work item of the pipeline. It is small, because it is moved often.
pub(super) enum WorkItem {
    /// A submission.
    Submitted { submission: Box<Submission>, since: Instant, answer: AnswerSender<SubmissionAnswer> },
    /// A deadline is due.
    Due(DueDeadline),
    /// An action is to start.
    Begin {
        action: Box<StartableAction>,
        worker: WorkerIdentity,
        since: Instant,
        answer: AnswerSender<Option<Box<StartedRun>>>,
    },
    /// An action has ended.
    End { ended: Arc<EndedRun>, since: Instant, answer: AnswerSender<Option<Box<StartedRun>>> },
    /// A note.
    Noted { id: InstanceId, note: Box<InstanceNote>, since: Instant, answer: AnswerSender<()> },
}

impl WorkItem {
    /// Returns the key of its instance.
    pub(super) fn target(&self) -> Cow<'_, InstanceKey> {
        match self {
            Self::Submitted { submission, .. } => Cow::Borrowed(&submission.target),
            Self::Due(due) => Cow::Owned(InstanceKey::Id(due.id)),
            Self::Begin { action, .. } => Cow::Owned(InstanceKey::Id(action.instance)),
            Self::End { ended, .. } => Cow::Owned(InstanceKey::Id(ended.action.instance)),
            Self::Noted { id, .. } => Cow::Owned(InstanceKey::Id(*id)),
        }
    }

    /// Whether it has a condition on the entity tag of the instance.
    pub(super) fn has_condition(&self) -> bool {
        matches!(self, Self::Submitted { submission, .. } if submission.tag_condition.is_some())
    }

    /// Returns the life of the database that its numbers belong to, where it has any.
    pub(super) fn life(&self) -> Option<DatabaseLife> {
        match self {
            Self::Due(due) => Some(due.life),
            Self::Begin { worker, .. } => Some(worker.life),
            Self::End { ended, .. } => Some(ended.worker.life),
            Self::Submitted { .. } | Self::Noted { .. } => None,
        }
    }

    /// Returns since when its request waits; a deadline has no request.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        match self {
            Self::Submitted { since, .. }
            | Self::Begin { since, .. }
            | Self::End { since, .. }
            | Self::Noted { since, .. } => Some(*since),
            Self::Due(_) => None,
        }
    }

    /// Answers the request with an error. A request that was dropped gets no answer.
    pub(super) fn fail(self, error: EngineError) {
        match self {
            Self::Submitted { answer, .. } => _ = answer.send(Err(error)),
            Self::Begin { answer, .. } | Self::End { answer, .. } => _ = answer.send(Err(error)),
            Self::Noted { answer, .. } => _ = answer.send(Err(error)),
            Self::Due(_) => {}
        }
    }
}

/// The result of a work item, once it is durable.
pub(super) enum WorkResult {
    /// The submission is committed.
    Committed(CommittedSubmission),
    /// The end of an action of this instance has to be committed first.
    WaitsForAction(InstanceId),
    /// The instance does not have an expected tag.
    Changed,
    /// Models have to be asked these questions first.
    NeedsPredictions(Vec<ModelQuestion>),
    /// A deadline was decided on, with this result.
    DeadlineHandled(Arc<Instance>),
    /// An action started, or none.
    Started(Option<Box<StartedRun>>),
    /// The note is written.
    Noted,
}

impl WorkItem {
    /// Answers the request with the result.
    pub(super) fn answer(self, result: WorkResult) {
        match (self, result) {
            (Self::Submitted { answer, .. }, WorkResult::Committed(committed)) => {
                _ = answer.send(Ok(SubmissionAnswer::Committed(committed)));
            }
            (Self::Submitted { answer, .. }, WorkResult::Changed) => {
                _ = answer.send(Err(EngineError::Changed));
            }
            (Self::Submitted { answer, submission, .. }, WorkResult::WaitsForAction(id)) => {
                _ = answer.send(Ok(SubmissionAnswer::WaitsForAction(id, submission)));
            }
            (Self::Submitted { answer, submission, .. }, WorkResult::NeedsPredictions(questions)) => {
                _ = answer.send(Ok(SubmissionAnswer::NeedsPredictions(questions, submission)));
            }
            (Self::Begin { answer, .. } | Self::End { answer, .. }, WorkResult::Started(started)) => {
                _ = answer.send(Ok(started));
            }
            (Self::Noted { answer, .. }, WorkResult::Noted) => _ = answer.send(Ok(())),
            (
                _,
                WorkResult::Changed
                | WorkResult::DeadlineHandled(_)
                | WorkResult::Committed(_)
                | WorkResult::WaitsForAction(_)
                | WorkResult::NeedsPredictions(_)
                | WorkResult::Started(_)
                | WorkResult::Noted,
            ) => {}
        }
    }
}
