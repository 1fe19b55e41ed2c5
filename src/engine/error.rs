//! Errors of the engine.

use super::refusal::FaceRefusal;
use crate::machine::{LinkFault, LinkName, MachineName};
use crate::store::StoreError;
use crate::store::instances::{InstanceKey, StrandedInstance};

/// An error of the engine.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// There is no such instance; nothing was written.
    #[error("there is no {}", describe_target(.0))]
    NoInstance(InstanceKey),
    /// There is no active definition of the machine that this program can parse; nothing was written.
    #[error("no active definition of machine {0}")]
    NoMachine(MachineName),
    /// The machine's definition has no such link; nothing was written.
    #[error("machine {machine} has no link `{link}`")]
    NoLink {
        /// The machine.
        machine: MachineName,
        /// The link.
        link: LinkName,
    },
    /// A definition does not match the definitions of linked machines; nothing was written.
    #[error("{}", .faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    MismatchedLinks {
        /// The machine.
        machine: MachineName,
        /// The faults.
        faults: Vec<LinkFault>,
    },
    /// The instance has changed since the client read it; nothing was written.
    #[error("the instance has changed since it was read")]
    Changed,
    /// An instance of this name exists; nothing was written.
    #[error("an instance `{0}` exists already")]
    Exists(String),
    /// The face of the instance refuses; nothing was written.
    #[error(transparent)]
    Refused(#[from] FaceRefusal),
    /// A compensation of an action of the instance is pending; nothing was written.
    #[error("a compensation of {0} is still pending")]
    CompensationOwed(String),
    /// A definition lacks states that instances are in; nothing was written.
    #[error("the definition of {machine} lacks states that instances are in: {}", list_stranded(.stranded))]
    StrandsInstances {
        /// The machine.
        machine: MachineName,
        /// The instances.
        stranded: Vec<StrandedInstance>,
    },
    /// The queue of this process is full; nothing was written, and a retry can succeed soon.
    #[error("event queue full")]
    Busy,
    /// This process is shutting down; nothing was written, and another server may answer.
    #[error("server is shutting down")]
    Stopping,
    /// The database failed; [`StoreError`] says what may have been written.
    #[error("database error")]
    Store(#[from] StoreError),
}

fn describe_target(target: &InstanceKey) -> String {
    match target {
        InstanceKey::Id(id) => format!("instance {}", id.0),
        InstanceKey::Name(machine, name) => format!("{machine} {name}"),
    }
}

fn list_stranded(stranded: &[StrandedInstance]) -> String {
    stranded
        .iter()
        .map(|instance| format!("{} in {}", instance.name, instance.state))
        .collect::<Vec<_>>()
        .join(", ")
}
