//! What faces know of instances from outside, kept with the row that it was read with. The store never looks into it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::machine::Instance;

/// What a face knows that several instances have in common, by whatever the face tells them apart.
pub type SharedFacts = BTreeMap<String, Map<String, Value>>;

/// What is known of an instance besides its lifecycle, as its face read it. Whoever changes it rewrites the instance's row.
pub trait InstanceFacts: fmt::Debug + Send + Sync {
    /// The name of the face that knows it.
    fn face(&self) -> &'static str;

    /// What guards may read, by the names that definitions use. History keeps it: nothing secret is in it.
    fn for_guards(&self, instance: &Instance, shared: &SharedFacts) -> Map<String, Value>;

    /// What actions get, by the names that their kinds use. It goes into no history and may hold secrets.
    fn for_actions(&self, instance: &Instance, shared: &SharedFacts) -> Map<String, Value>;
}
