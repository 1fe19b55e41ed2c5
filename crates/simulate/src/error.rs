//! Why a fleet cannot be simulated.

use machine::{InstanceAddress, LinkFault, MachineName, StateName};

/// An instance to which more happens in an hour does not come to rest.
pub(super) const MAX_DECISIONS_AN_HOUR: u32 = 20_000;
/// No more instance-days than this: ten thousand instances for three years, or a million for ten days.
pub(super) const MAX_INSTANCE_DAYS: u64 = 12_000_000;
/// No more samples than this.
pub(super) const MAX_SAMPLES: u64 = 100_000;

/// Says why a fleet cannot be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// There is nothing to simulate.
    #[error("a simulation has at least one instance and one day")]
    NoInstances,
    /// It would take more memory and time than anybody has.
    #[error(
        "{instances} instances for {days} days are {} instance-days; at most {MAX_INSTANCE_DAYS} are simulated",
        instances.saturating_mul(u64::from(*days))
    )]
    TooLarge {
        /// How many instances, of all machines.
        instances: u64,
        /// For how many days.
        days: u32,
    },
    /// The samples would be too many, or none.
    #[error(
        "a sample every {every_s} s makes no time series of {days} days: one has 1 to {MAX_SAMPLES} samples"
    )]
    SampleInterval {
        /// The time between samples.
        every_s: u64,
        /// For how many days.
        days: u32,
    },
    /// Two definitions are of the same machine.
    #[error("there are two definitions of machine {machine}: give one")]
    DuplicateMachine {
        /// The machine.
        machine: MachineName,
    },
    /// No link leads to a machine.
    #[error(
        "no link of the first machine, or of those it is linked to, leads to {machine}: leave it out, or give first the \
         machine that links to the others"
    )]
    UnlinkedMachine {
        /// The machine.
        machine: MachineName,
    },
    /// What one machine raises another does not take.
    #[error("the machines do not go together: {0}")]
    IncompatibleLinks(LinkFault),
    /// An instance does not come to rest: time hardly passes between what happens to it.
    #[error(
        "{instance} does not come to rest: in state {state}, {hours} h after the beginning, it had more than \
         {} events within an hour; look at the spans in this state's time limit, `on` and profile",
        MAX_DECISIONS_AN_HOUR
    )]
    EventStorm {
        /// The instance.
        instance: InstanceAddress,
        /// The state that it is in.
        state: StateName,
        /// When that was.
        hours: u64,
    },
}
