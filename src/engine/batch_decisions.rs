//! A group that is decided on, and not yet durable.

use chrono::{DateTime, Utc};

use super::work_item::{WorkItem, WorkResult};
use crate::store::actions::{ActionId, WorkerId};
use crate::store::batches::DecidedUpdate;
use crate::store::instances::InstanceId;

/// A group whose fate is decided, and who is answered then.
pub(super) struct BatchDecisions {
    pub(super) decided: Vec<DecidedUpdate>,
    /// With whose part each becomes durable.
    pub(super) answers: Vec<(InstanceId, WorkItem, WorkResult)>,
    pub(super) worker: Option<WorkerId>,
    pub(super) decided_at: DateTime<Utc>,
    /// Actions of instances that are gone, and who asks.
    pub(super) orphans: Vec<(ActionId, WorkItem)>,
}
