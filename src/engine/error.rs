//! Why the engine could not do what it was asked.

use super::refusal::FaceRefusal;
use crate::machine::{LinkFault, LinkName, MachineName};
use crate::store::StoreError;
use crate::store::instances::{InstanceKey, StrandedInstance};

/// Why the engine could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// There is no such instance; nothing was written.
    #[error("there is no {}", named(.0))]
    NoInstance(InstanceKey),
    /// No definition of the machine is in force, or none that this program understands; nothing was written.
    #[error("no definition of the machine {0} is in force")]
    NoMachine(MachineName),
    /// The machine's definition has no such link; nothing was written.
    #[error("the machine {machine} has no link `{link}`")]
    NoLink {
        /// The machine.
        machine: MachineName,
        /// The link.
        link: LinkName,
    },
    /// A definition raises what other machines do not take, or does not take what they raise; nothing was written.
    #[error("{}", .faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    MismatchedLinks {
        /// The machine.
        machine: MachineName,
        /// What does not belong together.
        faults: Vec<LinkFault>,
    },
    /// The instance is not any more as whoever asked has seen it; nothing was written.
    #[error("it has changed since")]
    Changed,
    /// There is an instance of this name already; nothing was written.
    #[error("`{0}` exists already")]
    Exists(String),
    /// The face of the instance does not let it be done; nothing was written.
    #[error(transparent)]
    Refused(#[from] FaceRefusal),
    /// What an action of the instance left undone is still to be made up for; nothing was written.
    #[error("what an action of {0} left undone is still to be made up for")]
    CompensationOwed(String),
    /// A definition would strand instances that are in states which it does not have; nothing was written.
    #[error("the definition of {machine} lacks states that instances are in: {}", strandeds(.stranded))]
    StrandsInstances {
        /// The machine.
        machine: MachineName,
        /// The instances.
        stranded: Vec<StrandedInstance>,
    },
    /// More waits to be decided on than this process takes; nothing was written, and trying again soon helps.
    #[error("too much waits to be decided on")]
    Busy,
    /// This process stops; nothing was written, and another one may serve.
    #[error("this process stops")]
    Stopping,
    /// The store failed; [`StoreError`] says what may have been written.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

fn named(target: &InstanceKey) -> String {
    match target {
        InstanceKey::Id(id) => format!("instance {}", id.0),
        InstanceKey::Name(machine, name) => format!("{machine} {name}"),
    }
}

fn strandeds(stranded: &[StrandedInstance]) -> String {
    stranded.iter().map(|one| format!("{} in {}", one.name, one.state)).collect::<Vec<_>>().join(", ")
}
