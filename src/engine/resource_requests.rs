//! What waiting actions request of the scheduler: what they claim, and what contains that.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use schedule::{CoolingUnits, LimitedResource, ResourceNeed, ResourceRequest};

use super::face::Faces;
use crate::store::claims::{AddedLoad, Claim, Grant, GrantBasis, GrantedUnits, ResourceLimits};
use crate::store::instances::InstanceId;
use crate::store::queue::{self, ResourceState};
use crate::store::{DbConnection, StoreError, resource_settings};

/// The longest chain of resources within each other, without the first.
pub(super) const MAX_CONTAINERS: usize = 8;

/// What is limited of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Quantity<'a> {
    /// Its units.
    Units(&'a str),
    /// Its load, in milliampere.
    Load(&'a str),
}

/// The resources that waiting actions claim, with all that contains them, at one moment.
#[derive(Debug, Default)]
pub(super) struct ClaimedResources {
    states: BTreeMap<String, ResourceState>,
    /// The loads that instances add, in milliampere, where a budget limits them.
    loads: HashMap<InstanceId, u32>,
}

impl ClaimedResources {
    /// Resolves the selectors of `claims`, and reads their resources and `others`.
    pub(super) async fn read(
        db: &mut DbConnection,
        faces: &Faces,
        mut claims: Vec<(InstanceId, &mut Vec<Claim>)>,
        others: &[String],
    ) -> Result<Self, StoreError> {
        faces.select(db, claims.iter_mut().map(|(instance, claims)| (*instance, &mut **claims))).await?;
        let (mut names, mut loaded, mut held) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for claim in claims.iter().flat_map(|(_, claims)| claims.iter()) {
            names.extend(claim.any_of.iter().cloned());
            loaded.extend(claim.any_of.iter().filter(|_| claim.adds_load).cloned());
            held.extend(claim.any_of.iter().filter(|_| is_refinable(claim)).cloned());
        }
        let [loaded, held] = [loaded, held].map(|names| names.into_iter().collect::<Vec<String>>());
        if !loaded.is_empty() {
            names.extend(resource_settings::list_containers(db, &loaded).await?);
        }
        if !loaded.is_empty() && !held.is_empty() {
            names.extend(resource_settings::list_refined(db, &held).await?);
        }
        names.extend(others.iter().cloned());
        let names: Vec<String> = names.into_iter().collect();
        let states = queue::read_resources(db, &names).await?;
        let has_budget = states.iter().any(|state| state.settings.budget_ma.is_some());
        let mut read = Self::of(states);
        if has_budget {
            let adding = claims.iter().filter(|(_, claims)| claims.iter().any(|claim| claim.adds_load));
            let adding: BTreeSet<InstanceId> = adding.map(|(instance, _)| *instance).collect();
            read.loads = faces.read_loads(db, &adding.into_iter().collect::<Vec<_>>()).await?;
        }
        for (_, claims) in claims {
            read.refine(claims);
        }
        Ok(read)
    }

    /// Makes claims of states on `NAME` claims on `NAME@CONTAINER`, for the innermost container of its other claims for which there
    /// is such a resource.
    fn refine(&self, claims: &mut [Claim]) {
        let containers = loaded_resources(claims).filter_map(|name| self.containers(name)).flatten();
        let containers: Vec<&str> = containers.map(|state| state.name.as_str()).collect();
        for claim in claims.iter_mut().filter(|claim| is_refinable(claim)) {
            let Some(name) = claim.any_of.first() else { continue };
            let mut refined = containers.iter().map(|container| format!("{name}@{container}"));
            let refined =
                refined.find(|refined| self.find(refined).is_some_and(|state| state.declared.is_some()));
            if let Some(refined) = refined {
                claim.any_of = vec![refined];
                // Its limits are those that are set for it.
                claim.limits = ResourceLimits::default();
            }
        }
    }

    pub(super) fn of(states: Vec<ResourceState>) -> Self {
        let states = states.into_iter().map(|state| (state.name.clone(), state)).collect();
        Self { states, loads: HashMap::new() }
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &ResourceState> {
        self.states.values()
    }

    pub(super) fn states_mut(&mut self) -> impl Iterator<Item = &mut ResourceState> {
        self.states.values_mut()
    }

    pub(super) fn find(&self, name: &str) -> Option<&ResourceState> {
        self.states.get(name)
    }

    /// The load that an instance adds, in milliampere.
    pub(super) fn load(&self, instance: InstanceId) -> u32 {
        self.loads.get(&instance).copied().unwrap_or_default()
    }

    /// Lists what contains a resource, the innermost first; nothing if one was not read, because it was set meanwhile.
    pub(super) fn containers(&self, name: &str) -> Option<Vec<&ResourceState>> {
        let mut containers = Vec::new();
        let mut within = self.find(name).and_then(|state| state.settings.within.as_deref());
        while let Some(name) = within.filter(|_| containers.len() < MAX_CONTAINERS) {
            let container = self.find(name)?;
            containers.push(container);
            within = container.settings.within.as_deref();
        }
        Some(containers)
    }

    /// Builds the request of an action; nothing if its containers are not known.
    pub(super) fn request<'a, K>(
        &'a self,
        key: K,
        instance: InstanceId,
        claims: &'a [Claim],
        has_holds: bool,
    ) -> Option<ResourceRequest<K, Quantity<'a>>> {
        let need = |claim: &'a Claim| ResourceNeed {
            any_of: claim.any_of.iter().map(|name| Quantity::Units(name)).collect(),
            units: claim.units,
            cools: claim.adds_load,
        };
        let mut needs: Vec<_> = in_order(claims).map(need).collect();
        let holds = claims.iter().filter(|claim| claim.hold.is_some()).count();
        // Nothing of its other claims is kept for an action that waits for a resource of its state.
        let has_choice = needs.iter().skip(holds).any(|need| need.any_of.len() != 1);
        let mut later = if holds == 0 || has_choice { Vec::new() } else { needs.split_off(holds) };
        let load = self.load(instance);
        let mut add = |quantity, units| later.push(ResourceNeed::of(quantity, units).cooling());
        for loaded in loaded_resources(claims) {
            if load > 0 {
                add(Quantity::Load(loaded), load);
            }
            for container in self.containers(loaded)? {
                add(Quantity::Units(&container.name), 1);
                if load > 0 {
                    add(Quantity::Load(&container.name), load);
                }
            }
        }
        Some(ResourceRequest { key, needs, later, holds: has_holds })
    }

    /// Builds the grant of what the scheduler granted to [`request`](Self::request).
    pub(super) fn grant(&self, instance: InstanceId, claims: &[Claim], units: &[Quantity<'_>]) -> Grant {
        let mut grant = Grant::default();
        let load = |state: Option<&ResourceState>, is_container| AddedLoad {
            ma: self.load(instance),
            is_container,
            min_off_ms: state.map(|state| state.settings.min_off_ms).unwrap_or_default(),
        };
        let mut own = in_order(claims);
        for quantity in units {
            let Quantity::Units(name) = quantity else { continue };
            let (claim, state) = (own.next(), self.find(name));
            grant.units.push(GrantedUnits {
                resource: (*name).to_owned(),
                units: claim.map_or(1, |claim| claim.units),
                hold: claim.and_then(|claim| claim.hold.clone()),
                load: claim.is_none_or(|claim| claim.adds_load).then(|| load(state, claim.is_none())),
            });
            let Some(state) = state else { continue };
            let claimed = claim.map_or_else(ResourceLimits::default, |claim| claim.limits);
            // The revision of a resource guards what contains it, too.
            let is_guarded = claim.is_some_and(|claim| claim.adds_load) || state.settings.within.is_some();
            if is_guarded || limited_units(state, limits(state, claimed)).is_some() || has_budget(state) {
                // What has no limits of its own, as a claim on a container, keeps those that others declare.
                let is_declared = claimed != ResourceLimits::default();
                let limits = if is_declared { claimed } else { state.declared.unwrap_or_default() };
                let (resource, revision) = ((*name).to_owned(), state.revision);
                grant.based_on.push(GrantBasis { resource, revision, limits });
            }
        }
        grant
    }
}

/// Whether it claims a resource that states hold, by its name.
fn is_refinable(claim: &Claim) -> bool {
    claim.hold.is_some() && claim.select.is_none() && claim.any_of.len() == 1
}

/// The claims in the order of a request: those of the state come first.
fn in_order(claims: &[Claim]) -> impl Iterator<Item = &Claim> {
    let of_state = claims.iter().filter(|claim| claim.hold.is_some());
    of_state.chain(claims.iter().filter(|claim| claim.hold.is_none()))
}

/// The resources that an action adds load to.
pub(super) fn loaded_resources(claims: &[Claim]) -> impl Iterator<Item = &str> {
    let adding = claims.iter().filter(|claim| claim.adds_load);
    adding.filter_map(|claim| match claim.any_of.as_slice() {
        [name] => Some(name.as_str()),
        _ => None,
    })
}

/// Returns the limits of a resource: those of a claim, unless an operator has set others.
pub(super) fn limits(state: &ResourceState, claimed: ResourceLimits) -> ResourceLimits {
    let is_claimed = claimed != ResourceLimits::default();
    let claimed = if is_claimed { claimed } else { state.declared.unwrap_or_default() };
    state.settings.overrides.apply_to(claimed)
}

fn has_budget(state: &ResourceState) -> bool {
    state.settings.budget_ma.is_some()
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000)
}

/// Builds the scheduler's resource for the units of a resource; nothing where they have no limit.
pub(super) fn limited_units(state: &ResourceState, limits: ResourceLimits) -> Option<LimitedResource> {
    let ResourceLimits { capacity, gap_ms, settle_ms } = limits;
    let is_limited = capacity.is_some() || gap_ms > 0 || settle_ms > 0;
    let micros_at = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_micros());
    is_limited.then(|| LimitedResource {
        capacity: capacity.unwrap_or(u32::MAX),
        gap: micros(gap_ms),
        settle: micros(settle_ms),
        window: micros(state.settings.window_ms),
        granted_at: micros_at(state.granted_at),
        released_at: micros_at(state.released_at),
        cooling: cooling(state, |units| units.units),
    })
}

/// Builds the scheduler's resource for the load of a resource; nothing where it has no budget.
pub(super) fn limited_load(state: &ResourceState) -> Option<LimitedResource> {
    let budget = state.settings.budget_ma?;
    Some(LimitedResource {
        window: micros(state.settings.window_ms),
        cooling: cooling(state, |units| units.load_ma),
        ..LimitedResource::of(budget)
    })
}

fn cooling(state: &ResourceState, units: fn(&queue::ReleasedUnits) -> u32) -> Vec<CoolingUnits> {
    let window = micros(state.settings.window_ms);
    let cooling = |released: &queue::ReleasedUnits| CoolingUnits {
        units: units(released),
        until: released.released_at.timestamp_micros().saturating_add(window),
    };
    state.cooling.iter().map(cooling).filter(|cooling| cooling.units > 0).collect()
}
