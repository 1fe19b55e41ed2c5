//! A machine definition that has been checked: what [`decide`](super::decide()) works on.
//!
//! Only [`load`](super::load()) and [`check`](super::check()) make one, so whoever holds a [`Definition`] may rely on what
//! they prove: every target exists, every event is declared, no guard names an unknown variable, nothing goes round for
//! ever by itself.

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
    /// The declared events, and the outcomes of the actions that states invoke.
    pub events: BTreeMap<EventName, Event>,
    /// The counters that its limits, operations and guards name.
    pub counters: BTreeSet<CounterName>,
    /// What conditions ask models when an event comes, in whichever state.
    pub questions: BTreeMap<EventName, BTreeSet<ModelQuestion>>,
    /// Whether a condition that is asked when a state is entered, whichever it is, reads facts.
    pub reads_facts_on_entry: bool,
    /// The links that instances may have, and to what.
    pub links: BTreeMap<LinkName, LinkDeclaration>,
    /// The objects by which conditions may read facts.
    pub facts: Vec<FactObject>,
    /// The resources that its states hold, and how much there is of them.
    pub resources: BTreeMap<ResourceName, ResourceDeclaration>,
    /// Where counters begin that do not begin at zero.
    pub initial_counts: BTreeMap<CounterName, i64>,
    /// The states; what groups share has been written into each of their members.
    pub states: BTreeMap<StateName, State>,
    /// What states of earlier versions are called now, old name → new name: instances in flight go on there.
    pub renamed: BTreeMap<StateName, StateName>,
}

/// A declared event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Who may send it.
    pub from: BTreeSet<Sender>,
    /// The arguments that it must bring.
    pub args: BTreeSet<String>,
    /// One line for people, or empty.
    pub about: String,
}

impl Event {
    /// The sender registered by a face that may send it, where there is one.
    #[must_use]
    pub fn reporter(&self) -> Option<&SenderName> {
        self.from.iter().find_map(|sender| match sender {
            Sender::Face(name) => Some(name),
            Sender::Operator | Sender::Action | Sender::Machine(_) => None,
        })
    }
}

/// What being in a state means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateKind {
    /// Something is under way, and it has to end.
    #[default]
    Working,
    /// Nothing is under way; an instance may stay for ever (`resting: true`, of a state or of a group of them).
    Resting,
    /// A person has to look: the state's name begins with `Failed` or `failed`.
    Failed,
    /// The end of the instance's life (`final: true`).
    Final,
}

/// A state.
#[derive(Debug, Default)]
pub struct State {
    /// What being in it means.
    pub kind: StateKind,
    /// What others call it, where a name cannot say that.
    pub label: Option<String>,
    /// Whether it says of itself that it is resting, also where it is a failed one: then an operator's force may be all that
    /// leads there.
    pub is_declared_resting: bool,
    /// One line for people, or empty: what the state waits for, or what a person should do.
    pub about: String,
    /// What entering it does to the instance.
    pub entry: Vec<Operation>,
    /// How many units of each resource are held for as long as an instance is in it.
    pub hold: BTreeMap<ResourceName, u32>,
    /// What is started after entering it and cancelled by leaving it, in order.
    pub invoke: Vec<ActionInvocation>,
    /// When it ends by itself.
    pub timeout: Option<Timeout>,
    /// The ends of its actions that change nothing, because its time limit decides what follows.
    pub left_to_deadline: BTreeSet<EventName>,
    /// What leaves it at once.
    pub always: Vec<Transition>,
    /// What each event does in it.
    pub on: BTreeMap<EventName, Vec<Transition>>,
}

/// An action to start on entering a state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActionInvocation {
    /// Which action.
    pub action: ActionName,
    /// The longest it may take, where the definition says so; otherwise the action's own limit holds.
    pub limit: Option<Duration>,
    /// Settings for the action.
    pub with: Map<String, Value>,
}

/// A state's time limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeout {
    /// When it passes.
    pub due: TimeoutDue,
    /// Where it leads.
    pub target: StateName,
    /// How often it may pass before it leads elsewhere.
    pub limit: Option<TimeoutLimit>,
    /// Whether the state's actions go on where it leads back to the state itself; otherwise they are begun anew. Its time
    /// passes at the nearest full second then.
    pub keeps_actions: bool,
}

/// When a state's time limit passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutDue {
    /// This long after the state's first action began to run, or after entry where it invokes none.
    After(Duration),
    /// At this time, whenever the state was entered.
    At(DateTime<Utc>),
}

impl fmt::Display for TimeoutDue {
    /// As a definition says it: `after: 60s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(span) => write!(f, "after: {}", formatting::duration(*span)),
            Self::At(at) => write!(f, "at: {}", at.format("%Y-%m-%dT%H:%M:%SZ")),
        }
    }
}

/// How often a state's time limit may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeoutLimit {
    /// What counts the passings.
    pub counter: CounterName,
    /// The count that is still within the limit.
    pub most: u32,
    /// Where a count above it leads.
    pub exceeded: StateName,
}

/// One of the things that an event may do in a state: the first whose guard holds is taken.
#[derive(Debug, Clone)]
pub struct Transition {
    /// What must hold; nothing means always.
    pub guard: Option<Guard>,
    /// What it does.
    pub effect: TransitionEffect,
}

impl Transition {
    /// Whether its condition reads facts.
    pub(super) fn reads_facts(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::reads_facts)
    }
}

/// What a transition does.
#[derive(Debug, Clone, PartialEq)]
pub enum TransitionEffect {
    /// Changes the instance and moves to a state (possibly the same one, which is entered anew).
    Move {
        /// The changes, made before entering.
        operations: Vec<Operation>,
        /// The state to enter.
        target: StateName,
    },
    /// Changes the instance and stays: same visit, same deadline.
    Stay {
        /// The changes.
        operations: Vec<Operation>,
    },
    /// Refuses the event, with a sentence for whoever sent it.
    Refuse {
        /// Why.
        reason: String,
    },
}

impl Definition {
    /// How often the time limit of `state` has passed without success, by these counters; nothing where it has not, or is
    /// not counted.
    #[must_use]
    pub fn failed_tries(&self, state: &str, counters: &BTreeMap<CounterName, i64>) -> Option<i64> {
        let limit = self.states.get(state)?.timeout.as_ref()?.limit.as_ref()?;
        let begins = self.initial_counts.get(&limit.counter).copied().unwrap_or(0);
        let count = counters.get(&limit.counter)? - begins;
        (count > 0).then_some(count)
    }

    /// The events that `sender` may send and that `state` takes, in alphabetical order.
    #[must_use]
    pub fn accepted_events(&self, state: &str, sender: &Sender) -> Vec<&EventName> {
        let Some(state) = self.states.get(state) else { return Vec::new() };
        state
            .on
            .keys()
            .filter(|name| self.events.get(*name).is_some_and(|event| event.from.contains(sender)))
            .collect()
    }

    /// Where `counter` begins, and begins again when it is cleared.
    #[must_use]
    pub fn initial_count(&self, counter: &CounterName) -> i64 {
        self.initial_counts.get(counter).copied().unwrap_or(0)
    }

    /// What the counters of an instance are whose own are `counted`: of those that have not been counted, where they begin.
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

    /// What others call `state`: its label, or its name where it has none.
    #[must_use]
    pub fn label<'a>(&'a self, state: &'a StateName) -> &'a str {
        let label = self.states.get(state).and_then(|state| state.label.as_deref());
        label.unwrap_or(state.as_str())
    }

    /// The state that others call `label`.
    #[must_use]
    pub fn find_labelled(&self, label: &str) -> Option<&StateName> {
        self.states.keys().find(|name| self.label(name) == label)
    }

    /// All events that `sender` may send, in alphabetical order.
    #[must_use]
    pub fn events_from(&self, sender: &Sender) -> Vec<&EventName> {
        self.events.iter().filter(|(_, event)| event.from.contains(sender)).map(|(name, _)| name).collect()
    }
}
