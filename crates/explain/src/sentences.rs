//! Explains in sentences why an instance is in its state.
//!
//! The first sentence says what is awaited, or what an operator can do, in every state of every definition.

use chrono::{DateTime, Utc};
use machine::{Definition, Instance, StateKind};

use crate::awaited_events::awaited_events;
use crate::explanation::on_deadline;
use crate::link_sentences;
use crate::pending_action::PendingAction;
use crate::requests::PossibleRequest;
use crate::situation_text::SituationText;

/// What is known of an instance in addition to its row and its definition.
#[derive(Debug, Clone, Copy)]
pub struct InstanceCircumstances<'a> {
    /// When it last entered its state, re-entries included.
    pub entered_at: DateTime<Utc>,
    /// Its actions that have not ended, in order.
    pub actions: &'a [PendingAction],
    /// What an operator can request.
    pub requests: &'a [PossibleRequest],
}

/// Explains why `instance` is in its state at `now`. The first sentence is the answer; further sentences add details.
#[must_use]
pub fn explain_in_sentences(
    definition: &Definition,
    instance: &Instance,
    circumstances: InstanceCircumstances<'_>,
    now: DateTime<Utc>,
) -> Vec<String> {
    let InstanceCircumstances { entered_at, actions, requests } = circumstances;
    let Some(state) = definition.states.get(&instance.state) else {
        return vec![format!(
            "Waits for a forced move: the active definition has no state {}, so nothing else moves it.",
            instance.state
        )];
    };
    let situation = SituationText {
        instance,
        state,
        entered_at,
        actions: actions.iter().filter(|action| !action.is_leftover).collect(),
        awaited: awaited_events(definition, instance, actions),
        timeout_consequence: on_deadline(definition, instance),
        requests,
        now,
    };
    let mut sentences = vec![situation.main_sentence()];
    let leftovers = actions.iter().filter(|action| action.is_leftover);
    let (compensations, earlier): (Vec<_>, Vec<_>) = leftovers.partition(|action| action.is_compensation);
    sentences.extend(compensations.into_iter().map(|action| situation.compensation_sentence(action)));
    if state.kind != StateKind::Failed {
        sentences.extend(situation.failure_reason().map(|failure| format!("Last failure: {failure}.")));
    }
    sentences.extend(earlier.into_iter().map(|action| situation.leftover_sentence(action)));
    sentences.extend(situation.operator_sentence());
    sentences.extend(link_sentences::link_sentences(instance, state));
    sentences.extend(refusals_sentence(requests));
    sentences
}

/// Lists the requests that would be refused now, with the reasons.
fn refusals_sentence(requests: &[PossibleRequest]) -> Option<String> {
    let reason =
        |request: &PossibleRequest| Some(format!("{} ({})", request.event, request.refusal_reason.as_ref()?));
    let refused: Vec<String> = requests.iter().filter_map(reason).collect();
    (!refused.is_empty()).then(|| format!("Refused now: {}.", refused.join(", ")))
}
