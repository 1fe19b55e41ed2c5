//! What goes through the pipeline, and how whoever waits for it is answered.

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

/// Something that happened, for the engine to decide on.
#[derive(Debug, Clone)]
pub struct Submission {
    /// To which instance.
    pub target: InstanceKey,
    /// What.
    pub cause: Cause,
    /// Who says so, as far as is known.
    pub sender: Option<String>,
    /// What was observed, for history.
    pub evidence: Option<Map<String, Value>>,
    /// What people should read beside it in history.
    pub reason: Option<String>,
    /// The condition that the instance's present tag must meet (`Engine::tag`).
    pub tag_condition: Option<TagCondition>,
    /// When its turn is at resources that others wait for as well, where that is not the present time.
    pub queue_at: Option<DateTime<Utc>>,
    /// What models say of it: the engine asks them.
    pub predictions: Predictions,
}

impl Submission {
    /// Something that happened to `target`, of which nothing more is known.
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

    /// What another instance raises at the instance `id`, or refuses to it.
    pub(super) fn raised(id: InstanceId, cause: &Cause) -> Self {
        let sender = match cause {
            Cause::Event { source, .. } => Some(source.to_string()),
            Cause::Created { .. }
            | Cause::Began { .. }
            | Cause::Suspend { .. }
            | Cause::Deadline { .. }
            | Cause::Force { .. } => None,
        };
        Self { sender, ..Self::new(InstanceKey::Id(id), cause.clone()) }
    }

    pub(super) fn is_report(&self) -> bool {
        matches!(self.cause, Cause::Event { source: EventSource::Face(_), .. })
    }
}

/// A submission that has been decided on; what it changed is durable.
#[derive(Debug, Clone)]
pub struct CommittedSubmission {
    /// The instance's number.
    pub id: InstanceId,
    /// What it amounted to.
    pub outcome: Outcome,
    /// The instance after it.
    pub instance: Arc<Instance>,
}

/// Something noticed, which is told and not decided on.
#[derive(Debug, Clone)]
pub struct InstanceNote {
    /// By which history knows it.
    pub name: &'static str,
    /// Who says so, as far as is known.
    pub sender: Option<String>,
    /// What was observed.
    pub evidence: Map<String, Value>,
    /// What people should read.
    pub reason: Option<String>,
}

/// What a report or a request has to wait for.
pub(super) enum SubmissionAnswer {
    /// Nothing: it is decided on.
    Committed(CommittedSubmission),
    /// An action of the instance that has ended while that is not written down yet; here it is again.
    WaitsForAction(InstanceId, Box<Submission>),
    /// What models are to be asked first; here it is again.
    NeedsPredictions(Vec<ModelQuestion>, Box<Submission>),
}

/// An action of which the database says that this process runs it, once that is committed.
pub(super) struct StartedRun {
    pub(super) action: RunningAction,
    /// What it holds.
    pub(super) granted: Vec<GrantedUnits>,
    pub(super) job: Job,
    pub(super) guard: RunningActionGuard,
}

/// An action that has ended, and how.
pub(super) struct EndedRun {
    pub(super) action: RunningAction,
    /// Who ran it.
    pub(super) worker: WorkerIdentity,
    pub(super) result: Result<Evidence, UnfinishedAction>,
    /// Cancelled when the action was to stop.
    pub(super) token: CancellationToken,
}

/// Whoever waits to be answered.
pub(super) type AnswerSender<T> = oneshot::Sender<Result<T, EngineError>>;

/// One thing to be decided on. It is small, for it goes from hand to hand.
pub(super) enum WorkItem {
    /// Something happened.
    Submitted { submission: Box<Submission>, since: Instant, answer: AnswerSender<SubmissionAnswer> },
    /// A deadline is due.
    Due(DueDeadline),
    /// An action is to begin.
    Begin {
        action: Box<StartableAction>,
        by: WorkerIdentity,
        since: Instant,
        answer: AnswerSender<Option<Box<StartedRun>>>,
    },
    /// An action has ended.
    End { ended: Arc<EndedRun>, since: Instant, answer: AnswerSender<Option<Box<StartedRun>>> },
    /// Something was noticed.
    Noted { id: InstanceId, note: Box<InstanceNote>, since: Instant, answer: AnswerSender<()> },
}

impl WorkItem {
    /// Whose it is.
    pub(super) fn target(&self) -> Cow<'_, InstanceKey> {
        match self {
            Self::Submitted { submission, .. } => Cow::Borrowed(&submission.target),
            Self::Due(due) => Cow::Owned(InstanceKey::Id(due.id)),
            Self::Begin { action, .. } => Cow::Owned(InstanceKey::Id(action.instance)),
            Self::End { ended, .. } => Cow::Owned(InstanceKey::Id(ended.action.instance)),
            Self::Noted { id, .. } => Cow::Owned(InstanceKey::Id(*id)),
        }
    }

    /// Whether it is only for an instance that is as its sender has seen it.
    pub(super) fn has_condition(&self) -> bool {
        matches!(self, Self::Submitted { submission, .. } if submission.tag_condition.is_some())
    }

    /// The life of the database that it speaks of, where it can be of one only: its numbers are others' in the next one.
    pub(super) fn life(&self) -> Option<DatabaseLife> {
        match self {
            Self::Due(due) => Some(due.life),
            Self::Begin { by, .. } => Some(by.life),
            Self::End { ended, .. } => Some(ended.worker.life),
            Self::Submitted { .. } | Self::Noted { .. } => None,
        }
    }

    /// Since when somebody waits; nobody waits for a deadline.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        match self {
            Self::Submitted { since, .. }
            | Self::Begin { since, .. }
            | Self::End { since, .. }
            | Self::Noted { since, .. } => Some(*since),
            Self::Due(_) => None,
        }
    }

    /// Tells whoever waits that it came to nothing. Whoever does not wait any more needs no answer.
    pub(super) fn fail(self, error: EngineError) {
        match self {
            Self::Submitted { answer, .. } => _ = answer.send(Err(error)),
            Self::Begin { answer, .. } | Self::End { answer, .. } => _ = answer.send(Err(error)),
            Self::Noted { answer, .. } => _ = answer.send(Err(error)),
            Self::Due(_) => {}
        }
    }
}

/// What a thing came to, once it is durable.
pub(super) enum WorkResult {
    /// Decided on, for whoever sent it.
    Committed(CommittedSubmission),
    /// To be sent again when an action of this instance that has ended is written down.
    WaitsForAction(InstanceId),
    /// The instance is not as whoever sent it has seen it.
    Changed,
    /// To be sent again when models have been asked this.
    NeedsPredictions(Vec<ModelQuestion>),
    /// A deadline was decided on; this is how the instance stands.
    DeadlineHandled(Arc<Instance>),
    /// An action began, or none.
    Started(Option<Box<StartedRun>>),
    /// Written down.
    Noted,
}

impl WorkItem {
    /// Tells whoever waits what it came to.
    pub(super) fn answer(self, done: WorkResult) {
        match (self, done) {
            (Self::Submitted { answer, .. }, WorkResult::Committed(committed)) => {
                _ = answer.send(Ok(SubmissionAnswer::Committed(committed)));
            }
            (Self::Submitted { answer, .. }, WorkResult::Changed) => {
                _ = answer.send(Err(EngineError::Changed))
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
