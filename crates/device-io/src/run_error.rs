//! Errors of runs at devices. `T` is the type of local fault that the caller distinguishes.

use serde_json::{Map, Value};

/// Observations by name, stored in history unchanged.
pub type Evidence = Map<String, Value>;

/// Error of a run that did not reach its goal.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct RunError<T> {
    /// The reason, one sentence for the operator.
    pub reason: String,
    /// What was observed.
    pub evidence: Evidence,
    /// The kind of error.
    pub kind: RunErrorKind<T>,
    /// The device, if the run did not reach its goal because the device did not answer.
    pub unreachable: Option<Box<UnreachableDevice>>,
}

/// A device that did not answer: no connection, a refused connection, no answer, or closed without an answer. Or a device that
/// is suspected, because what it powers does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreachableDevice {
    /// Its resource.
    pub resource: String,
    /// Whether something may have been written to it.
    pub has_acted: bool,
    /// Whether it was not asked itself: what it powers does not answer.
    pub is_suspected: bool,
}

/// Kind of a [`RunError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunErrorKind<T> {
    /// The run failed; the evidence concerns the device, the request, or their configuration.
    Failed,
    /// The run fails until its configuration is changed: no power URL, no such outlet.
    Misconfigured,
    /// The run failed to restore what it had switched off; the resource stays off until it is restored.
    Unrestored {
        /// What was not restored: `power`.
        what: &'static str,
        /// The outlet.
        at: String,
    },
    /// A local fault prevented the run; it says nothing about the device. The run is repeated when the fault is over.
    Suspended {
        /// The local fault.
        trouble: T,
        /// Whether something may have been written to a device; then the run counts as interrupted.
        has_acted: bool,
    },
}

impl<T> RunError<T> {
    fn new(kind: RunErrorKind<T>, reason: impl Into<String>, evidence: Evidence) -> Self {
        let reason = formatting::without_error_numbers(&reason.into());
        Self { reason, evidence, kind, unreachable: None }
    }

    /// Creates a failure.
    #[must_use]
    pub fn failed(reason: impl Into<String>, evidence: Evidence) -> Self {
        Self::new(RunErrorKind::Failed, reason, evidence)
    }

    /// Creates a configuration error.
    #[must_use]
    pub fn misconfigured(reason: impl Into<String>) -> Self {
        Self::new(RunErrorKind::Misconfigured, reason, Evidence::new())
    }

    /// Creates an error for a local fault before anything was written to a device.
    #[must_use]
    pub fn suspended(trouble: T, reason: impl Into<String>, evidence: Evidence) -> Self {
        Self::new(RunErrorKind::Suspended { trouble, has_acted: false }, reason, evidence)
    }

    /// Creates an error for a local fault after something may have been written to a device.
    #[must_use]
    pub fn suspended_midway(trouble: T, reason: impl Into<String>, evidence: Evidence) -> Self {
        Self::new(RunErrorKind::Suspended { trouble, has_acted: true }, reason, evidence)
    }

    /// Converts the local fault to the caller's type.
    #[must_use]
    pub fn map_trouble<U>(self, map: impl FnOnce(T) -> U) -> RunError<U> {
        let Self { reason, evidence, kind, unreachable } = self;
        let kind = match kind {
            RunErrorKind::Failed => RunErrorKind::Failed,
            RunErrorKind::Misconfigured => RunErrorKind::Misconfigured,
            RunErrorKind::Unrestored { what, at } => RunErrorKind::Unrestored { what, at },
            RunErrorKind::Suspended { trouble, has_acted } => {
                RunErrorKind::Suspended { trouble: map(trouble), has_acted }
            }
        };
        RunError { reason, evidence, kind, unreachable }
    }
}
