//! One decision of a chain, and what may be lacking for it.

use super::claims::HoldChanges;
use crate::machine::{Decision, Stimulus};
use crate::store::instances::{InstanceId, InstanceKey};
use crate::store::links::LinkedIds;

/// One decision of a chain.
#[derive(Debug)]
pub(super) struct ChainStep {
    /// Who decided.
    pub(super) id: InstanceId,
    /// On what.
    pub(super) stimulus: Stimulus,
    /// What follows.
    pub(super) decision: Decision,
    /// What the states hold that it left and entered.
    pub(super) holds: HoldChanges,
    /// The numbers of the instances that it is linked to from here on, where its links changed.
    pub(super) linked: Option<LinkedIds>,
}

/// What keeps a chain from being decided on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MissingInput {
    /// An instance has to be read.
    Instance(InstanceKey),
    /// What instances have in common has to be read.
    SharedFacts,
    /// An action of one of the instances begins or ends in this batch: the next one sees what came of it.
    NextBatch,
}

impl MissingInput {
    pub(super) fn into_target(self) -> Option<InstanceKey> {
        match self {
            Self::Instance(target) => Some(target),
            Self::SharedFacts | Self::NextBatch => None,
        }
    }
}
