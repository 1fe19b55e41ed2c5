//! What an action reports while it runs, besides how it ends.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// Something that is found out in the middle of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A fact about the instance, known from now on.
    Fact {
        /// Its name.
        name: &'static str,
        /// What it is.
        value: Value,
    },
    /// What the action was told makes no sense: an error of configuration, in words, which says nothing about the instance.
    Misconfigured(String),
}

/// Where an action reports what it finds; nowhere, where nobody listens.
#[derive(Clone, Default)]
pub struct FindingReporter(Option<Arc<dyn Fn(Finding) + Send + Sync>>);

impl FindingReporter {
    /// Findings that go to `listener`.
    #[must_use]
    pub fn to_listener(listener: impl Fn(Finding) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Reports what was found.
    pub fn report(&self, finding: Finding) {
        if let Some(listener) = &self.0 {
            listener(finding);
        }
    }
}

impl fmt::Debug for FindingReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Findings").field(&self.0.is_some()).finish()
    }
}
