//! How a run at a device ends, whatever is done there. `T` is the trouble that whoever runs it tells apart.

use serde_json::{Map, Value};

/// What was observed, by name: it goes into history as it is.
pub type Evidence = Map<String, Value>;

/// A run that ended without what it is for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct RunError<T> {
    /// Why, in one sentence for the operator who reads of it.
    pub reason: String,
    /// What was observed.
    pub evidence: Evidence,
    /// What that means.
    pub kind: RunErrorKind<T>,
}

/// What it means that a run ended without what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunErrorKind<T> {
    /// It failed: what was observed speaks of the device, of what it was asked for, or of their configuration.
    Failed,
    /// It failed by how it is configured, and will until that is changed: no power URL, no such outlet.
    Misconfigured,
    /// It failed while it was to give back what it had taken away: that may be missing until it is given back.
    Unrestored {
        /// What, in a word: `power`.
        what: &'static str,
        /// Where.
        at: String,
    },
    /// Trouble of our own stood in the way, which says nothing about the device: it is to be run again when that is over.
    Suspended {
        /// What stands in the way.
        trouble: T,
        /// Whether something was written to a device, or may have been: then this run counts as one that was interrupted.
        has_acted: bool,
    },
}

impl<T> RunError<T> {
    /// It failed.
    #[must_use]
    pub fn failed(reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { reason: reason.into(), evidence, kind: RunErrorKind::Failed }
    }

    /// It failed by how it is configured.
    #[must_use]
    pub fn misconfigured(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), evidence: Evidence::new(), kind: RunErrorKind::Misconfigured }
    }

    /// Trouble of our own stood in the way before anything was written to a device.
    #[must_use]
    pub fn suspended(trouble: T, reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { reason: reason.into(), evidence, kind: RunErrorKind::Suspended { trouble, has_acted: false } }
    }

    /// The same after something was written to a device, or may have been.
    #[must_use]
    pub fn suspended_midway(trouble: T, reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { reason: reason.into(), evidence, kind: RunErrorKind::Suspended { trouble, has_acted: true } }
    }

    /// The same with its trouble told in the terms of whoever asked for the run.
    #[must_use]
    pub fn map_trouble<U>(self, told: impl FnOnce(T) -> U) -> RunError<U> {
        let Self { reason, evidence, kind: ending } = self;
        let ending = match ending {
            RunErrorKind::Failed => RunErrorKind::Failed,
            RunErrorKind::Misconfigured => RunErrorKind::Misconfigured,
            RunErrorKind::Unrestored { what, at } => RunErrorKind::Unrestored { what, at },
            RunErrorKind::Suspended { trouble, has_acted } => {
                RunErrorKind::Suspended { trouble: told(trouble), has_acted }
            }
        };
        RunError { reason, evidence, kind: ending }
    }
}
