//! Conditions on the entity tag of an instance.

use std::fmt;
use std::sync::Arc;

/// A condition on the entity tag of an instance, which a submission depends on.
#[derive(Clone)]
pub struct TagCondition(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl TagCondition {
    /// The condition that `is_met` is true of the tag.
    #[must_use]
    pub fn new(is_met: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_met))
    }

    /// Whether the tag of an instance meets it.
    #[must_use]
    pub fn is_met_by(&self, tag: &str) -> bool {
        let Self(is_met) = self;
        is_met(tag)
    }
}

impl fmt::Debug for TagCondition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TagCondition").finish_non_exhaustive()
    }
}
