//! Grants of resources: runs the scheduler on the state in the database.
//!
//! A grant is valid only if no other transaction has granted units of the same resource meanwhile: the write checks the
//! revision of the resource.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use schedule::{GrantPlan, LimitedResource, ResourceNeed, ResourceRequest, ResourceUnits, schedule};

use super::face::Faces;
use crate::store::actions::StartableAction;
use crate::store::batches::{DecidedUpdate, PassedOnGrant};
use crate::store::claims::{Claim, Grant, GrantBasis, GrantedUnits, ResourceLimits};
use crate::store::instances::InstanceId;
use crate::store::queue::{self, Claimant, MAX_CLAIMANTS_PER_QUEUE, ResourceState};
use crate::store::{DbConnection, StoreError, resources};

/// The number of actions that are read at a time.
pub(super) const MAX_ACTIONS_READ: i64 = 256;

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
    let has_more = is_full(actions.len());
    Ok(StartableActions { actions, has_more, next_at: None })
}

fn is_full(length: usize) -> bool {
    i64::try_from(length).is_ok_and(|length| length >= MAX_ACTIONS_READ)
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
    let claimants = queue::list_claimants(db, MAX_ACTIONS_READ, troubles, None).await?;
    let has_more = is_full(claimants.len());
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
    faces.select(db, claimants.iter_mut().map(|claimant| (claimant.instance, &mut claimant.claims))).await?;
    let states = queue::read_resources(db, &claimed_resources(&claimants)).await?;
    let plan = plan(&claimants, &states, now);
    found.next_at = plan.next_at.and_then(DateTime::from_timestamp_micros);
    // A queue may not have been read to its end. If nothing could start, reading again at once would give the same result.
    let started = found.actions.len() + plan.grants.len();
    found.has_more = started > 0
        && (has_more || i64::try_from(started).is_ok_and(|started| started >= MAX_CLAIMANTS_PER_QUEUE));
    for grant in plan.grants {
        let Some(claimant) = claimants.get(grant.key) else { continue };
        let grant = to_grant(claimant, &grant.units, &states);
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
    let mut claimants = queue::list_claimants(db, MAX_ACTIONS_READ, troubles, Some(&released)).await?;
    // The actions of these instances are changed by this batch.
    let own: HashSet<_> = decided.iter().map(DecidedUpdate::id).collect();
    claimants.retain(|claimant| !own.contains(&claimant.instance));
    faces.select(db, claimants.iter_mut().map(|claimant| (claimant.instance, &mut claimant.claims))).await?;
    if claimants.is_empty() {
        return Ok(Vec::new());
    }
    let mut states = queue::read_resources(db, &claimed_resources(&claimants)).await?;
    let taken: HashSet<&str> =
        decided.iter().filter_map(|update| update.started.as_ref()).flat_map(newly_taken).collect();
    for state in &mut states {
        if taken.contains(state.name.as_str()) {
            // Its units are granted in this transaction: the rest is scheduled once that is durable.
            state.overrides.capacity = Some(0);
        }
        if let Some(units) = released_units.get(&state.name) {
            state.in_use = state.in_use.saturating_sub(*units);
            state.released_at = Some(now);
        }
    }
    let plan = plan(&claimants, &states, now);
    let grants = plan.grants.iter().filter_map(|grant| {
        let claimant = claimants.get(grant.key)?;
        Some(PassedOnGrant { action: claimant.id, grant: to_grant(claimant, &grant.units, &states) })
    });
    Ok(grants.collect())
}

/// Lists the holds that `decided` drops.
async fn list_dropped_holds(
    db: &mut DbConnection,
    decided: &[DecidedUpdate],
) -> Result<Vec<(InstanceId, GrantedUnits)>, StoreError> {
    let dropped = decided.iter().filter(|update| !update.dropped_holds.is_empty());
    let dropped: HashMap<InstanceId, &[String]> =
        dropped.map(|update| (update.id(), update.dropped_holds.as_slice())).collect();
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
    let of_actions = decided.iter().flat_map(|update| &update.released);
    for units in of_actions.chain(dropped_holds.iter().map(|(_, units)| units)) {
        *released_units.entry(units.resource.clone()).or_default() += units.units;
    }
    released_units
}

fn newly_taken<T>((_, grant): &(T, Grant)) -> impl Iterator<Item = &str> {
    grant.based_on.iter().map(|taken| taken.resource.as_str())
}

/// Lists the claimed resources, each once.
fn claimed_resources(claimants: &[Claimant]) -> Vec<String> {
    let names = claimants.iter().flat_map(|claimant| &claimant.claims).flat_map(|claim| &claim.any_of);
    names.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// Returns the limits of a resource: those of `claim`, unless an operator has set others.
fn limits(state: &ResourceState, claim: &Claim) -> ResourceLimits {
    let claimed = if claim.limits == ResourceLimits::default() {
        state.declared.unwrap_or_default()
    } else {
        claim.limits
    };
    state.overrides.apply_to(claimed)
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000)
}

/// Builds the scheduler's resource; nothing where it has no limit.
pub(super) fn resource(state: &ResourceState, limits: ResourceLimits) -> Option<LimitedResource> {
    let ResourceLimits { capacity, gap_ms, settle_ms } = limits;
    let is_limited = capacity.is_some() || gap_ms > 0 || settle_ms > 0;
    is_limited.then(|| LimitedResource {
        capacity: capacity.unwrap_or(u32::MAX),
        gap: micros(gap_ms),
        settle: micros(settle_ms),
        granted_at: state.granted_at.map(|at| at.timestamp_micros()),
        released_at: state.released_at.map(|at| at.timestamp_micros()),
    })
}

fn plan<'a>(
    claimants: &'a [Claimant],
    states: &[ResourceState],
    now: DateTime<Utc>,
) -> GrantPlan<usize, &'a str> {
    let mut resources = BTreeMap::new();
    let mut held = Vec::new();
    for claim in claimants.iter().flat_map(|claimant| &claimant.claims) {
        for name in &claim.any_of {
            if resources.contains_key(name.as_str()) {
                continue;
            }
            let Some(state) = states.iter().find(|state| state.name == *name) else { continue };
            if let Some(resource) = resource(state, limits(state, claim)) {
                resources.insert(name.as_str(), resource);
                held.push(ResourceUnits { resource: name.as_str(), units: state.in_use });
            }
        }
    }
    held.retain(|held| held.units > 0);
    let request = |(key, claimant): (usize, &'a Claimant)| ResourceRequest {
        key,
        needs: needs(&claimant.claims),
        holds: claimant.has_holds,
    };
    let queue: Vec<_> = claimants.iter().enumerate().map(request).collect();
    schedule(&resources, &held, &queue, now.timestamp_micros())
}

/// Converts claims to the needs of the scheduler.
pub(super) fn needs(claims: &[Claim]) -> Vec<ResourceNeed<&str>> {
    let need = |claim| {
        let Claim { any_of, units, .. }: &Claim = claim;
        ResourceNeed { any_of: any_of.iter().map(String::as_str).collect(), units: *units }
    };
    claims.iter().map(need).collect()
}

/// Builds the grant of a claimant, with the revision of each resource.
fn to_grant(claimant: &Claimant, units: &[ResourceUnits<&str>], states: &[ResourceState]) -> Grant {
    let mut grant = Grant::default();
    for (claim, ResourceUnits { resource: name, units }) in claimant.claims.iter().zip(units) {
        let hold = claim.hold.clone();
        grant.units.push(GrantedUnits { resource: (*name).to_owned(), units: *units, hold });
        let Some(state) = states.iter().find(|state| state.name == *name) else { continue };
        if resource(state, limits(state, claim)).is_some() {
            grant.based_on.push(GrantBasis {
                resource: (*name).to_owned(),
                revision: state.revision,
                limits: claim.limits,
            });
        }
    }
    grant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::actions::ActionId;
    use crate::store::queue::LimitOverrides;

    fn state(name: &str, in_use: u32) -> ResourceState {
        ResourceState {
            name: name.to_owned(),
            revision: 7,
            overrides: LimitOverrides::default(),
            declared: None,
            granted_at: None,
            released_at: None,
            in_use,
        }
    }

    fn claimant(id: i64, claims: Vec<Claim>) -> Claimant {
        Claimant { id: ActionId(id), instance: InstanceId(id), claims, has_holds: false }
    }

    fn keys(claimants: &[Claimant], states: &[ResourceState]) -> Vec<usize> {
        let plan = plan(claimants, states, DateTime::UNIX_EPOCH);
        plan.grants.into_iter().map(|grant| grant.key).collect()
    }

    #[test]
    fn limits_of_an_operator_take_precedence_over_claimed_ones() {
        let claimants = [claimant(1, vec![Claim::exclusive("a")]), claimant(2, vec![Claim::exclusive("a")])];
        assert_eq!(keys(&claimants, &[state("a", 0)]), [0]);
        assert!(keys(&claimants, &[state("a", 1)]).is_empty());
        let set = LimitOverrides { capacity: Some(3), ..LimitOverrides::default() };
        assert_eq!(keys(&claimants, &[ResourceState { overrides: set, ..state("a", 1) }]), [0, 1]);
        let none = LimitOverrides { capacity: Some(0), ..LimitOverrides::default() };
        assert!(keys(&claimants, &[ResourceState { overrides: none, ..state("a", 0) }]).is_empty());
    }

    #[test]
    fn units_of_an_unlimited_resource_need_no_basis() {
        let unlimited = Claim { limits: ResourceLimits::default(), ..Claim::exclusive("b") };
        let claimant = claimant(1, vec![Claim::exclusive("a"), unlimited]);
        let states = [state("a", 0), state("b", 70)];
        let plan = plan(std::slice::from_ref(&claimant), &states, DateTime::UNIX_EPOCH);
        let grant = to_grant(&claimant, &plan.grants[0].units, &states);
        let taken: Vec<_> =
            grant.based_on.iter().map(|basis| (basis.resource.as_str(), basis.revision)).collect();
        assert_eq!((taken, grant.units.len()), (vec![("a", 7)], 2));
    }
}
