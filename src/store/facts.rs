//! Facts that faces have about instances, cached with the row that they were read with. The store does not interpret them.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::machine::Instance;

/// Facts that several instances share, by a key of the face's choice.
pub type SharedFacts = BTreeMap<String, Map<String, Value>>;

/// The facts about an instance, as its face read them. A change of them rewrites the instance's row.
pub trait InstanceFacts: fmt::Debug + Send + Sync {
    /// Returns the name of the face that the facts come from.
    fn face(&self) -> &'static str;

    /// Returns the facts that guards may read, by their names in definitions. They are stored in history, so they contain no
    /// secrets.
    fn for_guards(&self, instance: &Instance, shared: &SharedFacts) -> Map<String, Value>;

    /// Returns the facts that actions get, by the names that their kinds use. They are not stored in history and may contain
    /// secrets.
    fn for_actions(&self, instance: &Instance, shared: &SharedFacts) -> Map<String, Value>;
}
