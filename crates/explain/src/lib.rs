//! What an instance waits for, and why it stands where it stands: in parts, and in sentences for people.
//!
//! All of it is made from the definition and from what is recorded, and changes neither.

mod awaited;
mod doing;
mod explanation;
mod linked;
mod requests;
mod story;
mod targets;
mod why;
pub mod words;

pub use awaited::awaited_events;
pub use doing::PendingAction;
pub use explanation::{AwaitedEvent, Explanation, TimeoutConsequence, explain};
pub use requests::{PossibleRequest, requests};
pub use why::{InstanceCircumstances, explain_in_sentences};

#[cfg(test)]
mod tests;
