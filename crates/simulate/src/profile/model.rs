//! The model of a profile.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use machine::Distribution;
use machine::SimulatedAction;
use machine::{ActionName, EventName, LinkName, ResourceName};

/// The behaviour of a fleet, for given definitions.
#[derive(Debug, PartialEq)]
pub struct Profile {
    pub(crate) layout: FleetLayout,
    pub(crate) outages: Vec<PowerOutage>,
    /// Limits of held resources that override those of the definitions.
    pub(crate) resources: BTreeMap<ResourceName, ProfileLimits>,
    /// The behaviour of each machine's instances, in the order of the definitions.
    pub(crate) machines: Vec<MachineBehaviour>,
}

/// The behaviour of one machine's instances.
#[derive(Debug, PartialEq)]
pub(crate) struct MachineBehaviour {
    /// Whether each state counts as available, by index.
    pub(crate) available: Vec<bool>,
    /// Facts of every instance, without its name.
    pub(crate) facts: Map<String, Value>,
    /// Actions that states invoke; [`InstanceClass::actions`] has their behaviour.
    pub(crate) actions: Vec<ActionName>,
    /// Classes of instances: sound ones first, then the kinds of broken ones.
    pub(crate) classes: Vec<InstanceClass>,
    pub(crate) requests: Vec<OperatorRequest>,
    /// Initial links that the profile sets.
    pub(crate) links: BTreeMap<LinkName, InitialLinking>,
}

/// The initial target of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InitialLinking {
    /// None: the definition sets the link itself.
    Unlinked,
    /// An instance that this many instances share.
    SharedBy(usize),
}

/// Limits of a resource; missing ones are those of the definition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProfileLimits {
    pub(crate) capacity: Option<u32>,
    pub(crate) gap_ms: Option<u64>,
    pub(crate) settle_ms: Option<u64>,
}

/// The assignment of instances to devices, and of devices to circuits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FleetLayout {
    pub(crate) instances_per_device: usize,
    pub(crate) devices_per_circuit: usize,
    /// Settle time of a device between two operations.
    pub(crate) settle_ms: u64,
    /// The current that one instance draws when it is switched on, in milliampere.
    pub(crate) load_ma: u32,
    /// Limits of each circuit.
    pub(crate) circuit: ContainerLimits,
    /// Limits of what contains all circuits.
    pub(crate) site: ContainerLimits,
}

/// Limits of what contains devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ContainerLimits {
    /// Number of operations within a window; `None`: unlimited.
    pub(crate) capacity: Option<u32>,
    /// Minimum time between two grants.
    pub(crate) gap_ms: u64,
    /// Time for which an operation that has ended counts as in progress.
    pub(crate) window_ms: u64,
    /// The load that may be added within a window, in milliampere; `None`: unlimited.
    pub(crate) budget_ma: Option<u32>,
}

/// A class of instances that behave alike.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InstanceClass {
    /// Name of the class: the fault, or `sound`.
    pub(crate) name: String,
    /// Initial share of the instances.
    pub(crate) share: f64,
    /// Time after which a sound instance joins the class.
    pub(crate) breaks_after: Option<Distribution>,
    /// Possible reports in each state: one of them is sent, or none with the remaining probability.
    pub(crate) reports: Vec<Vec<PossibleReport>>,
    /// Behaviour of each action.
    pub(crate) actions: Vec<SimulatedAction>,
}

/// A report that an instance may send after a state was entered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PossibleReport {
    pub(crate) event: EventName,
    pub(crate) args: Map<String, Value>,
    pub(crate) after: Distribution,
    pub(crate) chance: f64,
}

/// A request that operators send in some states.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OperatorRequest {
    /// Indices of the states.
    pub(crate) states: BTreeSet<usize>,
    pub(crate) event: EventName,
    pub(crate) args: Map<String, Value>,
    /// Time after the state was entered.
    pub(crate) after: Distribution,
    /// Probability that the instance is sound afterwards, from 0 to 1.
    pub(crate) repair_rate: f64,
}

/// Outages of the power.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PowerOutage {
    pub(crate) when: OutageSchedule,
    pub(crate) lasts: Distribution,
    /// Share of the circuits that are affected.
    pub(crate) share: f64,
}

/// Times of outages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum OutageSchedule {
    /// Once, this many milliseconds after the start.
    At(u64),
    /// Repeatedly, this long after the start of the last outage.
    Every(Distribution),
}
