//! A definition as a graph: its edges, and the requests that many states share.

use std::collections::{BTreeMap, BTreeSet};

use super::wording::kind_word;
use formatting::count;
use machine::Sender;
use machine::{Definition, Event, State, StateKind, Timeout, TimeoutDue, Transition, TransitionEffect};
use machine::{EventName, StateName};

/// How many states must handle a request alike for it to be drawn as shared.
const MIN_SHARING_STATES: usize = 3;
/// How many states a list names before it counts the rest.
const MAX_LISTED_STATES: usize = 8;

/// The trigger of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TransitionTrigger {
    /// A sender that a face registers, or a linked instance.
    Report,
    Operator,
    Action,
    Time,
    /// `always`: on entry, without a sender.
    Entry,
}

impl TransitionTrigger {
    /// The trigger in one word, for class names and texts.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Operator => "operator",
            Self::Action => "action",
            Self::Time => "time",
            Self::Entry => "entry",
        }
    }
}

/// A label of an edge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EdgeLabel {
    pub(super) senders: Vec<TransitionTrigger>,
    pub(super) text: String,
    /// Tooltip: conditions and the meaning of the event.
    pub(super) tip: String,
}

/// An edge from one state to another, with all its labels.
#[derive(Debug, Clone)]
pub(super) struct DiagramEdge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) labels: Vec<EdgeLabel>,
    pub(super) kind: EdgeKind,
}

/// The kind of an edge; of several labels the most regular kind counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EdgeKind {
    /// An event, or a transition on entry.
    Progress,
    /// A timeout.
    TimedOut,
    /// A timeout beyond its limit.
    LimitExceeded,
}

/// A state.
#[derive(Debug)]
pub(super) struct DiagramNode<'d> {
    pub(super) name: &'d StateName,
    pub(super) state: &'d State,
    /// Labels of transitions that do not leave it.
    pub(super) inner: Vec<EdgeLabel>,
    /// Indices of the shared requests that it takes.
    pub(super) shared: Vec<usize>,
}

/// Requests that several states handle alike.
#[derive(Debug)]
pub(super) struct SharedRequests {
    /// The letter that identifies them.
    pub(super) tag: String,
    /// The text that lists the states.
    pub(super) states: String,
    /// Labels and targets of the requests.
    pub(super) edges: Vec<(EdgeLabel, Vec<usize>)>,
}

/// A definition as a graph; states are numbered in alphabetical order.
#[derive(Debug)]
pub(super) struct DiagramGraph<'d> {
    pub(super) definition: &'d Definition,
    pub(super) nodes: Vec<DiagramNode<'d>>,
    /// The edges without shared requests, ordered by states.
    pub(super) edges: Vec<DiagramEdge>,
    pub(super) shared: Vec<SharedRequests>,
    pub(super) initial: usize,
}

/// A request with its targets.
type RequestTargets<'d> = (&'d EventName, Vec<usize>);

impl<'d> DiagramGraph<'d> {
    pub(super) fn new(definition: &'d Definition) -> Self {
        let ids: BTreeMap<&StateName, usize> =
            definition.states.keys().enumerate().map(|(id, name)| (name, id)).collect();
        let mut builder = GraphBuilder { definition, ids, edges: BTreeMap::new() };
        let by_members = builder.shared();
        let mut nodes: Vec<DiagramNode<'d>> = Vec::new();
        for (id, (name, state)) in definition.states.iter().enumerate() {
            let is_shared = |event: &EventName| {
                by_members.iter().any(|(members, requests)| {
                    members.contains(&id) && requests.iter().any(|(shared, _)| *shared == event)
                })
            };
            let inner = builder.read(id, state, is_shared);
            let shared = by_members.iter().enumerate().filter(|(_, (members, _))| members.contains(&id));
            nodes.push(DiagramNode { name, state, inner, shared: shared.map(|(index, _)| index).collect() });
        }
        let shared = by_members.iter().enumerate();
        let shared =
            shared.map(|(index, (members, requests))| builder.shared_requests(index, members, requests));
        let shared = shared.collect();
        let initial = builder.ids.get(&definition.initial).copied().unwrap_or(0);
        let edges = builder.edges.into_iter();
        let edges =
            edges.map(|((from, to), (kind, labels))| DiagramEdge { from, to, labels, kind }).collect();
        Self { definition, nodes, edges, shared, initial }
    }

    /// The senders of reports as text: `sensor`, `sensor or lease`.
    pub(super) fn reporters(&self) -> String {
        let senders = self.definition.events.values().flat_map(|event| &event.from);
        let reporters: BTreeSet<&str> = senders.filter_map(reporter).collect();
        reporters.into_iter().collect::<Vec<_>>().join(" or ")
    }

    pub(super) fn name(&self, node: usize) -> &'d str {
        self.nodes[node].name.as_str()
    }

    pub(super) fn kind(&self, node: usize) -> StateKind {
        self.nodes[node].state.kind
    }
}

struct GraphBuilder<'d> {
    definition: &'d Definition,
    ids: BTreeMap<&'d StateName, usize>,
    edges: BTreeMap<(usize, usize), (EdgeKind, Vec<EdgeLabel>)>,
}

impl<'d> GraphBuilder<'d> {
    /// The requests that several states handle alike, by those states.
    fn shared(&self) -> Vec<(Vec<usize>, Vec<RequestTargets<'d>>)> {
        let mut members_by_request: BTreeMap<RequestTargets<'d>, Vec<usize>> = BTreeMap::new();
        for (id, state) in self.definition.states.values().enumerate() {
            for (event, transitions) in &state.on {
                let is_request = self
                    .definition
                    .events
                    .get(event)
                    .is_some_and(|event| event.from.iter().eq([&Sender::Operator]));
                let targets = self.targets(transitions);
                if is_request && !targets.is_empty() {
                    members_by_request.entry((event, targets)).or_default().push(id);
                }
            }
        }
        let mut by_members: BTreeMap<Vec<usize>, Vec<RequestTargets<'d>>> = BTreeMap::new();
        for (request, members) in members_by_request {
            if members.len() >= MIN_SHARING_STATES {
                by_members.entry(members).or_default().push(request);
            }
        }
        let mut shared: Vec<_> = by_members.into_iter().collect();
        shared.sort_by(|(_, one), (_, other)| one.cmp(other));
        shared
    }

    fn targets(&self, transitions: &[Transition]) -> Vec<usize> {
        let mut targets = Vec::new();
        for transition in transitions {
            if let TransitionEffect::Move { target, .. } = &transition.effect
                && let Some(id) = self.ids.get(target)
                && !targets.contains(id)
            {
                targets.push(*id);
            }
        }
        targets
    }

    fn shared_requests(
        &self,
        index: usize,
        members: &[usize],
        requests: &[RequestTargets<'d>],
    ) -> SharedRequests {
        let tag = u8::try_from(index).ok().filter(|index| *index < 26);
        let tag = tag.map_or_else(|| format!("{}", index + 1), |index| char::from(b'A' + index).to_string());
        let edges = requests.iter().map(|(event, targets)| {
            let declared = self.definition.events.get(*event);
            let tip = declared.map_or("", |event| &event.about).to_owned();
            let label =
                EdgeLabel { senders: vec![TransitionTrigger::Operator], text: event.to_string(), tip };
            (label, targets.clone())
        });
        let edges = edges.collect();
        SharedRequests { tag, states: self.describe_members(members), edges }
    }

    /// The text that lists `members`: `New, Ready and every failed state`.
    fn describe_members(&self, members: &[usize]) -> String {
        let states: Vec<(&StateName, &State)> = self.definition.states.iter().collect();
        let mut parts = Vec::new();
        let mut left: BTreeSet<usize> = members.iter().copied().collect();
        for kind in [StateKind::Resting, StateKind::Failed, StateKind::Working] {
            let all: Vec<usize> = (0..states.len()).filter(|id| states[*id].1.kind == kind).collect();
            if all.len() > 2 && all.iter().all(|id| left.contains(id)) {
                left.retain(|id| !all.contains(id));
                parts.push(format!("every {} state", kind_word(kind)));
            }
        }
        let mut names: Vec<String> =
            left.iter().take(MAX_LISTED_STATES).map(|id| states[*id].0.to_string()).collect();
        if left.len() > MAX_LISTED_STATES {
            names.push(count(left.len() - MAX_LISTED_STATES, "other"));
        }
        names.append(&mut parts);
        match names.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
            _ => names.concat(),
        }
    }

    /// Adds the edges of `state`; returns the labels of transitions that do not leave it.
    fn read(&mut self, id: usize, state: &State, is_shared: impl Fn(&EventName) -> bool) -> Vec<EdgeLabel> {
        let mut inner = Vec::new();
        self.transitions(id, &state.always, &[TransitionTrigger::Entry], ("at once", ""), &mut inner);
        let events: &'d BTreeMap<EventName, Event> = &self.definition.events;
        for (name, transitions) in &state.on {
            if is_shared(name) {
                continue;
            }
            let event = events.get(name);
            let senders: Vec<TransitionTrigger> = event.map_or_else(Vec::new, |event| senders(&event.from));
            let about = event.map_or("", |event| event.about.as_str());
            self.transitions(id, transitions, &senders, (name.as_str(), about), &mut inner);
        }
        if let Some(timeout) = &state.timeout {
            self.timeout(id, timeout, &mut inner);
        }
        inner
    }

    fn transitions(
        &mut self,
        from: usize,
        transitions: &[Transition],
        senders: &[TransitionTrigger],
        (text, about): (&str, &str),
        inner: &mut Vec<EdgeLabel>,
    ) {
        let is_conditional = transitions.iter().any(|transition| transition.guard.is_some());
        let mark = if is_conditional { " ?" } else { "" };
        for transition in transitions {
            let condition = match &transition.guard {
                Some(guard) => format!("if {}", guard.text()),
                None if is_conditional => "otherwise".to_owned(),
                None => String::new(),
            };
            let (to, text) = match &transition.effect {
                TransitionEffect::Refuse { .. } => continue,
                TransitionEffect::Stay { .. } => (None, format!("{text}{mark}: stays")),
                TransitionEffect::Move { target, .. } => match self.ids.get(target) {
                    Some(to) if *to == from => (None, format!("{text}{mark}: again")),
                    to => (to.copied(), format!("{text}{mark}")),
                },
            };
            let tip = [about, &condition].into_iter().filter(|part| !part.is_empty());
            let tip = tip.collect::<Vec<_>>().join("; ");
            let label = EdgeLabel { senders: senders.to_vec(), text, tip };
            match to {
                Some(to) => self.add(from, to, label, EdgeKind::Progress),
                None => add(inner, label),
            }
        }
    }

    fn timeout(&mut self, from: usize, timeout: &Timeout, inner: &mut Vec<EdgeLabel>) {
        let senders = vec![TransitionTrigger::Time];
        let due = match timeout.due {
            TimeoutDue::After(span) => format!("after {}", formatting::duration(span)),
            TimeoutDue::At(at) => format!("at {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
        };
        let limit_text =
            timeout.limit.as_ref().map_or_else(String::new, |limit| format!(", {}×", limit.max_count));
        let tip = timeout.limit.as_ref().map_or_else(String::new, |limit| {
            format!("at most {} of the counter {}", limit.max_count, limit.counter)
        });
        if self.ids.get(&timeout.target) == Some(&from) {
            let kept_actions = if timeout.keeps_actions { ", actions continue" } else { "" };
            let text = format!("again {due}{limit_text}{kept_actions}");
            add(inner, EdgeLabel { senders: senders.clone(), text, tip: tip.clone() });
        } else if let Some(to) = self.ids.get(&timeout.target).copied() {
            let label =
                EdgeLabel { senders: senders.clone(), text: format!("{due}{limit_text}"), tip: tip.clone() };
            self.add(from, to, label, EdgeKind::TimedOut);
        }
        let Some(limit) = &timeout.limit else { return };
        let label =
            EdgeLabel { senders, text: format!("{} time", ordinal(u64::from(limit.max_count) + 1)), tip };
        match self.ids.get(&limit.exceeded).copied() {
            Some(to) if to == from => add(inner, label),
            Some(to) => self.add(from, to, label, EdgeKind::LimitExceeded),
            None => {}
        }
    }

    fn add(&mut self, from: usize, to: usize, label: EdgeLabel, kind: EdgeKind) {
        let (known, labels) = self.edges.entry((from, to)).or_insert((kind, Vec::new()));
        *known = kind.min(*known);
        add(labels, label);
    }
}

/// Adds a label, or its tooltip to an equal label.
fn add(labels: &mut Vec<EdgeLabel>, label: EdgeLabel) {
    match labels.iter_mut().find(|known| known.text == label.text && known.senders == label.senders) {
        Some(known) if known.tip != label.tip => known.tip = format!("{}; or {}", known.tip, label.tip),
        Some(_) => {}
        None => labels.push(label),
    }
}

/// The name of a sender of reports.
fn reporter(sender: &Sender) -> Option<&str> {
    match sender {
        Sender::Face(name) => Some(name.as_str()),
        Sender::Machine(name) => Some(name.as_str()),
        Sender::Operator | Sender::Action => None,
    }
}

fn senders(from: &BTreeSet<Sender>) -> Vec<TransitionTrigger> {
    let sender = |sender: &Sender| match sender {
        Sender::Face(_) | Sender::Machine(_) => TransitionTrigger::Report,
        Sender::Operator => TransitionTrigger::Operator,
        Sender::Action => TransitionTrigger::Action,
    };
    let mut triggers: Vec<TransitionTrigger> = from.iter().map(sender).collect();
    triggers.dedup();
    triggers
}

/// `1st`, `2nd`, `11th`.
fn ordinal(number: u64) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}
