//! Why an instance stands where it stands, in sentences for people.
//!
//! All of it is made from the definition and from what is recorded, so that it is right for any definition: whatever the
//! state, the first sentence says what is awaited, or what somebody may do.

use chrono::{DateTime, Utc};
use machine::{Definition, Instance, Kind};

use crate::awaited::awaited;
use crate::doing::Doing;
use crate::explanation::explain;
use crate::linked;
use crate::requests::Request;
use crate::story::Story;

/// What is known of an instance besides itself and its definition.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Since when it is in its state, tries that its own time limit began anew included.
    pub since: DateTime<Utc>,
    /// What it still has to do, in order.
    pub doing: &'a [Doing],
    /// What an operator may ask for.
    pub requests: &'a [Request],
}

/// Says in sentences why `instance` stands where it stands at `now`: the first says what is awaited or what somebody may
/// do, whatever the state; more follow where there is more to say.
#[must_use]
pub fn why(
    definition: &Definition,
    instance: &Instance,
    circumstances: Circumstances<'_>,
    now: DateTime<Utc>,
) -> Vec<String> {
    let Circumstances { since, doing, requests } = circumstances;
    let Some(state) = definition.states.get(&instance.state) else {
        return vec![format!(
            "Waits for a forced move: the definition in force has no state {}, so nothing else moves it.",
            instance.state
        )];
    };
    let own: Vec<&Doing> = doing.iter().filter(|doing| !doing.is_leftover).collect();
    let awaited = awaited(definition, instance, doing);
    let then = explain(definition, instance).then;
    let story = Story { instance, state, since, own, awaited, then, requests, now };
    let mut sentences = vec![story.main()];
    if state.kind != Kind::Failed {
        sentences
            .extend(story.failure().map(|failure| format!("The last failure that was told: {failure}.")));
    }
    sentences.extend(doing.iter().filter(|doing| doing.is_leftover).map(|doing| story.leftover(doing)));
    sentences.extend(story.operator());
    sentences.extend(linked::sentences(instance, state));
    sentences.extend(refused(requests));
    sentences
}

/// What an operator may ask for in this state, but not now, and why.
fn refused(requests: &[Request]) -> Option<String> {
    let reason = |request: &Request| Some(format!("{} ({})", request.event, request.refused.as_ref()?));
    let refused: Vec<String> = requests.iter().filter_map(reason).collect();
    (!refused.is_empty()).then(|| format!("Refused now: {}.", refused.join(", ")))
}
