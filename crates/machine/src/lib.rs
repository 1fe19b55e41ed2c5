//! The kernel: what a machine is, and what follows when something happens to an instance of one.
//!
//! Pure: nothing here reads a file, a clock or a table, and equal arguments give equal results.
//!
//! What needs only a definition stands beside it, in crates of its own: drawings, simulations, explanations, comparisons and
//! translations from other languages.

mod check;
mod components;
mod decide;
mod definition;
mod fault;
mod guard;
mod instance;
mod link;
mod linked;
mod names;
pub mod operation;
mod plain;
mod prediction;
mod raised;
mod reading;
mod resource;
mod rule;
mod sender;
mod simulated;
mod source;
mod span;
mod stimulus;
pub mod storable;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
mod visit;
mod vocabulary;

pub use check::{Checked, check, load, load_stored};
pub use decide::{advance, create, create_linked, decide, questions, reads_facts};
pub use definition::{
    Definition, Due, Event, Invoke, Kind, Limit, State, Timeout, Transition, TransitionEffect,
};
pub use fault::{Fault, Faults, nearest, suggestion};
pub use guard::{Guard, Variables};
pub use instance::Instance;
pub use link::{Address, Link, LinkDeclaration, Links};
pub use linked::{
    Chain, DecidedLinked, KeptWhileWaiting, LinkFault, LinkedInstances, MAX_DEPTH, MAX_RAISED, check_linked,
    decide_linked,
};
pub use names::{
    ActionName, BadName, CounterName, EventName, LinkName, MAX_NAME, MachineName, ResourceName, SelectorName,
    StateName, is_instance_name, says_failed,
};
pub use operation::{Fence, OnCounters, Operation, Raises, Setting};
pub use plain::plain;
pub use prediction::{Predicted, Prediction, Question, is_one};
pub use raised::Raised;
pub use resource::ResourceDeclaration;
pub use rule::{Rule, Severity};
pub use sender::{Sender, SenderName, Source};
pub use simulated::{Distribution, SimulatedAction, Site};
pub use source::MAX_SIZE_BYTES;
pub use span::{BadSpan, parse_span};
pub use stimulus::{Cause, Decision, Effect, Ignored, Outcome, Stimulus};
pub use visit::Visit;
pub use vocabulary::{
    ActionCatalogue, BadVocabulary, FactKind, FactObject, NamedActions, SettingFault, Vocabulary,
};
