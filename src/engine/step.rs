//! The decisions of a chain, and their missing inputs.

use super::claims::HoldChanges;
use crate::machine::{Decision, Stimulus};
use crate::store::instances::{InstanceId, InstanceKey};
use crate::store::links::LinkedIds;

/// One decision of a chain.
#[derive(Debug)]
pub(super) struct ChainStep {
    /// The instance that decided.
    pub(super) id: InstanceId,
    /// The stimulus.
    pub(super) stimulus: Stimulus,
    /// The decision.
    pub(super) decision: Decision,
    /// The changes of holds.
    pub(super) holds: HoldChanges,
    /// The numbers of the linked instances after the decision, where its links changed.
    pub(super) linked: Option<LinkedIds>,
}

/// The input that a chain lacks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MissingInput {
    /// An instance has to be read.
    Instance(InstanceKey),
    /// The facts of an instance have to be read: it is in the batch for something that needs none.
    Facts(InstanceId),
    /// The shared facts have to be read.
    SharedFacts,
    /// An action of one of the instances starts or ends in this batch: the next batch sees the result.
    NextBatch,
}

impl MissingInput {
    pub(super) fn into_target(self) -> Option<InstanceKey> {
        match self {
            Self::Instance(target) => Some(target),
            Self::Facts(_) | Self::SharedFacts | Self::NextBatch => None,
        }
    }

    pub(super) fn instance_without_facts(&self) -> Option<InstanceId> {
        match self {
            Self::Facts(id) => Some(*id),
            Self::Instance(_) | Self::SharedFacts | Self::NextBatch => None,
        }
    }
}
