//! The resources of a shard: devices that actions claim, what contains the devices, and resources that states hold.

use super::dispatcher::{DispatchedGrants, Dispatcher, ticks};
use super::profile::{ContainerLimits, FleetLayout};
use super::tally::{LongestQueue, SimulationTally};
use schedule::{LimitedResource, ResourceNeed, ResourceUnits};

/// All resources, by index: devices first, then what is limited of each circuit and of the site, then resources that states
/// hold.
#[derive(Debug)]
pub(super) struct SimulatedResources {
    devices: usize,
    circuits: usize,
    /// What an operation at a device takes of each limit of its circuit, and of each limit of the site.
    taken_of_circuit: Vec<u32>,
    taken_of_site: Vec<u32>,
    dispatchers: Vec<Dispatcher>,
    /// Index of the dispatcher of each limited resource.
    granted_by: Vec<Option<usize>>,
    usage: Vec<ResourceUsage>,
    /// Dispatchers with released units that are not granted again yet.
    released: Vec<usize>,
}

/// Use of a resource.
#[derive(Debug, Clone, Default)]
struct ResourceUsage {
    in_use: u32,
    changed_ms: u64,
    unit_ms: u64,
    max_in_use: u32,
    /// Number of waiting instances.
    waiting: usize,
    /// Number of actions at it.
    operations: u64,
}

impl ResourceUsage {
    fn change(&mut self, in_use: u32, now_ms: u64) {
        self.unit_ms += u64::from(self.in_use) * (now_ms - self.changed_ms);
        self.changed_ms = now_ms;
        self.in_use = in_use;
        self.max_in_use = self.max_in_use.max(in_use);
    }
}

impl SimulatedResources {
    /// Creates `devices` devices, their circuits, and the resources that states hold with their limits.
    ///
    /// Resources that one request may claim together share a dispatcher; fewer resources per dispatcher are faster.
    pub(super) fn new<'a>(
        layout: FleetLayout,
        devices: usize,
        holds: impl Iterator<Item = &'a Option<LimitedResource>>,
    ) -> Self {
        let holds: Vec<&Option<LimitedResource>> = holds.collect();
        let circuits = devices.div_ceil(layout.devices_per_circuit);
        let [of_circuit, of_site] =
            [layout.circuit, layout.site].map(|limits| quantities(limits, layout.load_ma));
        let is_shared = holds.iter().any(|limits| limits.is_some()) || !of_site.is_empty();
        let (dispatchers, devices_each) = match (is_shared, of_circuit.is_empty()) {
            (true, _) => (1, devices.max(1)),
            (false, false) => (circuits, layout.devices_per_circuit),
            (false, true) => (devices, 1),
        };
        let mut resources = Self {
            devices,
            circuits,
            taken_of_circuit: of_circuit.iter().map(|(_, taken)| *taken).collect(),
            taken_of_site: of_site.iter().map(|(_, taken)| *taken).collect(),
            dispatchers: std::iter::repeat_with(Dispatcher::default).take(dispatchers).collect(),
            granted_by: Vec::new(),
            usage: Vec::new(),
            released: Vec::new(),
        };
        let settle = ticks(layout.settle_ms);
        for device in 0..devices {
            let resource = LimitedResource { settle, ..LimitedResource::of(1) };
            resources.add(Some((device / devices_each, resource)));
        }
        for circuit in 0..circuits {
            let dispatcher = circuit * layout.devices_per_circuit / devices_each;
            for (resource, _) in &of_circuit {
                resources.add(Some((dispatcher, resource.clone())));
            }
        }
        for (resource, _) in of_site {
            resources.add(Some((0, resource)));
        }
        for limits in holds {
            resources.add(limits.clone().map(|limits| (0, limits)));
        }
        resources
    }

    fn add(&mut self, limited: Option<(usize, LimitedResource)>) {
        let number = self.usage.len();
        self.usage.push(ResourceUsage::default());
        self.granted_by.push(limited.as_ref().map(|(dispatcher, _)| *dispatcher));
        if let Some((dispatcher, resource)) = limited {
            self.dispatchers[dispatcher].add(number, resource);
        }
    }

    /// Index of a resource that states hold.
    pub(super) fn held(&self, number: usize) -> usize {
        self.first_of_site() + self.taken_of_site.len() + number
    }

    fn first_of_site(&self) -> usize {
        self.devices + self.circuits * self.taken_of_circuit.len()
    }

    /// Units that an action at a device claims, the device first: as on a server, those of what contains the device cool after
    /// their release.
    pub(super) fn at_device(&self, device: usize, circuit: usize) -> Vec<ResourceUnits<usize>> {
        let first_of_circuit = self.devices + circuit * self.taken_of_circuit.len();
        let of_circuit = (first_of_circuit..).zip(&self.taken_of_circuit);
        let of_site = (self.first_of_site()..).zip(&self.taken_of_site);
        let contained = of_circuit
            .chain(of_site)
            .map(|(resource, units)| ResourceUnits { cools: true, ..ResourceUnits::of(resource, *units) });
        std::iter::once(ResourceUnits::of(device, 1)).chain(contained).collect()
    }

    /// Whether states hold the resource.
    pub(super) fn is_held(&self, resource: usize) -> bool {
        resource >= self.held(0)
    }

    /// Whether the resource is limited.
    pub(super) fn is_limited(&self, resource: usize) -> bool {
        self.granted_by[resource].is_some()
    }

    /// Adds a request for units of limited resources; returns the dispatcher.
    pub(super) fn wait(
        &mut self,
        instance: usize,
        units: &[ResourceUnits<usize>],
        holds: bool,
        now_ms: u64,
    ) -> Option<usize> {
        let dispatcher = units.iter().find_map(|units| self.granted_by[units.resource])?;
        for units in units {
            self.usage[units.resource].waiting += 1;
        }
        // As on a server: nothing of a device is reserved for what waits for a resource of its state, and nothing of a circuit
        // for what waits for a device.
        let first = units.iter().take_while(|units| self.is_held(units.resource)).count().max(1);
        let need = |units: &ResourceUnits<usize>| ResourceNeed {
            any_of: vec![units.resource],
            units: units.units,
            cools: units.cools,
        };
        let mut needs: Vec<_> = units.iter().map(need).collect();
        let later = needs.split_off(first.min(needs.len()));
        self.dispatchers[dispatcher].wait(instance, (needs, later), holds, now_ms);
        Some(dispatcher)
    }

    /// Removes the request of an instance at `device`.
    pub(super) fn stop_waiting(&mut self, instance: usize, device: usize) {
        let Some(dispatcher) = self.granted_by[device] else { return };
        for resource in
            self.dispatchers[dispatcher].stop_waiting(instance).iter().flat_map(|need| &need.any_of)
        {
            self.usage[*resource].waiting -= 1;
        }
    }

    /// Grants the requests of a dispatcher.
    pub(super) fn grant(&mut self, dispatcher: usize, now_ms: u64) -> DispatchedGrants {
        let granted = self.dispatchers[dispatcher].grant(now_ms);
        for units in granted.grants.iter().flat_map(|grant| &grant.units) {
            self.usage[units.resource].waiting -= 1;
            self.take(units, now_ms);
        }
        granted
    }

    /// Takes units into use.
    pub(super) fn take(&mut self, units: &ResourceUnits<usize>, now_ms: u64) {
        let usage = &mut self.usage[units.resource];
        usage.change(usage.in_use.saturating_add(units.units), now_ms);
    }

    /// Releases units, without granting them again.
    pub(super) fn release(&mut self, units: &ResourceUnits<usize>, now_ms: u64) {
        let usage = &mut self.usage[units.resource];
        usage.change(usage.in_use.saturating_sub(units.units), now_ms);
        if let Some(dispatcher) = self.granted_by[units.resource] {
            self.dispatchers[dispatcher].release(units, now_ms);
            if self.released.last() != Some(&dispatcher) {
                self.released.push(dispatcher);
            }
        }
    }

    /// The next dispatcher with released units.
    pub(super) fn next_released(&mut self) -> Option<usize> {
        (!self.released.is_empty()).then(|| self.released.remove(0))
    }

    /// Counts an action at a device.
    pub(super) fn operate(&mut self, device: usize) {
        self.usage[device].operations += 1;
    }

    /// Counts the lengths of the queues for `units`; `first_device` is the index of the shard's first device.
    pub(super) fn tally_queues(
        &self,
        units: &[ResourceUnits<usize>],
        first_device: usize,
        at_ms: u64,
        tally: &mut SimulationTally,
    ) {
        for ResourceUnits { resource, .. } in units {
            let instances = self.usage[*resource].waiting;
            if *resource < self.devices {
                tally.devices.queue(LongestQueue { instances, at_ms, resource: first_device + resource });
            } else if self.is_held(*resource) {
                let number = resource - self.held(0);
                tally.resources[number].queue(LongestQueue { instances, at_ms, resource: 0 });
            }
        }
    }

    /// Counts the wait before a grant of `units`.
    pub(super) fn tally_wait(
        &self,
        units: &[ResourceUnits<usize>],
        waited_ms: u64,
        tally: &mut SimulationTally,
    ) {
        for ResourceUnits { resource, .. } in units {
            if *resource < self.devices {
                tally.devices.waited.add(waited_ms);
            } else if self.is_held(*resource) {
                tally.resources[resource - self.held(0)].waited.add(waited_ms);
            }
        }
    }

    /// Counts the use of all resources at the end.
    pub(super) fn tally_usage(&mut self, end_ms: u64, tally: &mut SimulationTally) {
        let first_held = self.held(0);
        for (number, usage) in self.usage.iter_mut().enumerate() {
            usage.change(usage.in_use, end_ms);
            if number < self.devices {
                tally.devices.used(usage.unit_ms, usage.max_in_use);
                tally.most_operations = tally.most_operations.max(usage.operations);
            } else if number >= first_held {
                tally.resources[number - first_held].used(usage.unit_ms, usage.max_in_use);
            }
        }
    }
}

/// What is limited of a container, with what an operation takes of it: one of its units, and the load.
fn quantities(limits: ContainerLimits, load_ma: u32) -> Vec<(LimitedResource, u32)> {
    let ContainerLimits { capacity, gap_ms, window_ms, budget_ma } = limits;
    let window = ticks(window_ms);
    let has_units = capacity.is_some() || gap_ms > 0;
    let units = has_units.then(|| LimitedResource {
        gap: ticks(gap_ms),
        window,
        ..LimitedResource::of(capacity.unwrap_or(u32::MAX))
    });
    let load = budget_ma
        .filter(|_| load_ma > 0)
        .map(|budget| LimitedResource { window, ..LimitedResource::of(budget) });
    units.map(|units| (units, 1)).into_iter().chain(load.map(|load| (load, load_ma))).collect()
}
