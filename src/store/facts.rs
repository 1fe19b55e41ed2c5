//! Facts that faces have about instances, cached with the row that they were read with. The store does not interpret them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::machine::{Instance, MachineName};

/// Facts that several instances share, by a key of the face's choice.
pub type SharedFacts = BTreeMap<String, Map<String, Value>>;

/// Parses what the view `instance_facts` has of instances.
pub trait ParseFacts: Sync {
    /// Parses the facts about an instance of `machine`; nothing where no face has its machine.
    ///
    /// # Errors
    ///
    /// The text is not what the face stores.
    fn parse_facts(
        &self,
        machine: &MachineName,
        stored: &str,
    ) -> Result<Option<Arc<dyn InstanceFacts>>, serde_json::Error>;
}

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
