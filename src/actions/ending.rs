//! How a run of an action ends.

use serde_json::{Map, Value};

use super::trouble::Trouble;

/// What was observed: it goes into history as it is.
pub type Evidence = Map<String, Value>;

/// A run that ended without what its action is for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Unfinished {
    /// Why, in one sentence for the operator who reads the instance's history.
    pub reason: String,
    /// What was observed.
    pub evidence: Evidence,
    /// What that means for the action.
    pub ending: Ending,
}

/// What a run means that ended without what its action is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The action failed: what was observed speaks of the instance, what it was asked of, or their configuration.
    Failed,
    /// The action failed by how it is configured, and will until that is changed: no power URL, no such coil.
    Misconfigured,
    /// The action failed while it was to give back what it had taken away, such as power: it is tried until that succeeds.
    Unrestored(Trouble),
    /// Trouble of our own stood in the way, which says nothing about the instance: the action waits until it is over.
    Suspended {
        /// What stands in the way.
        trouble: Trouble,
        /// Whether something was written to a device, or may have been: then this run counts among the job's attempts.
        has_acted: bool,
    },
}

impl Unfinished {
    /// The action failed.
    #[must_use]
    pub fn failed(reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { reason: reason.into(), evidence, ending: Ending::Failed }
    }

    /// The action failed by how it is configured.
    #[must_use]
    pub fn misconfigured(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), evidence: Evidence::new(), ending: Ending::Misconfigured }
    }

    /// Trouble of our own stood in the way before anything was written to a device.
    #[must_use]
    pub fn suspended(trouble: Trouble, reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { reason: reason.into(), evidence, ending: Ending::Suspended { trouble, has_acted: false } }
    }

    /// The same after something was written to a device, or may have been.
    #[must_use]
    pub fn suspended_midway(trouble: Trouble, reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { reason: reason.into(), evidence, ending: Ending::Suspended { trouble, has_acted: true } }
    }
}
