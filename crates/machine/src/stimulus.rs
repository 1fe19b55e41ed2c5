//! What may happen to an instance, and what follows from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::definition::ActionInvocation;
use super::instance::Instance;
use super::link::Links;
use super::names::{EventName, ResourceName, StateName};
use super::prediction::ModelAnswers;
use super::raised_event::RaisedEvent;
use super::sender::EventSource;
use super::visit::Visit;

/// Something that happens to an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stimulus {
    /// What happens.
    pub cause: Cause,
    /// What is known from outside of what the instance stands for, as it was read for this decision: guards read it.
    #[serde(alias = "device")]
    pub facts: Map<String, Value>,
    /// What models answered that guards ask.
    #[serde(default, skip_serializing_if = "ModelAnswers::is_empty")]
    pub predicted: ModelAnswers,
}

impl Stimulus {
    /// Something that happens, where guards may know of nothing else.
    #[must_use]
    pub fn new(cause: Cause) -> Self {
        Self { cause, facts: Map::new(), predicted: ModelAnswers::default() }
    }
}

/// The kinds of things that happen to an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// The instance comes to be: its initial state is entered.
    Created {
        /// The links that it has from the beginning.
        #[serde(default, skip_serializing_if = "Links::is_empty")]
        links: Links,
    },
    /// Somebody reports or asks for something.
    Event {
        /// Its name.
        name: EventName,
        /// Who sent it.
        source: EventSource,
        /// Its arguments.
        args: Map<String, Value>,
        /// The visit that it speaks of, if it says so.
        visit: Option<Visit>,
    },
    /// The first action of a visit begins to run, so the state's time limit begins to run; or one that was suspended begins
    /// anew, so the time limit goes on where it stood.
    Began {
        /// The visit whose action it is.
        visit: Visit,
    },
    /// An action is suspended by trouble that says nothing about the instance, so the state's time limit stands still.
    Suspend {
        /// The visit whose action it is.
        visit: Visit,
    },
    /// A deadline passes.
    Deadline {
        /// The visit that armed it.
        visit: Visit,
    },
    /// An operator moves the instance, whatever its state accepts.
    Force {
        /// The state that it is believed to be in.
        expected: StateName,
        /// The state to enter.
        to: StateName,
        /// Why, in the operator's words.
        reason: String,
    },
}

/// What follows from a stimulus.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What it amounts to.
    pub outcome: Outcome,
    /// The instance after it.
    pub instance: Instance,
    /// What is to be done once it is durable.
    pub effects: Vec<Effect>,
}

impl Decision {
    /// Whether a state was entered anew and its actions go on: what happens to everything at rest, again and again.
    #[must_use]
    pub fn keeps_actions(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Keep { .. }))
    }
}

/// What a stimulus amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A state was entered.
    Moved {
        /// The state left.
        from: StateName,
        /// The state that the instance is in now.
        to: StateName,
    },
    /// The instance changed, or its time limit began to run or stood still, in the same visit.
    Stayed,
    /// Nothing changed.
    Ignored(IgnoreReason),
}

/// Why a stimulus changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreReason {
    /// It speaks of an earlier visit than the present one.
    #[error("stale: it speaks of visit {spoken}, this is visit {present}")]
    Stale {
        /// The visit that it speaks of.
        spoken: Visit,
        /// The instance's visit.
        present: Visit,
    },
    /// It speaks of a visit that has not been.
    #[error("it speaks of visit {spoken}, but this is only visit {present}")]
    Future {
        /// The visit that it speaks of.
        spoken: Visit,
        /// The instance's visit.
        present: Visit,
    },
    /// The deadline is not due, or none is armed, or the clock already runs.
    #[error("not due")]
    NotDue,
    /// The state does not take this event.
    #[error("state {state} does not wait for {event}")]
    NotHandled {
        /// The instance's state.
        state: StateName,
        /// The event.
        event: EventName,
    },
    /// The state leaves this end of its action to its deadline.
    #[error("state {state} leaves {event} to its deadline")]
    LeftToDeadline {
        /// The instance's state.
        state: StateName,
        /// The event.
        event: EventName,
    },
    /// The state takes the event, but no guard of its transitions holds.
    #[error("no condition of {event} in state {state} holds")]
    NoGuardHolds {
        /// The instance's state.
        state: StateName,
        /// The event.
        event: EventName,
    },
    /// The definition refuses the event as it was sent.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The definition does not let this sender send this event, or does not know it.
    #[error("{event} is not an event that this sender may send")]
    NotAllowed {
        /// The event.
        event: EventName,
    },
    /// An argument that the event must bring is missing.
    #[error("{event} needs the argument `{argument}`")]
    MissingArgument {
        /// The event.
        event: EventName,
        /// The argument.
        argument: String,
    },
    /// The instance is not in the state that the operator believed it to be in.
    #[error("the state is {present}, not {expected}")]
    Unexpected {
        /// The instance's state.
        present: StateName,
        /// The state that was expected.
        expected: StateName,
    },
    /// The definition has no such state: the forced move's target, or the one that the instance is in.
    #[error("no state {state} in this machine")]
    NoState {
        /// The state.
        state: StateName,
    },
}

/// What is to be done once a decision is durable, or with it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Cancel what the visit still has to do.
    Cancel {
        /// The visit that ended.
        visit: Visit,
    },
    /// Start these, one after the other, for the visit.
    Invoke {
        /// The visit that began.
        visit: Visit,
        /// The actions, in order.
        actions: Vec<ActionInvocation>,
    },
    /// Let these go on, which were started for an earlier visit of the state; where none of them is left, start them for
    /// this one.
    Keep {
        /// The visit that began.
        visit: Visit,
        /// The actions, in order.
        actions: Vec<ActionInvocation>,
    },
    /// Hold other units of resources from here on than before: the state that was entered holds these.
    Hold {
        /// How many of each; what is not here is given back.
        units: BTreeMap<ResourceName, u32>,
    },
    /// Let a linked instance decide on an event, in the same transaction.
    Raise(RaisedEvent),
}
