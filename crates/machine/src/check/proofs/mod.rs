//! Proofs about a parsed definition: in every sequence of events, every instance makes progress and reaches a
//! resting state.
//!
//! The proofs cover all paths in the graph of states ([`graph`]). Data, arguments and facts in guards are unknown to
//! them; counters are tracked through limits, guards and operations.

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

/// Runs all proofs on `definition`, and reports what fails.
pub(super) fn prove(
    definition: &Definition,
    positions: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) {
    let graph = StateGraph::new(definition);
    refuse_ambiguous_senders(definition, positions, faults);
    let endless = endless_loops::check(&graph, positions, faults);
    reachability::check(&graph, &endless, positions, faults);
    unhandled_outcomes::check(definition, positions, faults);
    unclaimed_holds::check(&graph, positions, faults);
    hold_order::check(&graph, positions, faults);
    unused::check(definition, positions, faults);
}

/// Refuses events that both an operator and a reporter may send.
fn refuse_ambiguous_senders(
    definition: &Definition,
    positions: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) {
    for (name, event) in &definition.events {
        if let Some(reporter) = event.reporter().filter(|_| event.from.contains(&Sender::Operator)) {
            let reporter = reporter.as_str();
            let message = format!(
                "both `{reporter}` and an operator may send `{name}`, so history cannot tell a report from a request; \
                 declare two events, such as `{name}` and `rq-{name}`"
            );
            faults.add(positions.senders(name).unwrap_or_default(), Rule::TwoSenders, message);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk_tests;
