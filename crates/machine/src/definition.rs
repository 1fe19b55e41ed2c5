//! A checked machine definition, on which [`decide`](super::decide()) works.
//!
//! Only [`load`](super::load()) and [`check`](super::check()) create one, so every [`Definition`] has what they prove:
//! every target exists, every event is declared, no guard names an unknown variable, and no `always` loop is endless.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::guard::Guard;
use super::link::LinkDeclaration;
use super::names::{ActionName, CounterName, EventName, LinkName, MachineName, ResourceName, StateName};
use super::operation::Operation;
use super::prediction::ModelQuestion;
use super::resource::ResourceDeclaration;
use super::sender::{Sender, SenderName};
use super::vocabulary::FactObject;

/// A checked machine definition.
#[derive(Debug)]
pub struct Definition {
    /// The machine's name.
    pub machine: MachineName,
    /// The state of a new instance.
    pub initial: StateName,
    /// The declared events, and the outcomes of the invoked actions.
    pub events: BTreeMap<EventName, Event>,
    /// The counters named by its limits, operations and guards.
    pub counters: BTreeSet<CounterName>,
    /// The questions that guards ask models on an event, in any state.
    pub questions: BTreeMap<EventName, BTreeSet<ModelQuestion>>,
    /// Whether any guard of an `always` transition reads facts.
    pub reads_facts_on_entry: bool,
    /// The declared links, and the machines that they lead to.
    pub links: BTreeMap<LinkName, LinkDeclaration>,
    /// The objects by which guards read facts.
    pub facts: Vec<FactObject>,
    /// The declared resources, with their limits.
    pub resources: BTreeMap<ResourceName, ResourceDeclaration>,
    /// The initial values of counters that do not start at zero.
    pub initial_counts: BTreeMap<CounterName, i64>,
    /// The states, with the transitions of their groups.
    pub states: BTreeMap<StateName, State>,
    /// The states of earlier versions that have a new name, old name → new name: their instances continue in the
    /// renamed state.
    pub renamed: BTreeMap<StateName, StateName>,
}

/// A declared event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Who may send it.
    pub from: BTreeSet<Sender>,
    /// The arguments that are required.
    pub args: BTreeSet<String>,
    /// A one-line description, or empty.
    pub about: String,
}

impl Event {
    /// The sender of a face that may send it, if there is one.
    #[must_use]
    pub fn reporter(&self) -> Option<&SenderName> {
        self.from.iter().find_map(|sender| match sender {
            Sender::Face(name) => Some(name),
            Sender::Operator | Sender::Action | Sender::Machine(_) => None,
        })
    }
}

/// The kind of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateKind {
    /// Work is in progress, and must end.
    #[default]
    Working,
    /// No work is in progress; an instance may stay indefinitely (`resting: true`, of a state or of a group of states).
    Resting,
    /// An operator is needed: the state's name begins with `Failed` or `failed`.
    Failed,
    /// The end of the instance's lifecycle (`final: true`).
    Final,
}

/// A state.
#[derive(Debug, Default)]
pub struct State {
    /// Its kind.
    pub kind: StateKind,
    /// The text that people see in place of its name, where the name alone does not say enough.
    ///
    /// It does not change the machine's behaviour. StateService clients address a state by it.
    pub label: Option<String>,
    /// Whether the definition declares it resting, which a failed state may be too: then it may be reachable by a
    /// forced move only.
    pub is_declared_resting: bool,
    /// A one-line description, or empty: what the state waits for, or what an operator should do.
    pub about: String,
    /// The operations that are applied when it is entered.
    pub entry: Vec<Operation>,
    /// The units of each resource that an instance holds while it is in the state.
    pub hold: BTreeMap<ResourceName, u32>,
    /// The actions that are started in order on entry and cancelled on exit.
    pub invoke: Vec<ActionInvocation>,
    /// Its time limit.
    pub timeout: Option<Timeout>,
    /// The outcomes of its actions that are ignored, because the time limit decides what follows.
    pub left_to_deadline: BTreeSet<EventName>,
    /// The transitions that are taken immediately on entry.
    pub always: Vec<Transition>,
    /// The transitions of each event.
    pub on: BTreeMap<EventName, Vec<Transition>>,
}

/// An action that a state starts on entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActionInvocation {
    /// The action.
    pub action: ActionName,
    /// The maximum run time, if the definition sets one; otherwise the action's own limit applies.
    pub limit: Option<Duration>,
    /// Settings for the action.
    pub with: Map<String, Value>,
}

/// A state's time limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeout {
    /// When it expires.
    pub due: TimeoutDue,
    /// The state that it leads to.
    pub target: StateName,
    /// How often it may expire before it leads to another state.
    pub limit: Option<TimeoutLimit>,
    /// Whether the state's actions continue when it leads back to the same state; otherwise they are started
    /// again. It then expires at a full second.
    pub keeps_actions: bool,
}

/// When a state's time limit expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutDue {
    /// This long after the state's first action starts, or after entry if the state invokes none.
    After(Duration),
    /// At this time, regardless of when the state was entered.
    At(DateTime<Utc>),
}

impl fmt::Display for TimeoutDue {
    /// Writes it as in a definition: `after: 60s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(span) => write!(f, "after: {}", formatting::duration(*span)),
            Self::At(at) => write!(f, "at: {}", at.format("%Y-%m-%dT%H:%M:%SZ")),
        }
    }
}

/// How often a state's time limit may expire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeoutLimit {
    /// The counter of expirations.
    pub counter: CounterName,
    /// The maximum count within the limit.
    pub max_count: u32,
    /// The target when the count exceeds the limit.
    pub exceeded: StateName,
}

/// A transition of an event: the first one whose guard holds is taken.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The condition; `None` means always.
    pub guard: Option<Guard>,
    /// Its effect.
    pub effect: TransitionEffect,
}

impl Transition {
    /// Whether its guard reads facts.
    pub(super) fn reads_facts(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::reads_facts)
    }
}

/// The effect of a transition.
#[derive(Debug, Clone, PartialEq)]
pub enum TransitionEffect {
    /// Changes the instance and enters a state (possibly the same one again).
    Move {
        /// The changes, made before entry.
        operations: Vec<Operation>,
        /// The state to enter.
        target: StateName,
    },
    /// Changes the instance in the same visit, with the same deadline.
    Stay {
        /// The changes.
        operations: Vec<Operation>,
    },
    /// Refuses the event, with a message for the sender.
    Refuse {
        /// The reason.
        reason: String,
    },
}

impl Definition {
    /// Returns how often the time limit of `state` has expired without success, by these counters; `None` if it has
    /// not, or is not counted.
    #[must_use]
    pub fn failed_tries(&self, state: &str, counters: &BTreeMap<CounterName, i64>) -> Option<i64> {
        let limit = self.states.get(state)?.timeout.as_ref()?.limit.as_ref()?;
        let initial = self.initial_counts.get(&limit.counter).copied().unwrap_or(0);
        let count = counters.get(&limit.counter)? - initial;
        (count > 0).then_some(count)
    }

    /// Returns the events that `sender` may send and `state` handles, in alphabetical order.
    #[must_use]
    pub fn accepted_events(&self, state: &str, sender: &Sender) -> Vec<&EventName> {
        let Some(state) = self.states.get(state) else { return Vec::new() };
        state
            .on
            .keys()
            .filter(|name| self.events.get(*name).is_some_and(|event| event.from.contains(sender)))
            .collect()
    }

    /// Returns the initial value of `counter`, which is its value again after `clear`.
    #[must_use]
    pub fn initial_count(&self, counter: &CounterName) -> i64 {
        self.initial_counts.get(counter).copied().unwrap_or(0)
    }

    /// Returns all counter values of an instance whose stored counters are `counted`, with the initial values of those
    /// not stored.
    #[must_use]
    pub fn effective_counters<'a>(
        &self,
        counted: &'a BTreeMap<CounterName, i64>,
    ) -> Cow<'a, BTreeMap<CounterName, i64>> {
        if self.initial_counts.is_empty() {
            return Cow::Borrowed(counted);
        }
        let mut counts = self.initial_counts.clone();
        counts.extend(counted.iter().map(|(name, count)| (name.clone(), *count)));
        Cow::Owned(counts)
    }

    /// Returns what people see for `state`: its label, or its name if it has none.
    #[must_use]
    pub fn label<'a>(&'a self, state: &'a StateName) -> &'a str {
        let label = self.states.get(state).and_then(|state| state.label.as_deref());
        label.unwrap_or(state.as_str())
    }

    /// Returns the label of `state`, if it has one that is not empty.
    #[must_use]
    pub fn explicit_label(&self, state: &str) -> Option<&str> {
        self.states.get(state)?.label.as_deref().filter(|label| !label.is_empty())
    }

    /// Finds the state with this label, or else the one with this name.
    #[must_use]
    pub fn find_by_label(&self, text: &str) -> Option<&StateName> {
        let labelled = self.states.keys().find(|name| self.label(name) == text);
        labelled.or_else(|| self.states.get_key_value(text).map(|(name, _)| name))
    }

    /// Whether `text` stands for `state`, by its label or by its name.
    #[must_use]
    pub fn is_called(&self, state: &StateName, text: &str) -> bool {
        self.label(state) == text
            || (state.as_str() == text && self.find_by_label(text).is_none_or(|found| found == state))
    }

    /// Returns all events that `sender` may send, in alphabetical order.
    #[must_use]
    pub fn events_from(&self, sender: &Sender) -> Vec<&EventName> {
        self.events.iter().filter(|(_, event)| event.from.contains(sender)).map(|(name, _)| name).collect()
    }
}
