//! What states hold is claimed before: by an action of theirs, or on every way into them.

use super::super::places::Places;
use super::graph::Graph;
use crate::definition::State;
use crate::fault::Collector;
use crate::rule::Rule;

/// Notes states that hold what nothing claims.
pub(super) fn check(graph: &Graph<'_>, places: &Places<'_>, faults: &mut Collector) {
    for (number, (name, state)) in graph.states.iter().enumerate() {
        if state.hold.is_empty() || !state.invoke.is_empty() {
            continue;
        }
        let is_initial = number == graph.initial;
        let mut ways = graph.edges.iter().filter(|edge| edge.to == number).map(|edge| edge.from);
        let poor = ways.find(|from| !holds_as_much(graph.states[*from].1, state));
        let from = match poor {
            Some(from) => format!("from `{}`, which does not hold as much", graph.states[from].0),
            None if is_initial => "when the instance comes to be".to_owned(),
            None => continue,
        };
        let message =
            format!("`{name}` invokes no action with which its resources are claimed, and is entered {from}");
        faults.add(places.within_state(name, "hold"), Rule::UnclaimedHold, message);
    }
}

fn holds_as_much(before: &State, state: &State) -> bool {
    state.hold.keys().all(|resource| before.hold.contains_key(resource))
}
