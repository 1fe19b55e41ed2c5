//! A group that is decided on, and not yet durable.

use chrono::{DateTime, Utc};

use super::work::{Done, Work};
use crate::store::actions::{ActionId, WorkerId};
use crate::store::groups::Decided;
use crate::store::instances::InstanceId;

/// A group whose fate is decided, and who is answered then.
pub(super) struct Decisions {
    pub(super) decided: Vec<Decided>,
    /// With whose part each becomes durable.
    pub(super) done: Vec<(InstanceId, Work, Done)>,
    pub(super) worker: Option<WorkerId>,
    pub(super) at: DateTime<Utc>,
    /// Actions of instances that are gone, and who asks.
    pub(super) orphans: Vec<(ActionId, Work)>,
}
