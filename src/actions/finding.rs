//! Findings that an action reports while it runs.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// A finding of a running action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A new fact about the instance.
    Fact {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: Value,
    },
    /// A configuration error, in words. It says nothing about the instance.
    Misconfigured(String),
}

/// Passes the findings of an action to a listener, where there is one.
#[derive(Clone, Default)]
pub struct FindingReporter(Option<Arc<dyn Fn(Finding) + Send + Sync>>);

impl FindingReporter {
    /// A reporter that passes findings to `listener`.
    #[must_use]
    pub fn to_listener(listener: impl Fn(Finding) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Reports a finding.
    pub fn report(&self, finding: Finding) {
        if let Some(listener) = &self.0 {
            listener(finding);
        }
    }
}

impl fmt::Debug for FindingReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FindingReporter").field(&self.0.is_some()).finish()
    }
}
