//! What is known of a fleet's behaviour.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use machine::Distribution;
use machine::SimulatedAction;
use machine::{ActionName, EventName, LinkName, ResourceName};

/// How a fleet behaves, for certain definitions.
#[derive(Debug, PartialEq)]
pub struct Profile {
    pub(crate) layout: FleetLayout,
    pub(crate) outages: Vec<PowerOutage>,
    /// The limits of what states hold, where they are other than in the definitions.
    pub(crate) resources: BTreeMap<ResourceName, ProfileLimits>,
    /// How the instances of each machine behave, in the order of the definitions.
    pub(crate) machines: Vec<MachineBehaviour>,
}

/// How the instances of one machine behave.
#[derive(Debug, PartialEq)]
pub(crate) struct MachineBehaviour {
    /// Which states count as available, by the state's number in the definition.
    pub(crate) available: Vec<bool>,
    /// What guards may know of every instance, beside its name.
    pub(crate) facts: Map<String, Value>,
    /// The actions that states invoke; [`InstanceClass::actions`] says how each goes.
    pub(crate) actions: Vec<ActionName>,
    /// The sound instances first, then the ways of being broken.
    pub(crate) classes: Vec<InstanceClass>,
    pub(crate) requests: Vec<OperatorRequest>,
    /// How instances are linked at first, where that is said.
    pub(crate) links: BTreeMap<LinkName, InitialLinking>,
}

/// How the links of one name lead at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InitialLinking {
    /// Nowhere: the definition links by itself.
    Unlinked,
    /// So many instances share one.
    SharedBy(usize),
}

/// How much there is of a resource, and how fast it is granted; what is not said is as the definition has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProfileLimits {
    pub(crate) capacity: Option<u32>,
    pub(crate) gap_ms: Option<u64>,
    pub(crate) settle_ms: Option<u64>,
}

/// Which instances share the device that their actions claim, and which devices share a circuit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FleetLayout {
    pub(crate) instances_per_device: usize,
    pub(crate) devices_per_circuit: usize,
    /// How long a device needs between two operations.
    pub(crate) settle_ms: u64,
    /// The least time between two grants of devices of one circuit.
    pub(crate) gap_ms: u64,
}

/// Instances that behave alike.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InstanceClass {
    /// What is wrong with them; of sound ones nothing is.
    pub(crate) name: String,
    /// Which share of instances is so at first.
    pub(crate) share: f64,
    /// How long a sound instance goes on before it becomes so.
    pub(crate) breaks_after: Option<Distribution>,
    /// What they may report in each state; one of these, or nothing with the chance that is left.
    pub(crate) reports: Vec<Vec<PossibleReport>>,
    /// How each action goes.
    pub(crate) actions: Vec<SimulatedAction>,
}

/// What an instance may report after a state was entered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PossibleReport {
    pub(crate) event: EventName,
    pub(crate) args: Map<String, Value>,
    pub(crate) after: Distribution,
    pub(crate) chance: f64,
}

/// What an operator asks for in some states.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OperatorRequest {
    /// In which states, by number.
    pub(crate) states: BTreeSet<usize>,
    pub(crate) event: EventName,
    pub(crate) args: Map<String, Value>,
    /// How long after the state was entered.
    pub(crate) after: Distribution,
    /// How often the instance is sound afterwards, from 0 to 1.
    pub(crate) repair_rate: f64,
}

/// Power that goes and comes back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PowerOutage {
    pub(crate) when: OutageSchedule,
    pub(crate) lasts: Distribution,
    /// Which share of circuits it hits.
    pub(crate) share: f64,
}

/// When an outage is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum OutageSchedule {
    /// Once, this many milliseconds after the beginning.
    At(u64),
    /// Again and again, this long after the last one's beginning.
    Every(Distribution),
}
