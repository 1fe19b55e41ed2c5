//! A batch that is decided on, and not yet durable.

use chrono::{DateTime, Utc};

use super::work_item::{WorkItem, WorkResult};
use crate::store::actions::{ActionId, WorkerId};
use crate::store::batches::DecidedUpdate;
use crate::store::instances::InstanceId;

/// The decisions on a batch, with the requests that are answered once it is durable.
pub(super) struct BatchDecisions {
    pub(super) decided: Vec<DecidedUpdate>,
    /// The requests, each with the instance of its update.
    pub(super) answers: Vec<(InstanceId, WorkItem, WorkResult)>,
    pub(super) worker: Option<WorkerId>,
    pub(super) decided_at: DateTime<Utc>,
    /// Actions of instances that no longer exist, with their requests.
    pub(super) orphans: Vec<(ActionId, WorkItem)>,
}
