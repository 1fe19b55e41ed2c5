//! Transitions of events (`on:`) and immediate transitions (`always:`).

use super::super::definition::{Transition, TransitionEffect};
use super::super::fault::{FaultCollector, SourcePosition};
use super::super::guard::{CounterRanges, Guard, GuardEvaluation, GuardScope};
use super::super::names::EventName;
use super::super::rule::Rule;
use super::super::sender::Sender;
use super::super::source::{SourceContent, SourceNode};
use super::known_names::KnownNames;
use crate::operation::Operation;

/// Checks the transitions of events, and returns each with the position of its event.
pub(super) fn check_on(
    node: &SourceNode,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> Vec<(SourcePosition, EventName, Vec<Transition>)> {
    let entries = node.entries("a mapping from events to transitions", faults);
    let mut checked = Vec::new();
    for (key, node) in entries {
        let senders = known.events.get(key.text.as_str()).into_iter().flat_map(|event| &event.from);
        let evaluated_on = senders.fold(GuardEvaluation::Event, |evaluated_on, sender| match sender {
            Sender::Action => GuardEvaluation::ActionEnd,
            Sender::Machine(_) => GuardEvaluation::Raised,
            Sender::Face(_) | Sender::Operator => evaluated_on,
        });
        let transitions = check_all(node, evaluated_on, known, faults);
        if let Some(event) = known.event(key, faults) {
            checked.push((key.at, event, transitions));
        }
    }
    checked
}

/// Checks the transitions on entry.
pub(super) fn check_always(
    node: &SourceNode,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> Vec<Transition> {
    check_all(node, GuardEvaluation::Entry, known, faults)
}

/// The maximum number of transitions in a list: each is compared with all before it.
const MAX_TRANSITIONS_IN_LIST: usize = 100;

fn check_all(
    node: &SourceNode,
    evaluated_on: GuardEvaluation,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> Vec<Transition> {
    let elements = node.one_or_many();
    if elements.len() > MAX_TRANSITIONS_IN_LIST {
        let message = format!(
            "{} transitions are too many: a list has at most {MAX_TRANSITIONS_IN_LIST}",
            elements.len()
        );
        faults.add(node.at, Rule::Form, message);
        return Vec::new();
    }
    if elements.is_empty() {
        faults.add(
            node.at,
            Rule::Form,
            "expected a state, `{ target, if, do }` or a list of those; `{}` stays",
        );
    }
    let mut checked = Vec::new();
    let mut before = PrecedingTransitions::default();
    for element in elements {
        let (has_guard, transition) = check(element, evaluated_on, known, faults);
        let guard = transition.as_ref().and_then(|transition| transition.guard.as_ref());
        before.look_at(element, guard, faults);
        before.is_last |= !has_guard;
        before.guards.extend(guard.cloned().map(|guard| (element.at, guard)));
        checked.extend(transition);
    }
    checked
}

/// The transitions before another one in its list.
#[derive(Default)]
struct PrecedingTransitions {
    guards: Vec<(SourcePosition, Guard)>,
    /// The counter ranges in which none of them may be taken.
    left: CounterRanges,
    /// One of them has no condition.
    is_last: bool,
}

impl PrecedingTransitions {
    /// Reports that the transition at `element` is never taken, where that can be proved.
    fn look_at(&mut self, element: &SourceNode, guard: Option<&Guard>, faults: &mut FaultCollector) {
        let mut shadowed = |why: &str| {
            faults.add(element.at, Rule::Shadowed, format!("this transition is never taken: {why}"));
        };
        if self.is_last {
            return shadowed("the one before it has no `if`");
        }
        let ranges = guard.map(Guard::ranges).unwrap_or_default();
        let covers = |before: &Guard| {
            guard.is_some_and(|guard| guard.text() == before.text())
                || (before.is_ranges_only() && ranges.is_within(&before.ranges()))
        };
        if ranges.is_impossible() {
            faults.add(
                element.at,
                Rule::NeverHolds,
                "this transition is never taken: its condition never holds",
            );
        } else if let Some((at, _)) = self.guards.iter().find(|(_, before)| covers(before)) {
            shadowed(&format!("whenever its condition holds, the one at line {} holds first", at.line));
        } else if self.left.clone().intersect(&ranges).is_impossible() {
            shadowed("whenever its condition holds, one before it holds first");
        }
        if let Some(guard) = guard {
            self.left = std::mem::take(&mut self.left).intersect(&guard.ranges_otherwise());
        }
    }
}

/// Checks a transition, and returns whether it has a condition.
fn check(
    node: &SourceNode,
    evaluated_on: GuardEvaluation,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> (bool, Option<Transition>) {
    if let SourceContent::Text(_) = node.content {
        let target = known.state(node, "target", faults);
        let effect = target.map(|target| TransitionEffect::Move { operations: Vec::new(), target });
        return (false, effect.map(|effect| Transition { guard: None, effect }));
    }
    let expected = "a state, or `{ target, if, do }`";
    let is_always = evaluated_on == GuardEvaluation::Entry;
    let fields = match evaluated_on {
        GuardEvaluation::Event | GuardEvaluation::ActionEnd | GuardEvaluation::Raised => {
            node.fields(expected, &["target", "if", "do", "refuse"], faults)
        }
        GuardEvaluation::Entry => node.fields(expected, &["target", "if", "do"], faults),
    };
    let condition = fields.get("if");
    let guard = condition.and_then(|node| guard(node, evaluated_on, known, faults));
    let operations =
        fields.get("do").map_or_else(Vec::new, |node| Operation::parse_all(node, known.names(), faults));
    let target = fields.get("target").map(|node| known.state(node, "target", faults));
    let effect = match (fields.get("refuse").filter(|_| !is_always), target) {
        (Some(node), target) => {
            if target.is_some() || fields.get("do").is_some() {
                faults.add(
                    node.at,
                    Rule::Form,
                    "a refusal changes nothing: `refuse` excludes `target` and `do`",
                );
            }
            let reason = node.text("a message for the sender", faults);
            reason.map(|reason| TransitionEffect::Refuse { reason: reason.to_owned() })
        }
        (None, Some(target)) => target.map(|target| TransitionEffect::Move { operations, target }),
        (None, None) if is_always => {
            faults.add(node.at, Rule::Form, "`always` leaves the state: `target` is missing");
            None
        }
        (None, None) => Some(TransitionEffect::Stay { operations }),
    };
    (condition.is_some(), effect.map(|effect| Transition { guard, effect }))
}

fn guard(
    node: &SourceNode,
    evaluated_on: GuardEvaluation,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> Option<Guard> {
    let text = match &node.content {
        // `if: true` is a condition like any other.
        SourceContent::Bool(value) => value.to_string(),
        SourceContent::Null
        | SourceContent::Number(_)
        | SourceContent::Text(_)
        | SourceContent::List(_)
        | SourceContent::Map(_) => {
            node.text("a condition; quote it if it begins with `!`, `[`, `{` or a quote", faults)?.to_owned()
        }
    };
    let scope = GuardScope { counters: &known.counters, facts: known.vocabulary.facts(), evaluated_on };
    match Guard::new(&text, scope) {
        Ok(guard) => Some(guard),
        Err(found) => {
            for fault in found {
                faults.add(node.position_within(&text, fault.offset), fault.rule, fault.message);
            }
            None
        }
    }
}
