//! Who is granted what is limited: the scheduler, with what the database holds.
//!
//! What is decided here stands only where nobody else was granted units of the same resource meanwhile: the database sees to
//! that as it is written, by the resource's revision.

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

/// How many actions are looked up at a time.
pub(super) const MAX_ACTIONS_READ: i64 = 256;

/// What may be started now.
#[derive(Debug, Default)]
pub struct StartableActions {
    /// The actions, with what they get.
    pub actions: Vec<StartableAction>,
    /// Whether there may be more.
    pub has_more: bool,
    /// When something may be started that only waits for a gap or for a resource to settle.
    pub next_at: Option<DateTime<Utc>>,
}

/// Looks which actions may be started at `now`; those that are suspended by one of `troubles` are left out.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn find_startable(
    db: &mut DbConnection,
    faces: &Faces,
    troubles: &[String],
    now: DateTime<Utc>,
) -> Result<StartableActions, StoreError> {
    let actions = queue::list_startable(db, MAX_ACTIONS_READ, troubles).await?;
    let claimants = queue::list_claimants(db, MAX_ACTIONS_READ, troubles, None).await?;
    let is_full = |length: usize| i64::try_from(length).is_ok_and(|length| length >= MAX_ACTIONS_READ);
    let has_more = is_full(actions.len()) || is_full(claimants.len());
    let mut found = StartableActions { actions, has_more, next_at: None };
    // All that these need is held by their states already.
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
    faces.select(db, claimants.iter_mut().map(|one| (one.instance, &mut one.claims))).await?;
    let states = queue::read_resources(db, &claimed_resources(&claimants)).await?;
    let plan = plan(&claimants, &states, now);
    found.next_at = plan.next_at.and_then(DateTime::from_timestamp_micros);
    // Of a queue not all were looked at, perhaps. Where nothing could be begun, looking again at once would find the same.
    let begun = found.actions.len() + plan.grants.len();
    found.has_more =
        begun > 0 && (has_more || i64::try_from(begun).is_ok_and(|begun| begun >= MAX_CLAIMANTS_PER_QUEUE));
    for grant in plan.grants {
        let Some(claimant) = claimants.get(grant.key) else { continue };
        let grant = to_grant(claimant, &grant.units, &states);
        found.actions.push(StartableAction { id: claimant.id, instance: claimant.instance, grant });
    }
    Ok(found)
}

/// What is given back by what was decided, and to whom it is granted on.
#[derive(Debug, Default)]
pub struct PassOnPlan {
    /// What states held.
    pub dropped_holds: Vec<(InstanceId, GrantedUnits)>,
    /// Who gets what.
    pub passed_on_grants: Vec<PassedOnGrant>,
}

/// Decides to whom of those that wait what `decided` gives back at `now` is granted on; those that are suspended by one of
/// `troubles` are left out.
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
    let let_go = list_dropped_holds(db, decided).await?;
    let given_back = sum_released(decided, &let_go);
    let granted_on = grant_released(db, decided, &given_back, (faces, troubles), now).await?;
    Ok(PassOnPlan { dropped_holds: let_go, passed_on_grants: granted_on })
}

async fn grant_released(
    db: &mut DbConnection,
    decided: &[DecidedUpdate],
    given_back: &BTreeMap<String, u32>,
    (faces, troubles): (&Faces, &[String]),
    now: DateTime<Utc>,
) -> Result<Vec<PassedOnGrant>, StoreError> {
    if given_back.is_empty() {
        return Ok(Vec::new());
    }
    let released: Vec<String> = given_back.keys().cloned().collect();
    let mut claimants = queue::list_claimants(db, MAX_ACTIONS_READ, troubles, Some(&released)).await?;
    // What becomes of these is decided on here, and nothing of it is to be seen yet.
    let own: HashSet<_> = decided.iter().map(DecidedUpdate::id).collect();
    claimants.retain(|claimant| !own.contains(&claimant.instance));
    faces.select(db, claimants.iter_mut().map(|one| (one.instance, &mut one.claims))).await?;
    if claimants.is_empty() {
        return Ok(Vec::new());
    }
    let mut states = queue::read_resources(db, &claimed_resources(&claimants)).await?;
    let taken: HashSet<&str> =
        decided.iter().filter_map(|one| one.started.as_ref()).flat_map(newly_taken).collect();
    for state in &mut states {
        if taken.contains(state.name.as_str()) {
            // Somebody gets units of it in the same transaction: what is left then shows when that is durable.
            state.overrides.capacity = Some(0);
        }
        if let Some(units) = given_back.get(&state.name) {
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

/// What states held that `decided` drops.
async fn list_dropped_holds(
    db: &mut DbConnection,
    decided: &[DecidedUpdate],
) -> Result<Vec<(InstanceId, GrantedUnits)>, StoreError> {
    let dropped = decided.iter().filter(|one| !one.dropped_holds.is_empty());
    let dropped: HashMap<InstanceId, &[String]> =
        dropped.map(|one| (one.id(), one.dropped_holds.as_slice())).collect();
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

/// How many units of each resource are given back: those of actions, and those that states held.
fn sum_released(decided: &[DecidedUpdate], let_go: &[(InstanceId, GrantedUnits)]) -> BTreeMap<String, u32> {
    let mut given_back: BTreeMap<String, u32> = BTreeMap::new();
    let of_actions = decided.iter().flat_map(|one| &one.released);
    for units in of_actions.chain(let_go.iter().map(|(_, units)| units)) {
        *given_back.entry(units.resource.clone()).or_default() += units.units;
    }
    given_back
}

fn newly_taken<T>((_, grant): &(T, Grant)) -> impl Iterator<Item = &str> {
    grant.based_on.iter().map(|taken| taken.resource.as_str())
}

/// All resources that are claimed, each once.
fn claimed_resources(claimants: &[Claimant]) -> Vec<String> {
    let names = claimants.iter().flat_map(|claimant| &claimant.claims).flat_map(|claim| &claim.any_of);
    names.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// The limits of a resource as `claim` says, unless an operator wants others.
fn limits(state: &ResourceState, claim: &Claim) -> ResourceLimits {
    let said = if claim.limits == ResourceLimits::default() {
        state.declared.unwrap_or_default()
    } else {
        claim.limits
    };
    state.overrides.apply_to(said)
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000)
}

/// A resource for the scheduler; nothing where there is no limit.
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

/// What claims need.
pub(super) fn needs(claims: &[Claim]) -> Vec<ResourceNeed<&str>> {
    let need = |claim| {
        let Claim { any_of, units, .. }: &Claim = claim;
        ResourceNeed { any_of: any_of.iter().map(String::as_str).collect(), units: *units }
    };
    claims.iter().map(need).collect()
}

/// What a claimant gets, and of which revision of each resource that is.
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
    fn an_operators_limits_count_before_those_that_are_claimed() {
        let claimants = [claimant(1, vec![Claim::exclusive("a")]), claimant(2, vec![Claim::exclusive("a")])];
        assert_eq!(keys(&claimants, &[state("a", 0)]), [0]);
        assert!(keys(&claimants, &[state("a", 1)]).is_empty());
        let set = LimitOverrides { capacity: Some(3), ..LimitOverrides::default() };
        assert_eq!(keys(&claimants, &[ResourceState { overrides: set, ..state("a", 1) }]), [0, 1]);
        let none = LimitOverrides { capacity: Some(0), ..LimitOverrides::default() };
        assert!(keys(&claimants, &[ResourceState { overrides: none, ..state("a", 0) }]).is_empty());
    }

    #[test]
    fn what_has_no_limit_is_not_taken_from_anything() {
        let unlimited = Claim { limits: ResourceLimits::default(), ..Claim::exclusive("b") };
        let one = claimant(1, vec![Claim::exclusive("a"), unlimited]);
        let states = [state("a", 0), state("b", 70)];
        let plan = plan(std::slice::from_ref(&one), &states, DateTime::UNIX_EPOCH);
        let grant = to_grant(&one, &plan.grants[0].units, &states);
        let taken: Vec<_> = grant.based_on.iter().map(|one| (one.resource.as_str(), one.revision)).collect();
        assert_eq!((taken, grant.units.len()), (vec![("a", 7)], 2));
    }
}
