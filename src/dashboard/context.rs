//! What pages are made of.

use std::sync::Arc;

use super::farm::Farm;
use crate::engine::{Engine, Kept};
use crate::machine::MachineName;

/// What the handlers of pages work with.
#[derive(Clone)]
pub(super) struct Pages {
    pub(super) engine: Engine,
    pub(super) machine: MachineName,
    /// The farm as it was read last, for all who look at the same time.
    pub(super) farm: Arc<Kept<Farm>>,
}
