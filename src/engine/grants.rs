//! Grants of resources: runs the scheduler on the state in the database.
//!
//! A grant is valid only if no other transaction has granted units of the same resource meanwhile: the write checks the
//! revision of the resource.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use schedule::{GrantPlan, ResourceUnits, schedule};

use super::face::Faces;
use super::resource_requests::{
    ClaimedResources, Quantity, limited_load, limited_units, limits, loaded_resources,
};
use super::resource_turns;
use crate::store::actions::StartableAction;
use crate::store::batches::{ActionChanges, DecidedUpdate, PassedOnGrant};
use crate::store::claims::{Grant, GrantedUnits, ResourceLimits};
use crate::store::instances::InstanceId;
use crate::store::queue::{self, Claimant, MAX_CLAIMANTS_PER_QUEUE};
use crate::store::{DbConnection, StoreError, resources};

/// The number of actions that are read at a time.
pub(super) const MAX_ACTIONS_READ: i64 = 256;

/// The number of claimants that are read at a time: some of each resource that contains others.
const MAX_CLAIMANTS_READ: i64 = 1024;

/// The actions that can start now.
#[derive(Debug, Default)]
pub struct StartableActions {
    /// The actions with their grants.
    pub actions: Vec<StartableAction>,
    /// Whether there can be more.
    pub has_more: bool,
    /// When an action can start that waits only for the gap or the settle time of a resource.
    pub next_at: Option<DateTime<Utc>>,
}

/// Finds the actions that need no grant to start; those suspended by one of `troubles` are left out.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn find_unqueued(
    db: &mut DbConnection,
    troubles: &[String],
) -> Result<StartableActions, StoreError> {
    let actions = queue::list_startable(db, MAX_ACTIONS_READ, troubles).await?;
    let has_more = i64::try_from(actions.len()).is_ok_and(|length| length >= MAX_ACTIONS_READ);
    Ok(StartableActions { actions, has_more, next_at: None })
}

/// Finds the actions whose claims can be granted at `now`; those suspended by one of `troubles` are left out.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn find_grantable(
    db: &mut DbConnection,
    faces: &Faces,
    troubles: &[String],
    now: DateTime<Utc>,
) -> Result<StartableActions, StoreError> {
    if !queue::has_claimants(db).await? {
        return Ok(StartableActions::default());
    }
    let claimants = queue::list_claimants(db, MAX_CLAIMANTS_READ, troubles, None).await?;
    let has_more = i64::try_from(claimants.len()).is_ok_and(|length| length >= MAX_CLAIMANTS_READ);
    let mut found = StartableActions { has_more, ..StartableActions::default() };
    // These need nothing but what their states hold already.
    let (ready, mut claimants): (Vec<_>, Vec<_>) =
        claimants.into_iter().partition(|claimant| claimant.claims.is_empty());
    found.actions.extend(ready.into_iter().map(|Claimant { id, instance, .. }| StartableAction {
        id,
        instance,
        grant: Grant::default(),
    }));
    if claimants.is_empty() {
        return Ok(found);
    }
    let resources = read_claimed(db, faces, &mut claimants, now).await?;
    resource_turns::sort(&mut claimants, &resources, now);
    let plan = plan(&claimants, &resources, now);
    found.next_at = plan.next_at.and_then(DateTime::from_timestamp_micros);
    // A queue may not have been read to its end. If nothing could start, reading again at once would give the same result.
    let started = found.actions.len() + plan.grants.len();
    found.has_more = started > 0
        && (has_more || i64::try_from(started).is_ok_and(|started| started >= MAX_CLAIMANTS_PER_QUEUE));
    for grant in plan.grants {
        let Some(claimant) = claimants.get(grant.key) else { continue };
        let grant = to_grant(claimant, &grant.units, &resources);
        found.actions.push(StartableAction { id: claimant.id, instance: claimant.instance, grant });
    }
    Ok(found)
}

/// The units that decisions release, and the grants to the next claimants.
#[derive(Debug, Default)]
pub struct PassOnPlan {
    /// The dropped holds.
    pub dropped_holds: Vec<(InstanceId, GrantedUnits)>,
    /// The grants.
    pub passed_on_grants: Vec<PassedOnGrant>,
}

/// Grants the units that `decided` releases at `now` to the next claimants; those suspended by one of `troubles` are left
/// out.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn pass_on(
    db: &mut DbConnection,
    decided: &[DecidedUpdate],
    faces: &Faces,
    troubles: &[String],
    now: DateTime<Utc>,
) -> Result<PassOnPlan, StoreError> {
    let dropped_holds = list_dropped_holds(db, decided).await?;
    let released_units = sum_released(decided, &dropped_holds);
    let passed_on_grants = grant_released(db, decided, &released_units, (faces, troubles), now).await?;
    Ok(PassOnPlan { dropped_holds, passed_on_grants })
}

async fn grant_released(
    db: &mut DbConnection,
    decided: &[DecidedUpdate],
    released_units: &BTreeMap<String, u32>,
    (faces, troubles): (&Faces, &[String]),
    now: DateTime<Utc>,
) -> Result<Vec<PassedOnGrant>, StoreError> {
    if released_units.is_empty() {
        return Ok(Vec::new());
    }
    let released: Vec<String> = released_units.keys().cloned().collect();
    let mut claimants = queue::list_claimants(db, MAX_CLAIMANTS_READ, troubles, Some(&released)).await?;
    // The actions of these instances are changed by this batch.
    let own: HashSet<_> = decided.iter().map(DecidedUpdate::id).collect();
    claimants.retain(|claimant| !own.contains(&claimant.instance));
    let mut resources = read_claimed(db, faces, &mut claimants, now).await?;
    leave_contained(&mut claimants, &resources);
    if claimants.is_empty() {
        return Ok(Vec::new());
    }
    let taken: HashSet<&str> =
        changes(decided).filter_map(|(_, changes)| changes.started.as_ref()).flat_map(newly_taken).collect();
    for state in resources.states_mut() {
        if taken.contains(state.name.as_str()) {
            // Its units are granted in this transaction: the rest is scheduled once that is durable.
            state.in_use = u32::MAX;
        } else if let Some(units) = released_units.get(&state.name) {
            // Units that may cool now are scheduled then, too.
            if state.settings.window_ms == 0 {
                state.in_use = state.in_use.saturating_sub(*units);
            }
            state.released_at = Some(now);
        }
    }
    let plan = plan(&claimants, &resources, now);
    let grants = plan.grants.iter().filter_map(|grant| {
        let claimant = claimants.get(grant.key)?;
        Some(PassedOnGrant { action: claimant.id, grant: to_grant(claimant, &grant.units, &resources) })
    });
    Ok(grants.collect())
}

/// Leaves claimants of contained resources, and those behind them, to the next look at all queues: others, which this
/// release does not concern, may come before them.
fn leave_contained(claimants: &mut Vec<Claimant>, resources: &ClaimedResources) {
    let mut left: HashSet<String> = HashSet::new();
    claimants.retain(|claimant| {
        let is_contained =
            |name: &str| resources.find(name).is_some_and(|state| state.settings.within.is_some());
        let mut names = claimant.claims.iter().flat_map(|claim| &claim.any_of);
        let is_left =
            loaded_resources(&claimant.claims).any(is_contained) || names.any(|name| left.contains(name));
        if is_left {
            left.extend(claimant.claims.iter().flat_map(|claim| claim.any_of.iter().cloned()));
        }
        !is_left
    });
}

/// Resolves the selectors of claims, and reads the claimed resources for grants at `now`.
async fn read_claimed(
    db: &mut DbConnection,
    faces: &Faces,
    claimants: &mut [Claimant],
    now: DateTime<Utc>,
) -> Result<ClaimedResources, StoreError> {
    let claims = claimants.iter_mut().map(|claimant| (claimant.instance, &mut claimant.claims));
    let mut resources = ClaimedResources::read(db, faces, claims.collect(), &[]).await?;
    resources.states_mut().for_each(|state| state.move_leading_times_to(now));
    Ok(resources)
}

/// The instances of which actions or units change, with the changes.
fn changes(decided: &[DecidedUpdate]) -> impl Iterator<Item = (InstanceId, &ActionChanges)> {
    decided.iter().filter_map(|update| Some((update.id(), update.actions.as_deref()?)))
}

/// Lists the holds that `decided` drops.
async fn list_dropped_holds(
    db: &mut DbConnection,
    decided: &[DecidedUpdate],
) -> Result<Vec<(InstanceId, GrantedUnits)>, StoreError> {
    let dropped = changes(decided).filter(|(_, changes)| !changes.dropped_holds.is_empty());
    let dropped: HashMap<InstanceId, &[String]> =
        dropped.map(|(id, changes)| (id, changes.dropped_holds.as_slice())).collect();
    if dropped.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<InstanceId> = dropped.keys().copied().collect();
    let mut held = resources::list_holds(db, &ids).await?;
    held.retain(|(id, units)| {
        let is_dropped = |names: &&[String]| units.hold.as_ref().is_some_and(|name| names.contains(name));
        dropped.get(id).is_some_and(is_dropped)
    });
    Ok(held)
}

/// Sums the released units of each resource, of actions and of holds.
fn sum_released(
    decided: &[DecidedUpdate],
    dropped_holds: &[(InstanceId, GrantedUnits)],
) -> BTreeMap<String, u32> {
    let mut released_units: BTreeMap<String, u32> = BTreeMap::new();
    let of_actions = changes(decided).flat_map(|(_, changes)| &changes.released);
    for units in of_actions.chain(dropped_holds.iter().map(|(_, units)| units)) {
        *released_units.entry(units.resource.clone()).or_default() += units.units;
    }
    released_units
}

fn newly_taken<T>((_, grant): &(T, Grant)) -> impl Iterator<Item = &str> {
    grant.based_on.iter().map(|taken| taken.resource.as_str())
}

pub(super) fn plan<'a>(
    claimants: &'a [Claimant],
    resources: &'a ClaimedResources,
    now: DateTime<Utc>,
) -> GrantPlan<usize, Quantity<'a>> {
    let claims = claimants.iter().flat_map(|claimant| &claimant.claims);
    let claimed = claims.flat_map(|claim| claim.any_of.iter().map(|name| (name.as_str(), claim.limits)));
    let claimed: HashMap<&str, ResourceLimits> = claimed.collect();
    let mut limited = BTreeMap::new();
    let mut held = Vec::new();
    for state in resources.states() {
        let name = state.name.as_str();
        let limits = limits(state, claimed.get(name).copied().unwrap_or_default());
        if let Some(units) = limited_units(state, limits) {
            limited.insert(Quantity::Units(name), units);
            held.push(ResourceUnits::of(Quantity::Units(name), state.in_use));
        }
        if let Some(load) = limited_load(state) {
            limited.insert(Quantity::Load(name), load);
            held.push(ResourceUnits::of(Quantity::Load(name), state.load_ma));
        }
    }
    held.retain(|held| held.units > 0);
    let request = |(key, claimant): (usize, &'a Claimant)| {
        resources.request(key, claimant.instance, &claimant.claims, claimant.has_holds)
    };
    let queue: Vec<_> = claimants.iter().enumerate().filter_map(request).collect();
    schedule(&limited, &held, &queue, now.timestamp_micros())
}

/// Builds the grant of a claimant, with the revision of each resource.
fn to_grant(
    claimant: &Claimant,
    units: &[ResourceUnits<Quantity<'_>>],
    resources: &ClaimedResources,
) -> Grant {
    let units: Vec<Quantity<'_>> = units.iter().map(|units| units.resource).collect();
    resources.grant(claimant.instance, &claimant.claims, &units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::actions::ActionId;
    use crate::store::claims::Claim;
    use crate::store::queue::{LimitOverrides, ResourceSettings, ResourceState};

    fn state(name: &str, in_use: u32) -> ResourceState {
        ResourceState {
            name: name.to_owned(),
            revision: 7,
            settings: ResourceSettings::default(),
            declared: None,
            granted_at: None,
            released_at: None,
            in_use,
            load_ma: 0,
            cooling: Vec::new(),
        }
    }

    fn claimant(id: i64, claims: Vec<Claim>) -> Claimant {
        Claimant { id: ActionId(id), instance: InstanceId(id), claims, has_holds: false, waiting_beside: 1 }
    }

    fn keys(claimants: &[Claimant], states: &[ResourceState]) -> Vec<usize> {
        let resources = ClaimedResources::of(states.to_vec());
        let plan = plan(claimants, &resources, DateTime::UNIX_EPOCH);
        plan.grants.into_iter().map(|grant| grant.key).collect()
    }

    #[test]
    fn limits_of_an_operator_take_precedence_over_claimed_ones() {
        let claimants = [claimant(1, vec![Claim::exclusive("a")]), claimant(2, vec![Claim::exclusive("a")])];
        assert_eq!(keys(&claimants, &[state("a", 0)]), [0]);
        assert!(keys(&claimants, &[state("a", 1)]).is_empty());
        let set = |capacity, in_use| {
            let overrides = LimitOverrides { capacity: Some(capacity), ..LimitOverrides::default() };
            let settings = ResourceSettings { overrides, ..ResourceSettings::default() };
            ResourceState { settings, ..state("a", in_use) }
        };
        assert_eq!(keys(&claimants, &[set(3, 1)]), [0, 1]);
        assert!(keys(&claimants, &[set(0, 0)]).is_empty());
    }

    #[test]
    fn units_of_an_unlimited_resource_need_no_basis() {
        let unlimited = Claim { limits: ResourceLimits::default(), ..Claim::exclusive("b") };
        let claimant = claimant(1, vec![Claim::exclusive("a"), unlimited]);
        let resources = ClaimedResources::of(vec![state("a", 0), state("b", 70)]);
        let plan = plan(std::slice::from_ref(&claimant), &resources, DateTime::UNIX_EPOCH);
        let grant = to_grant(&claimant, &plan.grants[0].units, &resources);
        let taken: Vec<_> =
            grant.based_on.iter().map(|basis| (basis.resource.as_str(), basis.revision)).collect();
        assert_eq!((taken, grant.units.len()), (vec![("a", 7)], 2));
    }
}
