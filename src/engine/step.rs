//! One decision of a chain, and what may be lacking for it.

use super::claims::StateHolds;
use crate::machine::{Decision, Stimulus};
use crate::store::instances::{InstanceId, Target};
use crate::store::links::LinkedIds;

/// One decision of a chain.
#[derive(Debug)]
pub(super) struct Step {
    /// Who decided.
    pub(super) id: InstanceId,
    /// On what.
    pub(super) stimulus: Stimulus,
    /// What follows.
    pub(super) decision: Decision,
    /// What the states hold that it left and entered.
    pub(super) holds: StateHolds,
    /// The numbers of the instances that it is linked to from here on, where its links changed.
    pub(super) linked: Option<LinkedIds>,
}

/// What keeps a chain from being decided on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// An instance has to be read.
    Instance(Target),
    /// What instances have in common has to be read.
    Shared,
    /// An action of one of the instances begins or ends in this batch: the next one sees what came of it.
    Turn,
}

impl Lack {
    pub(super) fn into_target(self) -> Option<Target> {
        match self {
            Self::Instance(target) => Some(target),
            Self::Shared | Self::Turn => None,
        }
    }
}
