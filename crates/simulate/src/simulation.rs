//! A prepared simulation.

use chrono::{DateTime, TimeDelta, Utc};

use super::error::{MAX_INSTANCE_DAYS, MAX_SAMPLES, SimulationError};
use super::limits::held_resources;
use super::outages::{self, PlannedOutage};
use super::population::populations;
use super::profile::{ContainerLimits, Profile};
use super::simulated_machine::SimulatedMachine;
use super::size::SimulationSize;
use machine::{Definition, ResourceName};
use schedule::LimitedResource;

/// Start of virtual time, in seconds since 1970: 2026-01-01 00:00 UTC. Only absolute time limits depend on it.
const VIRTUAL_START_UNIX_S: i64 = 1_767_225_600;

pub(super) const DAY_MS: u64 = 86_400_000;

/// A prepared simulation.
#[derive(Debug)]
pub struct Simulation<'a> {
    pub(super) profile: &'a Profile,
    pub(super) size: SimulationSize,
    /// The simulated machine, then the machines that it is linked to.
    pub(super) machines: Vec<SimulatedMachine<'a>>,
    /// Resources that states hold, with their limits.
    pub(super) resources: Vec<(&'a ResourceName, Option<LimitedResource>)>,
    pub(super) outages: Vec<PlannedOutage>,
    pub(super) sample_interval_ms: u64,
    pub(super) started_at: DateTime<Utc>,
}

impl<'a> Simulation<'a> {
    /// Prepares the simulation of instances of the first of `definitions`, linked to instances of the others.
    ///
    /// `profile` was read for these definitions.
    ///
    /// # Errors
    ///
    /// [`SimulationError`], except [`SimulationError::EventStorm`], for an impossible size or incompatible definitions.
    pub fn new(
        definitions: &[&'a Definition],
        profile: &'a Profile,
        size: SimulationSize,
    ) -> Result<Self, SimulationError> {
        let SimulationSize { instances, days, seed, sample_interval_s } = size;
        if instances == 0 || days == 0 || definitions.is_empty() {
            return Err(SimulationError::NoInstances);
        }
        let resources = held_resources(definitions, profile);
        let names: Vec<&'a ResourceName> = resources.iter().map(|(name, _)| *name).collect();
        let first_instances = usize::try_from(instances).unwrap_or(usize::MAX);
        let populations = populations(definitions, &profile.machines)?;
        let machines: Vec<_> = definitions
            .iter()
            .zip(&profile.machines)
            .zip(populations)
            .map(|((definition, behaviour), population)| {
                SimulatedMachine::new((definition, behaviour), population, first_instances, &names)
            })
            .collect();
        let all = machines.iter().map(|machine| machine.instances as u64).fold(0, u64::saturating_add);
        if all.saturating_mul(u64::from(days)) > MAX_INSTANCE_DAYS {
            return Err(SimulationError::TooLarge { instances: all, days });
        }
        let end_s = u64::from(days) * DAY_MS / 1000;
        let sample_interval_s = sample_interval_s.unwrap_or_else(|| default_step_s(end_s));
        if sample_interval_s == 0 || sample_interval_s > end_s || end_s / sample_interval_s > MAX_SAMPLES {
            return Err(SimulationError::SampleInterval { sample_interval_s, days });
        }
        Ok(Self {
            machines,
            resources,
            outages: outages::plan_outages(profile, seed, u64::from(days) * DAY_MS),
            sample_interval_ms: sample_interval_s.saturating_mul(1000),
            profile,
            size,
            started_at: DateTime::from_timestamp(VIRTUAL_START_UNIX_S, 0).unwrap_or(DateTime::UNIX_EPOCH),
        })
    }

    /// Number of shards, which are simulated independently.
    #[must_use]
    pub fn shards(&self) -> usize {
        if self.is_divisible() { self.circuits() } else { 1 }
    }

    /// Whether circuits are independent: without links, whose targets may be anywhere, and without limits of the site or
    /// resources that states hold, which all circuits share.
    pub(super) fn is_divisible(&self) -> bool {
        let is_linked = |machine: &SimulatedMachine<'_>| {
            let targets = || machine.definition.links.values().map(|declared| &declared.machine);
            self.machines.iter().any(|other| targets().any(|target| *target == other.definition.machine))
        };
        let is_shared = !self.resources.is_empty() || self.profile.layout.site != ContainerLimits::default();
        !is_shared && !self.machines.iter().any(is_linked)
    }

    pub(super) fn circuits(&self) -> usize {
        self.first_instances().div_ceil(self.instances_per_circuit())
    }

    pub(super) fn devices(&self) -> usize {
        self.first_instances().div_ceil(self.profile.layout.instances_per_device)
    }

    /// Number of instances of the first machine.
    pub(super) fn first_instances(&self) -> usize {
        self.machines.first().map_or(0, |machine| machine.instances)
    }

    pub(super) fn instances_per_circuit(&self) -> usize {
        let layout = self.profile.layout;
        layout.instances_per_device * layout.devices_per_circuit
    }

    pub(super) fn end_ms(&self) -> u64 {
        u64::from(self.size.days) * DAY_MS
    }

    pub(super) fn samples(&self) -> usize {
        usize::try_from(self.end_ms() / self.sample_interval_ms + 1).unwrap_or(usize::MAX)
    }

    /// Converts to virtual time.
    pub(super) fn at(&self, at_ms: u64) -> DateTime<Utc> {
        let since = i64::try_from(at_ms).ok().and_then(TimeDelta::try_milliseconds);
        since.and_then(|since| self.started_at.checked_add_signed(since)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Milliseconds from the start to `at`, rounded up.
    pub(super) fn since_start(&self, at: DateTime<Utc>) -> u64 {
        let whole = at.timestamp_millis();
        let rest = i64::from(!at.timestamp_subsec_nanos().is_multiple_of(1_000_000));
        u64::try_from(whole + rest - self.started_at.timestamp_millis()).unwrap_or(0)
    }
}

/// A round sample interval that gives about two hundred samples.
fn default_step_s(end_s: u64) -> u64 {
    let steps = [60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000];
    steps.into_iter().find(|step| end_s / step <= 250).unwrap_or(864_000)
}
