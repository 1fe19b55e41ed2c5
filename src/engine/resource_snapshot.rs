//! The state of resources with their queues, and forecasts of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use schedule::{LimitedResource, ResourceRequest, ResourceUnits, WithDuration, forecast};

use super::face::Faces;
use super::resource_requests::{ClaimedResources, Quantity, limited_load, limited_units};
use super::turn_times::TurnTimes;
use crate::explain::ResourceIncident;
use crate::store::actions::{ActionId, ActionSummary};
use crate::store::claims::{Claim, ResourceLimits};
use crate::store::incidents::{self, Incident, IncidentFilter};
use crate::store::instances::InstanceId;
use crate::store::queue::ResourceState;
use crate::store::resources::{self, ResourceHolder, ResourceWaiter};
use crate::store::{DbConnection, StoreError, resource_settings};

/// The maximum number of waiting actions that are read.
const MAX_WAITERS: i64 = 10_000;

/// The forecast of a waiting action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitForecast {
    /// The number of instances that hold what it needs or come before it.
    pub ahead: usize,
    /// The instances that hold it.
    pub holders: Vec<String>,
    /// When it may be granted; nothing where that cannot be predicted.
    pub expected_at: Option<DateTime<Utc>>,
    /// The open incidents that it waits for.
    pub incidents: Vec<BlockingIncident>,
}

/// An open incident that keeps actions waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockingIncident {
    /// Its instance.
    pub instance: InstanceId,
    /// Its resource and all within that.
    pub covered: Vec<String>,
    /// Whether the resource answers, so that only the suspended actions wait.
    pub is_silent: bool,
    /// The incident.
    pub incident: ResourceIncident,
}

impl BlockingIncident {
    /// Whether `action` waits for its end. A compensation does not.
    #[must_use]
    pub fn blocks(&self, action: &ActionSummary) -> bool {
        let covers = |names: &[String]| matches!(names, [name] if self.covered.contains(name));
        action.began_at.is_none()
            && !action.is_compensation
            && (action.incident.as_ref().is_some_and(|at| self.covered.contains(at))
                || action.is_queued() && action.claims.iter().any(|claim| covers(&claim.any_of)))
    }

    /// Whether `waiter` waits for its end. A compensation does not, nor does what only asks whether the resource answers.
    fn blocks_waiter(&self, waiter: &ResourceWaiter) -> bool {
        let covers = |claim: &Claim| {
            let is_covered = matches!(&claim.any_of[..], [name] if self.covered.contains(name));
            is_covered && !claim.probes && claim.select.is_none()
        };
        waiter.owner.instance != self.instance
            && !waiter.is_compensation
            && (waiter.suspended_by.as_ref().is_some_and(|at| self.covered.contains(at))
                || !self.is_silent && waiter.claims.iter().any(covers))
    }

    /// Whether `waiter` may be granted units of a resource that does not answer: its start cannot be predicted.
    fn may_delay(&self, waiter: &ResourceWaiter) -> bool {
        let mut names = waiter.claims.iter().flat_map(|claim| &claim.any_of);
        !self.is_silent && names.any(|name| self.covered.contains(name))
    }
}

impl From<Incident> for BlockingIncident {
    fn from(incident: Incident) -> Self {
        let Incident {
            instance,
            resource,
            opened_at,
            reason,
            next_probe_at,
            waiting,
            covered,
            is_silent,
            ..
        } = incident;
        let incident = ResourceIncident { resource, opened_at, reason, waiting, next_probe_at };
        Self { instance, covered, is_silent, incident }
    }
}

impl WaitForecast {
    /// The forecast of one action of the instance; it is empty for an action that does not wait for resources.
    #[must_use]
    pub fn of(&self, action: &ActionSummary) -> Self {
        if action.is_queued() { self.clone() } else { Self::default() }
    }
}

/// For each waiting action the number of actions before it, and when it may be granted.
pub(super) type ExpectedTurns = HashMap<ActionId, (usize, Option<DateTime<Utc>>)>;

/// The state of some resources.
pub(super) struct ResourceSnapshot {
    pub(super) resources: ClaimedResources,
    pub(super) holders: Vec<ResourceHolder>,
    pub(super) waiters: Vec<ResourceWaiter>,
    /// The open incidents.
    pub(super) incidents: Vec<BlockingIncident>,
    /// The limits in definitions.
    pub(super) declared: BTreeMap<String, ResourceLimits>,
}

impl ResourceSnapshot {
    pub(super) async fn read(
        db: &mut DbConnection,
        faces: &Faces,
        names: &[String],
    ) -> Result<Self, StoreError> {
        // Others that wait for what contains these affect the forecast as well, and so do their other claims.
        let mut connected = resource_settings::list_connected(db, names).await?;
        // Claims of `NAME@CONTAINER` are stored as `NAME`.
        let bases = connected.iter().filter_map(|name| Some(name.split_once('@')?.0.to_owned()));
        connected.extend(bases.collect::<Vec<_>>());
        let mut waiters = resources::list_waiters(db, &connected, MAX_WAITERS).await?;
        let claims = waiters.iter_mut().map(|waiter| (waiter.owner.instance, &mut waiter.claims));
        let resources = ClaimedResources::read(db, faces, claims.collect(), &connected).await?;
        let all: Vec<String> = resources.states().map(|state| state.name.clone()).collect();
        let holders = resources::list_holders(db, &all).await?;
        let incidents = incidents::list(db, IncidentFilter::Open).await?;
        let incidents = incidents.into_iter().map(BlockingIncident::from).collect();
        Ok(Self { resources, holders, waiters, incidents, declared: BTreeMap::new() })
    }

    /// Returns the open incident at the resource `name`, or at what contains it.
    pub(super) fn incident_at(&self, name: &str) -> Option<&ResourceIncident> {
        let covers = |at: &&BlockingIncident| at.covered.iter().any(|covered| covered == name);
        self.incidents.iter().find(covers).map(|at| &at.incident)
    }

    /// Returns the open incident that `waiter` waits for.
    pub(super) fn incident_of(&self, waiter: &ResourceWaiter) -> Option<&ResourceIncident> {
        self.incidents.iter().find(|at| at.blocks_waiter(waiter)).map(|at| &at.incident)
    }

    /// Returns the limits of each resource: those of an operator, of its claims, or of its definition.
    pub(super) fn limits(&self) -> HashMap<&str, ResourceLimits> {
        let claims = self.waiters.iter().flat_map(|waiter| &waiter.claims);
        let claimed = claims.filter(|claim| claim.limits != ResourceLimits::default());
        let claimed = claimed.flat_map(|claim| claim.any_of.iter().map(|name| (name.as_str(), claim.limits)));
        let claimed: HashMap<&str, ResourceLimits> = claimed.collect();
        let limits = |state: &ResourceState| {
            let claimed = claimed.get(state.name.as_str()).copied().or(state.declared);
            let claimed = claimed.or_else(|| self.declared.get(&state.name).copied());
            state.settings.overrides.apply_to(claimed.unwrap_or_default())
        };
        self.resources.states().map(|state| (state.name.as_str(), limits(state))).collect()
    }

    /// Forecasts the queues, as far as the first `waiters`. When an incident ends is unknown, so what waits for one has no expected
    /// start; before it are those that wait longer for the same one.
    pub(super) fn expected_turns(
        &self,
        waiters: usize,
        times: &TurnTimes,
        now: DateTime<Utc>,
    ) -> ExpectedTurns {
        let limits = self.limits();
        let mut resources: BTreeMap<Quantity<'_>, LimitedResource> = BTreeMap::new();
        for state in self.resources.states() {
            let name = state.name.as_str();
            let units = limited_units(state, limits.get(name).copied().unwrap_or_default());
            resources.extend(units.map(|units| (Quantity::Units(name), units)));
            resources.extend(limited_load(state).map(|load| (Quantity::Load(name), load)));
        }
        let held: Vec<_> = self.holders.iter().flat_map(|holder| timed_holder(holder, times, now)).collect();
        let mut blocked: HashMap<&str, usize> = HashMap::new();
        let mut expected = ExpectedTurns::new();
        let mut unpredictable = BTreeSet::new();
        let mut queue = Vec::new();
        for waiter in self.waiters.iter().take(waiters) {
            if let Some(incident) = self.incident_of(waiter) {
                let ahead = blocked.entry(&incident.resource).or_default();
                expected.insert(waiter.id, (*ahead, None));
                *ahead += 1;
                continue;
            }
            if self.incidents.iter().any(|at| at.may_delay(waiter)) {
                unpredictable.insert(waiter.id);
            }
            queue.extend(timed_waiter(&self.resources, waiter, times));
        }
        expected.extend(forecast(&resources, &held, &queue, now.timestamp_micros()).into_iter().map(
            |turn| {
                let at = turn.at.filter(|_| !unpredictable.contains(&turn.key));
                (turn.key, (turn.ahead, at.and_then(DateTime::from_timestamp_micros)))
            },
        ));
        expected
    }

    /// Forecasts the waiting action of `instance`.
    pub(super) fn wait_forecast(
        &self,
        instance: InstanceId,
        times: &TurnTimes,
        now: DateTime<Utc>,
    ) -> WaitForecast {
        let Some(position) = self.waiters.iter().position(|waiter| waiter.owner.instance == instance) else {
            return WaitForecast::default();
        };
        let own = &self.waiters[position];
        let (waiting, expected_at) =
            self.expected_turns(position + 1, times, now).get(&own.id).copied().unwrap_or_default();
        let needs = |holder: &&ResourceHolder| {
            holder.owner.instance != instance
                && own.claims.iter().any(|claim| claim.any_of.contains(&holder.resource))
        };
        let holders = self.holders.iter().filter(needs).map(|holder| holder.owner.name.clone());
        let holders: BTreeSet<String> = holders.collect();
        let ahead = waiting + holders.len();
        WaitForecast { ahead, holders: holders.into_iter().collect(), expected_at, incidents: Vec::new() }
    }
}

fn timed_holder<'a>(
    holder: &'a ResourceHolder,
    times: &TurnTimes,
    now: DateTime<Utc>,
) -> impl Iterator<Item = WithDuration<ResourceUnits<Quantity<'a>>>> + use<'a> {
    let average = holder.action.as_ref().and_then(|_| times.average(&holder.resource));
    let so_far = (now - holder.since).num_microseconds().unwrap_or_default();
    let duration = average.map(|average| average.saturating_sub(so_far).max(0));
    let name = holder.resource.as_str();
    let cools = holder.load.is_some();
    let load = holder.load.filter(|load| load.ma > 0).map(|load| (Quantity::Load(name), load.ma));
    std::iter::once((Quantity::Units(name), holder.units)).chain(load).map(move |(resource, units)| {
        WithDuration { item: ResourceUnits { resource, units, cools }, duration }
    })
}

fn timed_waiter<'a>(
    resources: &'a ClaimedResources,
    waiter: &'a ResourceWaiter,
    times: &TurnTimes,
) -> Option<WithDuration<ResourceRequest<ActionId, Quantity<'a>>>> {
    let item = resources.request(waiter.id, waiter.owner.instance, &waiter.claims, waiter.has_holds)?;
    // A hold lasts longer than the action, and its duration is unknown.
    let is_known = waiter.claims.iter().all(|claim| claim.hold.is_none());
    let names = waiter.claims.iter().flat_map(|claim| &claim.any_of);
    let duration = if is_known { names.filter_map(|name| times.average(name)).max() } else { None };
    Some(WithDuration { item, duration })
}
