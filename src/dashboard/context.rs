//! The state that the handlers of pages share.

use std::sync::Arc;

use super::overview::FarmOverview;
use crate::engine::{CachedView, Engine};
use crate::machine::MachineName;

/// The state that the handlers of pages share.
#[derive(Clone)]
pub(super) struct DashboardContext {
    pub(super) engine: Engine,
    pub(super) machine: MachineName,
    /// The farm as it was last read, shared by simultaneous requests.
    pub(super) overview: Arc<CachedView<FarmOverview>>,
    /// Held while the resources are read.
    pub(super) resource_reading: Arc<tokio::sync::Mutex<()>>,
}
