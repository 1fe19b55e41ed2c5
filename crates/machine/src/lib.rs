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

pub use check::{CheckReport, check, load, load_stored};
pub use decide::{advance, create, create_linked, decide, questions, reads_facts};
pub use definition::{
    Definition, TimeoutDue, Event, ActionInvocation, StateKind, TimeoutLimit, State, Timeout, Transition, TransitionEffect,
};
pub use fault::{SourceFault, SourceFaults, nearest, suggestion};
pub use guard::{Guard, GuardVariables};
pub use instance::Instance;
pub use link::{InstanceAddress, Link, LinkDeclaration, Links};
pub use linked::{
    RaiseChain, LinkedDecision, HeldWhileWaiting, LinkFault, LinkedInstances, MAX_CHAIN_DEPTH, MAX_CHAIN_EVENTS, check_linked,
    decide_linked,
};
pub use names::{
    ActionName, BadName, CounterName, EventName, LinkName, MAX_NAME_CHARS, MachineName, ResourceName, SelectorName,
    StateName, is_instance_name, is_failed_state_name,
};
pub use operation::{Fence, CounterEffect, Operation, DeclaredRaise, OperationValue};
pub use plain::reword_library_error;
pub use prediction::{ModelAnswers, Prediction, ModelQuestion, is_single_row};
pub use raised::RaisedEvent;
pub use resource::ResourceDeclaration;
pub use rule::{Rule, Severity};
pub use sender::{Sender, SenderName, EventSource};
pub use simulated::{Distribution, SimulatedAction, ActionSite};
pub use source::MAX_SOURCE_BYTES;
pub use span::{BadSpan, parse_span};
pub use stimulus::{Cause, Decision, Effect, IgnoreReason, Outcome, Stimulus};
pub use visit::Visit;
pub use vocabulary::{
    ActionCatalogue, BadVocabulary, FactKind, FactObject, NamedActions, SettingFault, Vocabulary,
};
