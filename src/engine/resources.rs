//! Resources for people: what there is, who holds it, and when whoever waits may expect a turn.

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
use crate::store::actions::{ActionId, ActionSummary};
use crate::store::claims::{Claim, ResourceLimits};
use crate::store::instances::InstanceId;
use crate::store::queue::{self, LimitOverrides, ResourceState};
use crate::store::resources::{self, DefinedHolds, InstanceRef, ResourceHolder, ResourceWaiter};
use crate::store::{DbConnection, StoreError};

/// How many of those who wait are looked at.
const MAX_WAITERS: i64 = 10_000;

/// A resource, as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct ResourceView {
    /// Its name.
    pub name: String,
    /// How many units there are; nothing is no limit.
    pub capacity: Option<u32>,
    /// The time between two grants, in seconds.
    pub gap_s: f64,
    /// The time between a release and the next grant, in seconds.
    pub settle_s: f64,
    /// Those of the limits that an operator has set.
    pub overridden: Vec<&'static str>,
    /// How many units are in use.
    pub in_use: u32,
    /// Who holds them.
    pub holders: Vec<HolderView>,
    /// Who waits, in the order of their turns.
    pub queue: Vec<WaiterView>,
}

/// Who holds units.
#[derive(Debug, Clone, Serialize)]
pub struct HolderView {
    /// The machine of the instance.
    pub machine: String,
    /// Its name.
    pub name: String,
    /// For which action; nothing where its state holds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// How many units.
    pub units: u32,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// Who waits.
#[derive(Debug, Clone, Serialize)]
pub struct WaiterView {
    /// The machine of the instance.
    pub machine: String,
    /// Its name.
    pub name: String,
    /// For which action.
    pub action: String,
    /// How many come before it.
    pub ahead: usize,
    /// Since when it waits.
    pub since: DateTime<Utc>,
    /// When its turn may come; nothing where that depends on what nobody knows.
    pub expected_at: Option<DateTime<Utc>>,
}

/// Limits that an operator sets for a resource; what is not there is as whoever claims it says.
pub type NewLimits = LimitOverrides;

/// What an action that waits may expect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitForecast {
    /// How many instances hold what it needs, or come before it.
    pub ahead: usize,
    /// Who holds it.
    pub holders: Vec<String>,
    /// When its turn may come; nothing where that depends on what nobody knows.
    pub expected_at: Option<DateTime<Utc>>,
}

impl WaitForecast {
    /// What `action` may expect, one of the instance that this is of: only those that wait for resources expect anything.
    #[must_use]
    pub fn of(&self, action: &ActionSummary) -> Self {
        if action.is_queued() { self.clone() } else { Self::default() }
    }
}

/// Of who waits: how many come before it, and when its turn may come.
type ExpectedTurns = HashMap<ActionId, (usize, Option<DateTime<Utc>>)>;

/// All that is known of some resources, of nearly one moment.
struct ResourceSnapshot {
    states: Vec<ResourceState>,
    holders: Vec<ResourceHolder>,
    waiters: Vec<ResourceWaiter>,
    /// What definitions say of those that they declare.
    declared: BTreeMap<String, ResourceLimits>,
}

impl ResourceSnapshot {
    async fn read(db: &mut DbConnection, faces: &Faces, names: &[String]) -> Result<Self, StoreError> {
        let mut waiters = resources::list_waiters(db, names, MAX_WAITERS).await?;
        faces.select(db, waiters.iter_mut().map(|one| (one.owner.instance, &mut one.claims))).await?;
        // What they wait for besides says as well when their turn comes.
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

    /// The limits of each resource: as an operator set them, or as who waits for it or had it says.
    fn limits(&self) -> HashMap<&str, ResourceLimits> {
        let claims = self.waiters.iter().flat_map(|waiter| &waiter.claims);
        let said = claims.filter(|claim| claim.limits != ResourceLimits::default());
        let said = said.flat_map(|claim| claim.any_of.iter().map(|name| (name.as_str(), claim.limits)));
        let said: HashMap<&str, ResourceLimits> = said.collect();
        let limits = |state: &ResourceState| {
            let said = said.get(state.name.as_str()).copied().or(state.declared);
            let said = said.or_else(|| self.declared.get(&state.name).copied());
            state.overrides.apply_to(said.unwrap_or_default())
        };
        self.states.iter().map(|state| (state.name.as_str(), limits(state))).collect()
    }

    /// Where each who waits stands, and when its turn may come.
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
            .map(|one| (one.key, (one.ahead, at(one.at))))
            .collect()
    }

    /// What the action of `instance` that waits may expect.
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
        WaitForecast { ahead, holders: holders.into_iter().collect(), expected_at }
    }

    /// What people see of the resources called `names`.
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
    let (ahead, expected_at) = expected.get(&waiter.id).copied().unwrap_or_default();
    let ResourceWaiter { owner: InstanceRef { machine, name, .. }, action, since, .. } = waiter.clone();
    WaiterView { machine, name, action, ahead, since, expected_at }
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
    let usual = holder.action.as_ref().and_then(|_| times.average(&holder.resource));
    let so_far = (now - holder.since).num_microseconds().unwrap_or_default();
    let what = ResourceUnits { resource: holder.resource.as_str(), units: holder.units };
    WithDuration { item: what, duration: usual.map(|usual| usual.saturating_sub(so_far).max(0)) }
}

fn timed_waiter<'a>(
    waiter: &'a ResourceWaiter,
    times: &TurnTimes,
) -> WithDuration<ResourceRequest<ActionId, &'a str>> {
    let what = ResourceRequest { key: waiter.id, needs: needs(&waiter.claims), holds: waiter.has_holds };
    // What a state holds is held for longer than the action, and nobody knows how long.
    let is_known = waiter.claims.iter().all(|claim| claim.hold.is_none());
    let names = waiter.claims.iter().flat_map(|claim| &claim.any_of);
    let takes = if is_known { names.filter_map(|name| times.average(name)).max() } else { None };
    WithDuration { item: what, duration: takes }
}

impl Engine {
    /// Says of resources how they are: of the one called so, or of all. It takes a snapshot.
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
        let mut picture = ResourceSnapshot::read(&mut db, &self.inner.faces, &names).await?;
        picture.declared = declared;
        drop(db);
        self.run_blocking(move |times| picture.views(&names, times, now)).await
    }

    /// Looks ahead aside: where many wait it takes a while, and other requests are not to wait for that.
    async fn run_blocking<T: Send + 'static>(
        &self,
        look: impl FnOnce(&TurnTimes) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let inner = Arc::clone(&self.inner);
        let looked = tokio::task::spawn_blocking(move || look(&inner.turn_times));
        looked.await.map_err(|_| EngineError::Stopping)
    }

    /// The resources that the definitions in force declare by their names, and what they say of them.
    fn declared(&self) -> BTreeMap<String, ResourceLimits> {
        let known = self.inner.definitions.current();
        let declared = known.machines.values().flat_map(|in_force| &in_force.definition.resources);
        let named = declared.filter(|(_, declared)| declared.any.is_none());
        named.map(|(name, declared)| (name.to_string(), declared_limits(declared))).collect()
    }

    /// What states hold by the definitions in force, and since when these are: machine, state, and the name of what is held.
    pub(super) fn held_by_states(&self) -> DefinedHolds {
        let known = self.inner.definitions.current();
        let mut all = DefinedHolds { activation: known.activation, machines: Vec::new(), holds: Vec::new() };
        for in_force in known.machines.values() {
            let machine = in_force.activated.machine.as_str();
            all.machines.push(machine.to_owned());
            for (state, definition) in &in_force.definition.states {
                let names = definition.hold.keys();
                all.holds.extend(names.map(|name| (machine.to_owned(), state.to_string(), name.to_string())));
            }
        }
        all
    }

    /// Sets the limits that an operator wants of a resource; those that are not there are as whoever claims it says.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn set_limits(&self, name: &str, limits: NewLimits) -> Result<(), EngineError> {
        let mut tx = self.store().begin().await?;
        resources::override_limits(&mut tx, name, limits).await?;
        tx.commit().await?;
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
        Ok(())
    }

    /// Says what those of an instance's actions may expect that wait for resources.
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
        if names.is_empty() {
            return Ok(WaitForecast::default());
        }
        let picture =
            ResourceSnapshot::read(db, &self.inner.faces, &names.into_iter().collect::<Vec<_>>()).await?;
        let now = self.clock().now();
        self.run_blocking(move |times| picture.wait_forecast(instance, times, now)).await
    }
}
