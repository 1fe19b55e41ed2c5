//! Resources for people: limits, holders, and queues with expected times.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schedule::{LimitedResource, ResourceRequest, ResourceUnits, WithDuration, forecast};
use serde::Serialize;

use super::claims::declared_limits;
use super::error::EngineError;
use super::face::Faces;
use super::grants::{needs, resource};
use super::handle::Engine;
use super::turn_times::TurnTimes;
use crate::explain::ResourceIncident;
use crate::store::actions::{ActionId, ActionSummary};
use crate::store::claims::{Claim, ResourceLimits};
use crate::store::incidents::{self, Incident, IncidentFilter};
use crate::store::instances::InstanceId;
use crate::store::queue::{self, LimitOverrides, ResourceState};
use crate::store::resources::{self, DefinedHolds, InstanceRef, ResourceHolder, ResourceWaiter};
use crate::store::{DbConnection, StoreError};

/// The maximum number of waiting actions that are read.
const MAX_WAITERS: i64 = 10_000;

/// A resource as the API shows it.
#[derive(Debug, Clone, Serialize)]
pub struct ResourceView {
    /// Its name.
    pub name: String,
    /// The number of units; nothing where there is no limit.
    pub capacity: Option<u32>,
    /// The time between two grants, in seconds.
    pub gap_s: f64,
    /// The time between a release and the next grant, in seconds.
    pub settle_s: f64,
    /// Which of these limits an operator has set.
    pub overridden: Vec<&'static str>,
    /// The number of units in use.
    pub in_use: u32,
    /// The holders.
    pub holders: Vec<HolderView>,
    /// The waiting actions, in order.
    pub queue: Vec<WaiterView>,
}

/// A holder of units.
#[derive(Debug, Clone, Serialize)]
pub struct HolderView {
    /// The machine of the instance.
    pub machine: String,
    /// Its name.
    pub name: String,
    /// The action; nothing where the state holds the units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The number of units.
    pub units: u32,
    /// When it got them.
    pub since: DateTime<Utc>,
}

/// An action that waits for units.
#[derive(Debug, Clone, Serialize)]
pub struct WaiterView {
    /// The machine of the instance.
    pub machine: String,
    /// Its name.
    pub name: String,
    /// The action.
    pub action: String,
    /// The number of actions before it.
    pub requests_ahead: usize,
    /// Since when it waits.
    pub since: DateTime<Utc>,
    /// When it may be granted; nothing where that cannot be predicted.
    pub expected_at: Option<DateTime<Utc>>,
}

/// The forecast of a waiting action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitForecast {
    /// The number of instances that hold what it needs or come before it.
    pub ahead: usize,
    /// The instances that hold it.
    pub holders: Vec<String>,
    /// When it may be granted; nothing where that cannot be predicted.
    pub expected_at: Option<DateTime<Utc>>,
    /// The open incidents at the resources that it needs.
    pub incidents: Vec<ResourceIncident>,
}

impl WaitForecast {
    /// The forecast of one action of the instance; it is empty for an action that does not wait for resources.
    #[must_use]
    pub fn of(&self, action: &ActionSummary) -> Self {
        if action.is_queued() { self.clone() } else { Self::default() }
    }
}

/// For each waiting action the number of actions before it, and when it may be granted.
type ExpectedTurns = HashMap<ActionId, (usize, Option<DateTime<Utc>>)>;

/// The state of some resources.
struct ResourceSnapshot {
    states: Vec<ResourceState>,
    holders: Vec<ResourceHolder>,
    waiters: Vec<ResourceWaiter>,
    /// The limits in definitions.
    declared: BTreeMap<String, ResourceLimits>,
}

impl ResourceSnapshot {
    async fn read(db: &mut DbConnection, faces: &Faces, names: &[String]) -> Result<Self, StoreError> {
        let mut waiters = resources::list_waiters(db, names, MAX_WAITERS).await?;
        faces
            .select(db, waiters.iter_mut().map(|waiter| (waiter.owner.instance, &mut waiter.claims)))
            .await?;
        // Their other claims affect the forecast as well.
        let claims = waiters.iter().flat_map(|waiter| &waiter.claims);
        let mut all: BTreeSet<String> = claims.flat_map(|claim| claim.any_of.iter().cloned()).collect();
        all.extend(names.iter().cloned());
        let all: Vec<String> = all.into_iter().collect();
        Ok(Self {
            states: queue::read_resources(db, &all).await?,
            holders: resources::list_holders(db, &all).await?,
            waiters,
            declared: BTreeMap::new(),
        })
    }

    /// Returns the limits of each resource: those of an operator, of its claims, or of its definition.
    fn limits(&self) -> HashMap<&str, ResourceLimits> {
        let claims = self.waiters.iter().flat_map(|waiter| &waiter.claims);
        let claimed = claims.filter(|claim| claim.limits != ResourceLimits::default());
        let claimed = claimed.flat_map(|claim| claim.any_of.iter().map(|name| (name.as_str(), claim.limits)));
        let claimed: HashMap<&str, ResourceLimits> = claimed.collect();
        let limits = |state: &ResourceState| {
            let claimed = claimed.get(state.name.as_str()).copied().or(state.declared);
            let claimed = claimed.or_else(|| self.declared.get(&state.name).copied());
            state.overrides.apply_to(claimed.unwrap_or_default())
        };
        self.states.iter().map(|state| (state.name.as_str(), limits(state))).collect()
    }

    /// Forecasts the queues.
    fn expected_turns(&self, times: &TurnTimes, now: DateTime<Utc>) -> ExpectedTurns {
        let limits = self.limits();
        let resource = |state: &'_ ResourceState| resource(state, *limits.get(state.name.as_str())?);
        let resources = self.states.iter().filter_map(|state| Some((state.name.as_str(), resource(state)?)));
        let resources: BTreeMap<&str, LimitedResource> = resources.collect();
        let held: Vec<_> = self.holders.iter().map(|holder| timed_holder(holder, times, now)).collect();
        let queue: Vec<_> = self.waiters.iter().map(|waiter| timed_waiter(waiter, times)).collect();
        let at = |at: Option<i64>| at.and_then(DateTime::from_timestamp_micros);
        forecast(&resources, &held, &queue, now.timestamp_micros())
            .into_iter()
            .map(|turn| (turn.key, (turn.ahead, at(turn.at))))
            .collect()
    }

    /// Forecasts the waiting action of `instance`.
    fn wait_forecast(&self, instance: InstanceId, times: &TurnTimes, now: DateTime<Utc>) -> WaitForecast {
        let Some(own) = self.waiters.iter().find(|waiter| waiter.owner.instance == instance) else {
            return WaitForecast::default();
        };
        let (waiting, expected_at) =
            self.expected_turns(times, now).get(&own.id).copied().unwrap_or_default();
        let needs = |holder: &&ResourceHolder| {
            holder.owner.instance != instance
                && own.claims.iter().any(|claim| claim.any_of.contains(&holder.resource))
        };
        let holders = self.holders.iter().filter(needs).map(|holder| holder.owner.name.clone());
        let holders: BTreeSet<String> = holders.collect();
        let ahead = waiting + holders.len();
        WaitForecast { ahead, holders: holders.into_iter().collect(), expected_at, incidents: Vec::new() }
    }

    /// Builds the views of the resources `names`.
    fn views(&self, names: &[String], times: &TurnTimes, now: DateTime<Utc>) -> Vec<ResourceView> {
        let (limits, expected) = (self.limits(), self.expected_turns(times, now));
        let mut holders: HashMap<&str, Vec<HolderView>> = HashMap::new();
        for holder in &self.holders {
            holders.entry(&holder.resource).or_default().push(holder_view(holder));
        }
        let mut queues: HashMap<&str, Vec<WaiterView>> = HashMap::new();
        for waiter in &self.waiters {
            let names: BTreeSet<&String> = waiter.claims.iter().flat_map(|claim| &claim.any_of).collect();
            for name in names {
                queues.entry(name).or_default().push(waiter_view(waiter, &expected));
            }
        }
        let names: BTreeSet<&String> = names.iter().collect();
        let wanted = self.states.iter().filter(|state| names.contains(&state.name));
        let view = |state: &ResourceState| {
            let name = state.name.as_str();
            let ResourceLimits { capacity, gap_ms, settle_ms } =
                limits.get(name).copied().unwrap_or_default();
            let LimitOverrides { capacity: set_capacity, gap_ms: set_gap, settle_ms: set_settle } =
                state.overrides;
            let overrides = [
                ("capacity", set_capacity.is_some()),
                ("gap", set_gap.is_some()),
                ("settle", set_settle.is_some()),
            ];
            ResourceView {
                name: state.name.clone(),
                capacity,
                gap_s: seconds(gap_ms),
                settle_s: seconds(settle_ms),
                overridden: overrides
                    .into_iter()
                    .filter(|(_, is_set)| *is_set)
                    .map(|(name, _)| name)
                    .collect(),
                in_use: state.in_use,
                holders: holders.remove(name).unwrap_or_default(),
                queue: queues.remove(name).unwrap_or_default(),
            }
        };
        wanted.map(view).collect()
    }
}

fn waiter_view(waiter: &ResourceWaiter, expected: &ExpectedTurns) -> WaiterView {
    let (requests_ahead, expected_at) = expected.get(&waiter.id).copied().unwrap_or_default();
    let ResourceWaiter { owner: InstanceRef { machine, name, .. }, action, since, .. } = waiter.clone();
    WaiterView { machine, name, action, requests_ahead, since, expected_at }
}

fn holder_view(holder: &ResourceHolder) -> HolderView {
    let ResourceHolder { owner: InstanceRef { machine, name, .. }, action, units, since, .. } =
        holder.clone();
    HolderView { machine, name, action, units, since }
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

fn timed_holder<'a>(
    holder: &'a ResourceHolder,
    times: &TurnTimes,
    now: DateTime<Utc>,
) -> WithDuration<ResourceUnits<&'a str>> {
    let average = holder.action.as_ref().and_then(|_| times.average(&holder.resource));
    let so_far = (now - holder.since).num_microseconds().unwrap_or_default();
    let item = ResourceUnits { resource: holder.resource.as_str(), units: holder.units };
    WithDuration { item, duration: average.map(|average| average.saturating_sub(so_far).max(0)) }
}

fn timed_waiter<'a>(
    waiter: &'a ResourceWaiter,
    times: &TurnTimes,
) -> WithDuration<ResourceRequest<ActionId, &'a str>> {
    let item = ResourceRequest { key: waiter.id, needs: needs(&waiter.claims), holds: waiter.has_holds };
    // A hold lasts longer than the action, and its duration is unknown.
    let is_known = waiter.claims.iter().all(|claim| claim.hold.is_none());
    let names = waiter.claims.iter().flat_map(|claim| &claim.any_of);
    let duration = if is_known { names.filter_map(|name| times.average(name)).max() } else { None };
    WithDuration { item, duration }
}

fn to_resource_incident(incident: Incident) -> ResourceIncident {
    let Incident { resource, opened_at, reason, next_probe_at, waiting, .. } = incident;
    ResourceIncident { resource, opened_at, reason, waiting, next_probe_at }
}

impl Engine {
    /// Lists the resources, or the one called `name`, in a snapshot.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn resources(&self, name: Option<&str>) -> Result<Vec<ResourceView>, EngineError> {
        let now = self.clock().now();
        let mut db = self.store().snapshot().await?;
        let declared = self.declared();
        let mut all: BTreeSet<String> = resources::list_names(&mut db).await?.into_iter().collect();
        all.extend(declared.keys().cloned());
        let names: Vec<String> =
            all.into_iter().filter(|known| name.is_none_or(|name| name == known)).collect();
        let mut snapshot = ResourceSnapshot::read(&mut db, &self.inner.faces, &names).await?;
        snapshot.declared = declared;
        drop(db);
        self.run_blocking(move |times| snapshot.views(&names, times, now)).await
    }

    /// Lists the resources that are used: units of them are or were granted, actions wait for them, or active definitions
    /// declare them.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn used_resources(&self) -> Result<BTreeSet<String>, EngineError> {
        let mut db = self.store().reader().await?;
        let names = resources::list_names(&mut db).await?;
        let ResourceSnapshot { states, waiters, .. } =
            ResourceSnapshot::read(&mut db, &self.inner.faces, &names).await?;
        let granted = states.into_iter().filter(|state| state.granted_at.is_some() || state.in_use > 0);
        let claims = waiters.into_iter().flat_map(|waiter| waiter.claims);
        let used = granted.map(|state| state.name).chain(claims.flat_map(|claim| claim.any_of));
        Ok(used.chain(self.declared().into_keys()).collect())
    }

    /// Computes a forecast on a blocking thread: with many waiting actions it takes a while.
    async fn run_blocking<T: Send + 'static>(
        &self,
        compute: impl FnOnce(&TurnTimes) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let inner = Arc::clone(&self.inner);
        let computed = tokio::task::spawn_blocking(move || compute(&inner.turn_times));
        computed.await.map_err(|_| EngineError::Stopping)
    }

    /// Returns the resources that the active definitions declare by name, with their limits.
    fn declared(&self) -> BTreeMap<String, ResourceLimits> {
        let known = self.inner.definitions.current();
        let declared = known.machines.values().flat_map(|active| &active.definition.resources);
        let named = declared.filter(|(_, declared)| declared.any.is_none());
        named.map(|(name, declared)| (name.to_string(), declared_limits(declared))).collect()
    }

    /// Lists the holds of the active definitions: machine, state and resource.
    pub(super) fn held_by_states(&self) -> DefinedHolds {
        let known = self.inner.definitions.current();
        let mut all = DefinedHolds { activation: known.activation, machines: Vec::new(), holds: Vec::new() };
        for active in known.machines.values() {
            let machine = active.activated.machine.as_str();
            all.machines.push(machine.to_owned());
            for (state, definition) in &active.definition.states {
                let names = definition.hold.keys();
                all.holds.extend(names.map(|name| (machine.to_owned(), state.to_string(), name.to_string())));
            }
        }
        all
    }

    /// Overrides the limits of a resource; limits that are not given are those of its claims.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn set_limits(&self, name: &str, limits: LimitOverrides) -> Result<(), EngineError> {
        let mut tx = self.store().begin().await?;
        resources::override_limits(&mut tx, name, limits).await?;
        tx.commit().await?;
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
        Ok(())
    }

    /// Forecasts the actions of an instance that wait for resources.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn wait_forecasts(
        &self,
        db: &mut DbConnection,
        instance: InstanceId,
        actions: &[ActionSummary],
    ) -> Result<WaitForecast, EngineError> {
        let claims =
            actions.iter().filter(|action| action.is_queued()).flat_map(|action| action.claims.clone());
        let mut claims: Vec<Claim> = claims.collect();
        self.inner.faces.select(db, std::iter::once((instance, &mut claims))).await?;
        let names: BTreeSet<String> = claims.into_iter().flat_map(|claim| claim.any_of).collect();
        let names: Vec<String> = names.into_iter().collect();
        let suspended_by: Vec<&String> =
            actions.iter().filter_map(|action| action.incident.as_ref()).collect();
        if names.is_empty() && suspended_by.is_empty() {
            return Ok(WaitForecast::default());
        }
        let suspects: Vec<String> = suspended_by.iter().copied().chain(&names).cloned().collect();
        let incidents = incidents::list(db, IncidentFilter::OpenAt(&suspects)).await?;
        // An incident does not wait for itself, and where the resource itself answers, only the suspended actions wait.
        let blocks = |incident: &Incident| {
            incident.instance != instance
                && (!incident.is_silent || suspended_by.contains(&&incident.resource))
        };
        let incidents = incidents.into_iter().filter(blocks).map(to_resource_incident).collect();
        if names.is_empty() {
            return Ok(WaitForecast { incidents, ..WaitForecast::default() });
        }
        let snapshot = ResourceSnapshot::read(db, &self.inner.faces, &names).await?;
        let now = self.clock().now();
        let forecast = self.run_blocking(move |times| snapshot.wait_forecast(instance, times, now)).await?;
        Ok(WaitForecast { incidents, ..forecast })
    }
}
