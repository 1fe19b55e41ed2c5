//! The kernel: machine definitions, instances, and decisions on what happens to instances.
//!
//! Pure: nothing here reads a file, a clock or a database, and equal arguments give equal results.
//!
//! Crates of their own use definitions for diagrams, simulations, explanations, comparisons and imports from other
//! languages.

mod check;
mod decide;
mod definition;
mod error_wording;
mod fault;
mod foreign_format;
mod guard;
mod instance;
mod link;
mod linked;
mod names;
pub mod operation;
mod parse_helpers;
mod prediction;
mod raised_event;
mod resource;
mod rule;
mod sender;
mod simulation;
mod source;
pub mod source_text;
mod span;
mod stimulus;
pub mod storable;
mod strongly_connected;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod visit;
mod vocabulary;

pub use check::{CheckReport, check, load, load_stored};
pub use decide::{advance, can_invoke, create, create_linked, decide, questions, reads_facts};
pub use definition::{
    ActionInvocation, Definition, Event, State, StateKind, Timeout, TimeoutDue, TimeoutLimit, Transition,
    TransitionEffect,
};
pub use error_wording::reword_library_error;
pub use fault::{SourceFault, SourceFaults, nearest, suggestion};
pub use guard::{Guard, GuardVariables};
pub use instance::Instance;
pub use link::{InstanceAddress, Link, LinkDeclaration, Links};
pub use linked::{
    HeldWhileWaiting, LinkFault, LinkedDecision, LinkedInstances, MAX_CHAIN_DEPTH, MAX_CHAIN_EVENTS,
    RaiseChain, check_linked, decide_linked,
};
pub use names::{
    ActionName, BadName, CounterName, EventName, LinkName, MAX_NAME_CHARS, MachineName, ResourceName,
    SelectorName, StateName, is_failed_state_name, is_instance_name,
};
pub use operation::{CounterEffect, DeclaredRaise, Fence, Operation, OperationValue};
pub use prediction::{ModelAnswers, ModelQuestion, Prediction, is_single_row};
pub use raised_event::RaisedEvent;
pub use resource::ResourceDeclaration;
pub use rule::{Rule, Severity};
pub use sender::{EventSource, Sender, SenderName};
pub use simulation::{ActionSite, Distribution, SimulatedAction};
pub use source::MAX_SOURCE_BYTES;
pub use span::{BadSpan, parse_span};
pub use stimulus::{Cause, Decision, Effect, IgnoreReason, Outcome, Stimulus};
pub use visit::Visit;
pub use vocabulary::{
    ActionCatalogue, BadVocabulary, FactKind, FactObject, NamedActions, SettingFault, Vocabulary,
};
