//! What goes through the pipeline, and how whoever waits for it is answered.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::deadlines::Due;
use super::error::EngineError;
use super::lease::Identity;
use super::predictions::Predictions;
use super::running::Hold;
use crate::actions::{Evidence, Job, Unfinished};
use crate::machine::{Cause, Instance, Outcome, Question, Source};
use crate::store::Life;
use crate::store::actions::{RunningAction, Startable};
use crate::store::claims::GrantedUnits;
use crate::store::instances::{InstanceId, Target};

/// Something that happened, for the engine to decide on.
#[derive(Debug, Clone)]
pub struct Submission {
    /// To which instance.
    pub target: Target,
    /// What.
    pub cause: Cause,
    /// Who says so, as far as is known.
    pub sender: Option<String>,
    /// What was observed, for history.
    pub evidence: Option<Map<String, Value>>,
    /// What people should read beside it in history.
    pub remark: Option<String>,
    /// Only if the instance is still as one of these tags says (`Engine::tag`).
    pub only_as: Option<Vec<String>>,
    /// When its turn is at resources that others wait for as well, where that is not the present time.
    pub queue_at: Option<DateTime<Utc>>,
    /// What models say of it: the engine asks them.
    pub predictions: Predictions,
}

impl Submission {
    /// Something that happened to `target`, of which nothing more is known.
    #[must_use]
    pub fn new(target: Target, cause: Cause) -> Self {
        let predictions = Predictions::default();
        Self {
            target,
            cause,
            sender: None,
            evidence: None,
            remark: None,
            only_as: None,
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
        Self { sender, ..Self::new(Target::Id(id), cause.clone()) }
    }

    pub(super) fn is_report(&self) -> bool {
        matches!(self.cause, Cause::Event { source: Source::Face(_), .. })
    }
}

/// A submission that has been decided on; what it changed is durable.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The instance's number.
    pub id: InstanceId,
    /// What it amounted to.
    pub outcome: Outcome,
    /// The instance after it.
    pub instance: Arc<Instance>,
}

/// Something noticed, which is told and not decided on.
#[derive(Debug, Clone)]
pub struct Note {
    /// By which history knows it.
    pub name: &'static str,
    /// Who says so, as far as is known.
    pub sender: Option<String>,
    /// What was observed.
    pub evidence: Map<String, Value>,
    /// What people should read.
    pub remark: Option<String>,
}

/// What a report or a request has to wait for.
pub(super) enum Heard {
    /// Nothing: it is decided on.
    Committed(Committed),
    /// An action of the instance that has ended while that is not written down yet; here it is again.
    TooEarly(InstanceId, Box<Submission>),
    /// What models are to be asked first; here it is again.
    Unasked(Vec<Question>, Box<Submission>),
}

/// An action of which the database says that this process runs it, once that is committed.
pub(super) struct Started {
    pub(super) action: RunningAction,
    /// What it holds.
    pub(super) granted: Vec<GrantedUnits>,
    pub(super) job: Job,
    pub(super) hold: Hold,
}

/// An action that has ended, and how.
pub(super) struct Ended {
    pub(super) action: RunningAction,
    /// Who ran it.
    pub(super) by: Identity,
    pub(super) result: Result<Evidence, Unfinished>,
    /// Cancelled when the action was to stop.
    pub(super) token: CancellationToken,
}

/// Whoever waits to be answered.
pub(super) type Answer<T> = oneshot::Sender<Result<T, EngineError>>;

/// One thing to be decided on. It is small, for it goes from hand to hand.
pub(super) enum Work {
    /// Something happened.
    Happened { submission: Box<Submission>, since: Instant, answer: Answer<Heard> },
    /// A deadline is due.
    Due(Due),
    /// An action is to begin.
    Begin { action: Box<Startable>, by: Identity, since: Instant, answer: Answer<Option<Box<Started>>> },
    /// An action has ended.
    End { ended: Arc<Ended>, since: Instant, answer: Answer<Option<Box<Started>>> },
    /// Something was noticed.
    Noted { id: InstanceId, note: Box<Note>, since: Instant, answer: Answer<()> },
}

impl Work {
    /// Whose it is.
    pub(super) fn target(&self) -> Cow<'_, Target> {
        match self {
            Self::Happened { submission, .. } => Cow::Borrowed(&submission.target),
            Self::Due(due) => Cow::Owned(Target::Id(due.id)),
            Self::Begin { action, .. } => Cow::Owned(Target::Id(action.instance)),
            Self::End { ended, .. } => Cow::Owned(Target::Id(ended.action.instance)),
            Self::Noted { id, .. } => Cow::Owned(Target::Id(*id)),
        }
    }

    /// Whether it is only for an instance that is as its sender has seen it.
    pub(super) fn has_condition(&self) -> bool {
        matches!(self, Self::Happened { submission, .. } if submission.only_as.is_some())
    }

    /// The life of the database that it speaks of, where it can be of one only: its numbers are others' in the next one.
    pub(super) fn life(&self) -> Option<Life> {
        match self {
            Self::Due(due) => Some(due.life),
            Self::Begin { by, .. } => Some(by.life),
            Self::End { ended, .. } => Some(ended.by.life),
            Self::Happened { .. } | Self::Noted { .. } => None,
        }
    }

    /// Since when somebody waits; nobody waits for a deadline.
    pub(super) fn since(&self) -> Option<Instant> {
        match self {
            Self::Happened { since, .. }
            | Self::Begin { since, .. }
            | Self::End { since, .. }
            | Self::Noted { since, .. } => Some(*since),
            Self::Due(_) => None,
        }
    }

    /// Tells whoever waits that it came to nothing. Whoever does not wait any more needs no answer.
    pub(super) fn fail(self, error: EngineError) {
        match self {
            Self::Happened { answer, .. } => _ = answer.send(Err(error)),
            Self::Begin { answer, .. } | Self::End { answer, .. } => _ = answer.send(Err(error)),
            Self::Noted { answer, .. } => _ = answer.send(Err(error)),
            Self::Due(_) => {}
        }
    }
}

/// What a thing came to, once it is durable.
pub(super) enum Done {
    /// Decided on, for whoever sent it.
    Committed(Committed),
    /// To be sent again when an action of this instance that has ended is written down.
    TooEarly(InstanceId),
    /// The instance is not as whoever sent it has seen it.
    Changed,
    /// To be sent again when models have been asked this.
    Unasked(Vec<Question>),
    /// A deadline was decided on; this is how the instance stands.
    Fired(Arc<Instance>),
    /// An action began, or none.
    Started(Option<Box<Started>>),
    /// Written down.
    Noted,
}

impl Work {
    /// Tells whoever waits what it came to.
    pub(super) fn answer(self, done: Done) {
        match (self, done) {
            (Self::Happened { answer, .. }, Done::Committed(committed)) => {
                _ = answer.send(Ok(Heard::Committed(committed)));
            }
            (Self::Happened { answer, .. }, Done::Changed) => _ = answer.send(Err(EngineError::Changed)),
            (Self::Happened { answer, submission, .. }, Done::TooEarly(id)) => {
                _ = answer.send(Ok(Heard::TooEarly(id, submission)));
            }
            (Self::Happened { answer, submission, .. }, Done::Unasked(questions)) => {
                _ = answer.send(Ok(Heard::Unasked(questions, submission)));
            }
            (Self::Begin { answer, .. } | Self::End { answer, .. }, Done::Started(started)) => {
                _ = answer.send(Ok(started));
            }
            (Self::Noted { answer, .. }, Done::Noted) => _ = answer.send(Ok(())),
            (
                _,
                Done::Changed
                | Done::Fired(_)
                | Done::Committed(_)
                | Done::TooEarly(_)
                | Done::Unasked(_)
                | Done::Started(_)
                | Done::Noted,
            ) => {}
        }
    }
}
