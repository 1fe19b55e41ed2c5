//! The kernel: what a machine is, and what follows when something happens to an instance of one.
//!
//! Pure: nothing here reads a file, a clock or a table, and equal arguments give equal results.

mod definition;
mod guard;
mod instance;
mod names;
mod stimulus;

pub use definition::{
    Definition, Due, Event, Invoke, Limit, Operation, Setting, Source, State, Timeout, Transition,
    TransitionEffect,
};
pub use guard::Guard;
pub use instance::{Instance, Visit};
pub use names::{ActionName, BadName, CounterName, EventName, MachineName, StateName};
pub use stimulus::{Cause, Decision, Effect, Ignored, Outcome, Stimulus};
