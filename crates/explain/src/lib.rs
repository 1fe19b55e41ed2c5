//! Explains why an instance is in its state and what can happen next: as data, and in sentences for people.
//!
//! Pure functions of a definition and of what is recorded of an instance.

mod awaited_events;
mod explanation;
mod link_sentences;
mod pending_action;
mod requests;
mod sentences;
mod situation_text;
mod targets;

pub use awaited_events::awaited_events;
pub use explanation::{AwaitedEvent, Explanation, TimeoutConsequence, explain};
pub use pending_action::{PendingAction, ResourceIncident};
pub use requests::{PossibleRequest, requests};
pub use sentences::{InstanceCircumstances, explain_in_sentences};

#[cfg(test)]
mod tests;
