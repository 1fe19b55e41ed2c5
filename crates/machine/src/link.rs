//! Links from an instance to others.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::{LinkName, MachineName};
use super::visit::Visit;

/// Which instance of which machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceAddress {
    /// The machine.
    pub machine: MachineName,
    /// The instance's own name.
    pub name: String,
}

impl fmt::Display for InstanceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.machine, self.name)
    }
}

/// A link: the instance that it leads to, and the visit that this was in when it was linked, where that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The instance that it leads to.
    #[serde(flatten)]
    pub to: InstanceAddress,
    /// Its visit at the time of linking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visit: Option<Visit>,
}

/// A declared link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkDeclaration {
    /// The machine of the instances that it leads to.
    pub machine: MachineName,
    /// One line for people, or empty.
    pub about: String,
}

/// The links of an instance, each by the name that its definition gives it.
pub type Links = BTreeMap<LinkName, Link>;
