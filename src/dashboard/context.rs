//! What pages are made of.

use std::sync::Arc;

use super::overview::FarmOverview;
use crate::engine::{CachedView, Engine};
use crate::machine::MachineName;

/// What the handlers of pages work with.
#[derive(Clone)]
pub(super) struct DashboardContext {
    pub(super) engine: Engine,
    pub(super) machine: MachineName,
    /// The farm as it was read last, for all who look at the same time.
    pub(super) overview: Arc<CachedView<FarmOverview>>,
}
