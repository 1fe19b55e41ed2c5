//! What an instance waits for, and why it stands where it stands: in parts, and in sentences for people.
//!
//! All of it is made from the definition and from what is recorded, and changes neither.

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
pub use pending_action::PendingAction;
pub use requests::{PossibleRequest, requests};
pub use sentences::{InstanceCircumstances, explain_in_sentences};

#[cfg(test)]
mod tests;
