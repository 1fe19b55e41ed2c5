//! What is proved of a definition that can be read: that whatever happens, every instance goes on, and comes to rest.
//!
//! The proofs run over the graph of its states ([`graph`]), every one of them; what guards say of data, arguments and
//! facts is taken as unknown, and counters for what limits, guards and operations make of them.

mod endless_loops;
mod graph;
mod hold_order;
mod loop_trace;
mod reachability;
mod unclaimed_holds;
mod unhandled_outcomes;
mod unused;

use super::super::definition::Definition;
use super::super::fault::FaultCollector;
use super::super::rule::Rule;
use super::super::sender::Sender;
use super::positions::DefinitionPositions;
use graph::StateGraph;
pub(crate) use hold_order::{HoldWait, hold_extensions, hold_wait_cycles};

/// Proves what can be proved of `definition`, and notes where that fails.
pub(super) fn prove(definition: &Definition, places: &DefinitionPositions<'_>, faults: &mut FaultCollector) {
    let graph = StateGraph::new(definition);
    refuse_ambiguous_senders(definition, places, faults);
    let endless = endless_loops::check(&graph, places, faults);
    reachability::check(&graph, &endless, places, faults);
    unhandled_outcomes::check(definition, places, faults);
    unclaimed_holds::check(&graph, places, faults);
    hold_order::check(&graph, places, faults);
    unused::check(definition, places, faults);
}

/// Refuses events that both an operator and what a face speaks for may send.
fn refuse_ambiguous_senders(
    definition: &Definition,
    places: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) {
    for (name, event) in &definition.events {
        if let Some(reporter) = event.reporter().filter(|_| event.from.contains(&Sender::Operator)) {
            let reporter = reporter.as_str();
            let message = format!(
                "both `{reporter}` and an operator may send `{name}`, so history cannot tell a report from a request; \
                 declare two events, such as `{name}` and `rq-{name}`"
            );
            faults.add(places.senders(name).unwrap_or_default(), Rule::TwoSenders, message);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk_tests;
