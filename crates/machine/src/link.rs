//! Links from an instance to others.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::{LinkName, MachineName};
use super::visit::Visit;

/// The address of an instance: machine and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceAddress {
    /// The machine.
    pub machine: MachineName,
    /// The instance's name.
    pub name: String,
}

impl fmt::Display for InstanceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.machine, self.name)
    }
}

/// A link: its target, and the target's visit at the time of linking, if known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The linked instance.
    #[serde(flatten)]
    pub to: InstanceAddress,
    /// Its visit at the time of linking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visit: Option<Visit>,
}

/// A link that a definition declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkDeclaration {
    /// The machine of the linked instances.
    pub machine: MachineName,
    /// A one-line description, or empty.
    pub about: String,
}

/// The links of an instance by link name.
pub type Links = BTreeMap<LinkName, Link>;
