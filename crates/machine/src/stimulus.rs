//! Stimuli, and the decisions that follow from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::definition::ActionInvocation;
use super::instance::Instance;
use super::link::Links;
use super::names::{ActionName, EventName, ResourceName, StateName};
use super::prediction::ModelAnswers;
use super::raised_event::RaisedEvent;
use super::sender::EventSource;
use super::visit::Visit;

/// A stimulus: something that happens to an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stimulus {
    /// The cause.
    pub cause: Cause,
    /// Facts known from outside about what the instance represents, as read for this decision; guards read them.
    #[serde(alias = "device")]
    pub facts: Map<String, Value>,
    /// The models' answers to the questions of guards.
    #[serde(default, skip_serializing_if = "ModelAnswers::is_empty")]
    pub predicted: ModelAnswers,
}

impl Stimulus {
    /// Creates a stimulus without facts and predictions.
    #[must_use]
    pub fn new(cause: Cause) -> Self {
        Self { cause, facts: Map::new(), predicted: ModelAnswers::default() }
    }
}

/// The causes of decisions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// The instance is created: its initial state is entered.
    Created {
        /// Its initial links.
        #[serde(default, skip_serializing_if = "Links::is_empty")]
        links: Links,
    },
    /// An event: a report or a request.
    Event {
        /// Its name.
        name: EventName,
        /// Who sent it.
        source: EventSource,
        /// Its arguments.
        args: Map<String, Value>,
        /// The visit that it refers to, if given.
        visit: Option<Visit>,
    },
    /// The first action of a visit starts, so the state's time limit starts; or a suspended action restarts, so the
    /// time limit resumes.
    Began {
        /// The visit of the action.
        visit: Visit,
    },
    /// An action is suspended because of a fault that is not the instance's, so the state's time limit is paused.
    Suspend {
        /// The visit of the action.
        visit: Visit,
    },
    /// An action that failed because of a fault that is not the instance's waits again, with those that follow it in its
    /// state; the state's time limit starts anew with it.
    Retry {
        /// The visit of the action.
        visit: Visit,
        /// The action.
        action: ActionName,
    },
    /// A deadline expires.
    Deadline {
        /// The visit that set it.
        visit: Visit,
    },
    /// An operator moves the instance by force, regardless of what its state handles.
    Force {
        /// The state that the operator expects it to be in.
        expected: StateName,
        /// The state to enter.
        to: StateName,
        /// The operator's reason.
        reason: String,
    },
}

impl Cause {
    /// Returns its name in histories and log lines; of an event, the name of the event.
    #[must_use]
    pub fn event_name(&self) -> &str {
        match self {
            Self::Created { .. } => "created",
            Self::Event { name, .. } => name.as_str(),
            Self::Began { .. } => "actions-began",
            Self::Suspend { .. } => "action-suspended",
            Self::Retry { .. } => "action-retried",
            Self::Deadline { .. } => "deadline",
            Self::Force { .. } => "forced",
        }
    }
}

/// The decision on a stimulus.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The outcome.
    pub outcome: Outcome,
    /// The instance after the decision.
    pub instance: Instance,
    /// The effects to perform once the decision is durable.
    pub effects: Vec<Effect>,
}

impl Decision {
    /// Whether a state was re-entered while its actions continue, as periodic checks of resting states do.
    #[must_use]
    pub fn keeps_actions(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Keep { .. }))
    }
}

/// The outcome of a stimulus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A state was entered.
    Moved {
        /// The previous state.
        from: StateName,
        /// The current state.
        to: StateName,
    },
    /// The instance changed, or its time limit started or was paused, in the same visit.
    Stayed,
    /// Nothing changed.
    Ignored(IgnoreReason),
}

/// Why a stimulus changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreReason {
    /// It refers to an earlier visit.
    #[error("stale: it speaks of visit {stated_visit}, this is visit {current_visit}")]
    Stale {
        /// The visit that it refers to.
        stated_visit: Visit,
        /// The instance's visit.
        current_visit: Visit,
    },
    /// It refers to a visit that has not happened yet.
    #[error("it speaks of visit {stated_visit}, but this is only visit {current_visit}")]
    Future {
        /// The visit that it refers to.
        stated_visit: Visit,
        /// The instance's visit.
        current_visit: Visit,
    },
    /// The deadline has not expired, none is set, or the time limit is already running.
    #[error("not due")]
    NotDue,
    /// The state does not handle this event.
    #[error("state {state} does not wait for {event}")]
    NotHandled {
        /// The instance's state.
        state: StateName,
        /// The event.
        event: EventName,
    },
    /// The state ignores this outcome of its action; its deadline decides what follows.
    #[error("state {state} leaves {event} to its deadline")]
    LeftToDeadline {
        /// The instance's state.
        state: StateName,
        /// The event.
        event: EventName,
    },
    /// The state handles the event, but no guard of its transitions holds.
    #[error("no condition of {event} in state {state} holds")]
    NoGuardHolds {
        /// The instance's state.
        state: StateName,
        /// The event.
        event: EventName,
    },
    /// The definition refuses the event.
    #[error("{reason}")]
    Refused {
        /// The reason.
        reason: String,
    },
    /// The definition does not declare this event, or not for this sender.
    #[error("{event} is not an event that this sender may send")]
    NotAllowed {
        /// The event.
        event: EventName,
    },
    /// A required argument is missing.
    #[error("{event} needs the argument `{argument}`")]
    MissingArgument {
        /// The event.
        event: EventName,
        /// The argument.
        argument: String,
    },
    /// The instance is not in the state that the operator expected.
    #[error("the state is {actual}, not {expected}")]
    Unexpected {
        /// The instance's state.
        actual: StateName,
        /// The expected state.
        expected: StateName,
    },
    /// The definition has no such state: the target of a forced move, or the instance's own state.
    #[error("no state {state} in this machine")]
    NoState {
        /// The state.
        state: StateName,
    },
}

/// An effect to perform once a decision is durable, or in its transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Cancel the remaining actions of the visit.
    Cancel {
        /// The visit that ended.
        visit: Visit,
    },
    /// Start these actions, one after the other, for the visit.
    Invoke {
        /// The visit that began.
        visit: Visit,
        /// The actions, in order.
        actions: Vec<ActionInvocation>,
    },
    /// Continue the actions of an earlier visit of the state; if none of them is left, start these.
    Keep {
        /// The visit that began.
        visit: Visit,
        /// The actions, in order.
        actions: Vec<ActionInvocation>,
    },
    /// Change what the instance holds to the resources of the state that was entered.
    Hold {
        /// The units of each resource; all others are released.
        units: BTreeMap<ResourceName, u32>,
    },
    /// Raise an event at a linked instance, in the same transaction.
    Raise(RaisedEvent),
}
