//! Why an instance stands where it stands, in sentences for people.
//!
//! All of it is made from the definition and from what is recorded, so that it is right for any definition: whatever the
//! state, the first sentence says what is awaited, or what somebody may do.

use chrono::{DateTime, Utc};
use machine::{Definition, Instance, StateKind};

use crate::awaited_events::awaited_events;
use crate::explanation::explain;
use crate::link_sentences;
use crate::pending_action::PendingAction;
use crate::requests::PossibleRequest;
use crate::situation_text::SituationText;

/// What is known of an instance besides itself and its definition.
#[derive(Debug, Clone, Copy)]
pub struct InstanceCircumstances<'a> {
    /// Since when it is in its state, tries that its own time limit began anew included.
    pub since: DateTime<Utc>,
    /// What it still has to do, in order.
    pub actions: &'a [PendingAction],
    /// What an operator may ask for.
    pub requests: &'a [PossibleRequest],
}

/// Says in sentences why `instance` stands where it stands at `now`: the first says what is awaited or what somebody may
/// do, whatever the state; more follow where there is more to say.
#[must_use]
pub fn explain_in_sentences(
    definition: &Definition,
    instance: &Instance,
    circumstances: InstanceCircumstances<'_>,
    now: DateTime<Utc>,
) -> Vec<String> {
    let InstanceCircumstances { since, actions: doing, requests } = circumstances;
    let Some(state) = definition.states.get(&instance.state) else {
        return vec![format!(
            "Waits for a forced move: the definition in force has no state {}, so nothing else moves it.",
            instance.state
        )];
    };
    let own: Vec<&PendingAction> = doing.iter().filter(|doing| !doing.is_leftover).collect();
    let awaited = awaited_events(definition, instance, doing);
    let then = explain(definition, instance).then;
    let story = SituationText {
        instance,
        state,
        since,
        actions: own,
        awaited,
        timeout_consequence: then,
        requests,
        now,
    };
    let mut sentences = vec![story.main_sentence()];
    if state.kind != StateKind::Failed {
        sentences.extend(
            story.failure_reason().map(|failure| format!("The last failure that was told: {failure}.")),
        );
    }
    sentences
        .extend(doing.iter().filter(|doing| doing.is_leftover).map(|doing| story.leftover_sentence(doing)));
    sentences.extend(story.operator_sentence());
    sentences.extend(link_sentences::link_sentences(instance, state));
    sentences.extend(refused(requests));
    sentences
}

/// What an operator may ask for in this state, but not now, and why.
fn refused(requests: &[PossibleRequest]) -> Option<String> {
    let reason =
        |request: &PossibleRequest| Some(format!("{} ({})", request.event, request.refused.as_ref()?));
    let refused: Vec<String> = requests.iter().filter_map(reason).collect();
    (!refused.is_empty()).then(|| format!("Refused now: {}.", refused.join(", ")))
}
