//! Errors of a simulation.

use machine::{InstanceAddress, LinkFault, MachineName, StateName};

/// Maximum decisions of an instance in an hour; an instance with more does not come to rest.
pub(super) const MAX_DECISIONS_PER_HOUR: u32 = 20_000;
/// Maximum instance-days: ten thousand instances for three years, or a million for ten days.
pub(super) const MAX_INSTANCE_DAYS: u64 = 12_000_000;
/// Maximum number of samples.
pub(super) const MAX_SAMPLES: u64 = 100_000;

/// Why a simulation is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// There is nothing to simulate.
    #[error("a simulation has at least one instance and one day")]
    NoInstances,
    /// It would take too much memory and time.
    #[error(
        "{instances} instances for {days} days are {} instance-days; at most {MAX_INSTANCE_DAYS} are simulated",
        instances.saturating_mul(u64::from(*days))
    )]
    TooLarge {
        /// Number of instances of all machines.
        instances: u64,
        /// Simulated days.
        days: u32,
    },
    /// The sample interval gives too many samples or none.
    #[error(
        "a sample every {sample_interval_s} s is not possible for {days} days: a time series has 1 to {MAX_SAMPLES} samples"
    )]
    SampleInterval {
        /// Time between samples.
        sample_interval_s: u64,
        /// Simulated days.
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
    /// A machine raises events that another does not accept.
    #[error("the machines are incompatible: {0}")]
    IncompatibleLinks(LinkFault),
    /// An instance does not come to rest: too many events follow one another in a short time.
    #[error(
        "{instance} does not come to rest: in state {state}, {hours} h after the start, it had more than \
         {} events within an hour; look at the spans in this state's time limit, `on` and profile",
        MAX_DECISIONS_PER_HOUR
    )]
    EventStorm {
        /// The instance.
        instance: InstanceAddress,
        /// The state that it is in.
        state: StateName,
        /// Hours after the start.
        hours: u64,
    },
}
