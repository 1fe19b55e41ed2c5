//! Reads the text of a profile and collects all its faults.

use std::collections::{BTreeMap, BTreeSet};

use super::behaviour::{self, BehaviourReader};
use super::derive;
use super::model::{ContainerLimits, FleetLayout, OutageSchedule, PowerOutage, Profile, ProfileLimits};
use super::names::NumberedNames;
use super::value::{count, current, distribution, milliseconds, required_span, share};
use machine::ActionCatalogue;
use machine::Definition;
use machine::ResourceName;
use machine::Rule;
use machine::SourceFaults;
use machine::source_text::FaultCollector;
use machine::source_text::{self, SourceFields, SourceNode};

/// Maximum number of instances of a device, and of devices of a circuit.
const MAX_LAYOUT_PARTS: usize = 10_000;
/// Maximum number of units of a resource.
const MAX_UNITS: usize = 1_000_000_000;

pub(super) fn profile(
    text: &str,
    definitions: &[&Definition],
    actions: &dyn ActionCatalogue,
) -> Result<Profile, SourceFaults> {
    let mut faults = FaultCollector::default();
    let empty = source_text::read("{}", &mut faults);
    // An empty text has no positions; an empty mapping has.
    let root = if text.trim().is_empty() { empty.clone() } else { source_text::read(text, &mut faults) };
    let read = |(root, empty): (SourceNode, SourceNode)| {
        ProfileReader { definitions, kinds: actions, faults: &mut faults }.profile(&root, &empty)
    };
    let profile = root.zip(empty).map(read);
    profile.filter(|_| !faults.has_errors()).ok_or_else(|| SourceFaults(faults.finish()))
}

struct ProfileReader<'a> {
    definitions: &'a [&'a Definition],
    kinds: &'a dyn ActionCatalogue,
    faults: &'a mut FaultCollector,
}

impl ProfileReader<'_> {
    fn profile(mut self, root: &SourceNode, empty: &SourceNode) -> Profile {
        let keys = [&["farm", "outages", "resources", "machines"][..], &behaviour::BEHAVIOUR_KEYS].concat();
        let fields = root.fields("a profile", &keys, self.faults);
        let layout = fields.get("farm").map_or(derive::DEFAULT_LAYOUT, |node| self.layout(node));
        let others = fields.get("machines").map(|node| self.linked_machines(node)).unwrap_or_default();
        let mut machines = Vec::new();
        for (index, definition) in self.definitions.iter().enumerate() {
            let mut reader = BehaviourReader {
                names: NumberedNames::new(definition),
                kinds: self.kinds,
                faults: &mut *self.faults,
            };
            let keys = &behaviour::BEHAVIOUR_KEYS;
            machines.push(match others.get(&index) {
                _ if index == 0 => reader.behaviour(fields),
                Some(node) => {
                    let fields = node.fields("the behaviour of a machine's instances", keys, reader.faults);
                    reader.behaviour(fields)
                }
                None => {
                    let fields = empty.fields("nothing", keys, reader.faults);
                    reader.behaviour(fields)
                }
            });
        }
        let outages = fields.get("outages").map_or(&[][..], SourceNode::one_or_many);
        let outages = outages.iter().filter_map(|node| self.outage(node)).collect();
        let resources = fields.get("resources").map(|node| self.resources(node)).unwrap_or_default();
        Profile { layout, outages, resources, machines }
    }

    /// The behaviours of the other machines, by index of their definition.
    fn linked_machines<'n>(&mut self, node: &'n SourceNode) -> BTreeMap<usize, &'n SourceNode> {
        let mut others = BTreeMap::new();
        for (key, node) in node.entries("a mapping of machines", self.faults) {
            let is_named = |definition: &&Definition| definition.machine.as_str() == key.text;
            match self.definitions.iter().position(is_named) {
                Some(0) => {
                    let message = "this is the first machine: its behaviour is at the top of the profile";
                    self.faults.add(key.at, Rule::Form, message);
                }
                Some(index) => _ = others.insert(index, node),
                None => {
                    let known = self.definitions.iter().skip(1).map(|definition| definition.machine.as_str());
                    self.faults.add_unknown(key.at, Rule::Form, "machine", &key.text, known);
                }
            }
        }
        others
    }

    fn layout(&mut self, node: &SourceNode) -> FleetLayout {
        let keys = [
            "boards_per_relay_board",
            "relay_boards_per_circuit",
            "relay_board_rests",
            "power_on_gap",
            "board_load",
            "circuit",
            "site",
        ];
        let fields = node.fields("a farm", &keys, self.faults);
        let derived = derive::DEFAULT_LAYOUT;
        let mut parts = |key, default| {
            fields.get(key).and_then(|node| count(node, MAX_LAYOUT_PARTS, self.faults)).unwrap_or(default)
        };
        let instances_per_device = parts("boards_per_relay_board", derived.instances_per_device);
        let devices_per_circuit = parts("relay_boards_per_circuit", derived.devices_per_circuit);
        let settle_ms = self.span(fields, "relay_board_rests").unwrap_or(derived.settle_ms);
        let load = fields.get("board_load").and_then(|node| current(node, self.faults));
        let mut circuit = fields.get("circuit").map(|node| self.container(node)).unwrap_or_default();
        circuit.gap_ms = self.span(fields, "power_on_gap").unwrap_or(circuit.gap_ms);
        FleetLayout {
            instances_per_device,
            devices_per_circuit,
            settle_ms,
            load_ma: load.unwrap_or(derived.load_ma),
            circuit,
            site: fields.get("site").map(|node| self.container(node)).unwrap_or_default(),
        }
    }

    /// Reads the limits of a circuit or a site.
    fn container(&mut self, node: &SourceNode) -> ContainerLimits {
        let keys = ["capacity", "gap", "window", "budget"];
        let fields = node.fields("the limits of what contains relay boards", &keys, self.faults);
        let capacity = fields.get("capacity").and_then(|node| count(node, MAX_UNITS, self.faults));
        ContainerLimits {
            capacity: capacity.and_then(|units| u32::try_from(units).ok()),
            gap_ms: self.span(fields, "gap").unwrap_or_default(),
            window_ms: self.span(fields, "window").unwrap_or_default(),
            budget_ma: fields.get("budget").and_then(|node| current(node, self.faults)),
        }
    }

    /// Reads the limits of held resources.
    fn resources(&mut self, node: &SourceNode) -> BTreeMap<ResourceName, ProfileLimits> {
        let states = self.definitions.iter().flat_map(|definition| definition.states.values());
        let held: BTreeSet<&ResourceName> = states.flat_map(|state| state.hold.keys()).collect();
        let mut resources = BTreeMap::new();
        for (key, node) in node.entries("a mapping of resources", self.faults) {
            let Some(name) = held.iter().find(|name| name.as_str() == key.text) else {
                let known = held.iter().map(|name| name.as_str());
                self.faults.add_unknown(
                    key.at,
                    Rule::UnknownResource,
                    "resource that a state holds",
                    &key.text,
                    known,
                );
                continue;
            };
            let fields = node.fields("the limits of a resource", &["capacity", "gap", "settle"], self.faults);
            let capacity = fields.get("capacity").and_then(|node| count(node, MAX_UNITS, self.faults));
            let limits = ProfileLimits {
                capacity: capacity.and_then(|units| u32::try_from(units).ok()),
                gap_ms: self.span(fields, "gap"),
                settle_ms: self.span(fields, "settle"),
            };
            resources.insert((*name).clone(), limits);
        }
        resources
    }

    fn span(&mut self, fields: SourceFields<'_>, key: &str) -> Option<u64> {
        milliseconds(fields.get(key)?, self.faults)
    }

    fn outage(&mut self, node: &SourceNode) -> Option<PowerOutage> {
        let fields = node.fields("an outage", &["at", "every", "lasts", "share"], self.faults);
        let when = match (fields.get("at"), fields.get("every")) {
            (Some(at), None) => milliseconds(at, self.faults).map(OutageSchedule::At),
            (None, Some(every)) => distribution(every, self.faults).map(OutageSchedule::Every),
            (Some(_), Some(_)) | (None, None) => {
                let message = "an outage has either `at:` (a span after the start) or `every:`";
                self.faults.add(node.at, Rule::Form, message);
                None
            }
        };
        let lasts = required_span(node, fields, "lasts", self.faults)?;
        let share = fields.get("share").map_or(Some(1.0), |node| share(node, self.faults))?;
        Some(PowerOutage { when: when?, lasts, share })
    }
}
