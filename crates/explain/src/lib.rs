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

pub use awaited::awaited;
pub use doing::Doing;
pub use explanation::{Awaited, Explanation, Then, explain};
pub use requests::{Request, requests};
pub use why::{Circumstances, why};

#[cfg(test)]
mod tests;
