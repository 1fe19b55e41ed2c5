//! Resources as the API shows them.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::resource_requests::loaded_resources;
use super::resource_snapshot::{ExpectedTurns, ResourceSnapshot};
use super::turn_times::TurnTimes;
use crate::explain::ResourceIncident;
use crate::store::claims::ResourceLimits;
use crate::store::queue::{LimitOverrides, ResourceState};
use crate::store::resources::{InstanceRef, ResourceHolder, ResourceWaiter};

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
    /// How long released units that came with load count as in use, in seconds.
    pub window_s: f64,
    /// The load that may be in use, in ampere; nothing where there is no budget.
    pub budget_a: Option<f64>,
    /// The least time for which a cycle keeps off what it switches, in seconds.
    pub min_off_s: f64,
    /// The resource that contains it.
    pub within: Option<String>,
    /// What it is, for people.
    pub about: Option<String>,
    /// Which of capacity, gap and settle time an operator has set.
    pub overridden: Vec<&'static str>,
    /// The number of units in use.
    pub in_use: u32,
    /// The load in use, in ampere.
    pub load_a: f64,
    /// The units that were released and still count as in use.
    pub cooling: CoolingView,
    /// The open incident there, or at what contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<ResourceIncident>,
    /// The holders.
    pub holders: Vec<HolderView>,
    /// The waiting actions, in order.
    pub queue: Vec<WaiterView>,
}

/// Released units that count as in use.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CoolingView {
    /// The number of units.
    pub units: u32,
    /// Their load, in ampere.
    pub load_a: f64,
    /// When the first of them are free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<DateTime<Utc>>,
    /// When all of them are free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
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
    /// The open incident whose end it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<ResourceIncident>,
}

/// A waiting action, for a list of all.
#[derive(Debug, Clone, Serialize)]
pub struct QueuedActionView {
    /// The action.
    #[serde(flatten)]
    pub waiter: WaiterView,
    /// The resources that it claims.
    pub resources: Vec<String>,
}

/// Lists the waiting actions, in the order of their queues, without those that can start at once.
pub(super) fn queued_actions(
    snapshot: &ResourceSnapshot,
    times: &TurnTimes,
    now: DateTime<Utc>,
) -> Vec<QueuedActionView> {
    let expected = snapshot.expected_turns(snapshot.waiters.len(), times, now);
    let view = |waiter: &ResourceWaiter| QueuedActionView {
        waiter: waiter_view(snapshot, waiter, &expected),
        resources: waiter.claims.iter().map(|claim| claim.queue_name().into_owned()).collect(),
    };
    let waits = |waiter: &&ResourceWaiter| {
        let (_, expected_at) = expected.get(&waiter.id).copied().unwrap_or_default();
        expected_at.is_none_or(|at| at > now)
    };
    snapshot.waiters.iter().filter(waits).map(view).collect()
}

/// Builds the views of the resources `names`.
pub(super) fn views(
    snapshot: &ResourceSnapshot,
    names: &[String],
    times: &TurnTimes,
    now: DateTime<Utc>,
) -> Vec<ResourceView> {
    let limits = snapshot.limits();
    let expected = snapshot.expected_turns(snapshot.waiters.len(), times, now);
    let mut holders: HashMap<&str, Vec<HolderView>> = HashMap::new();
    for holder in &snapshot.holders {
        holders.entry(&holder.resource).or_default().push(holder_view(holder));
    }
    let mut queues: HashMap<&str, Vec<WaiterView>> = HashMap::new();
    for waiter in &snapshot.waiters {
        let own = waiter.claims.iter().flat_map(|claim| &claim.any_of).map(String::as_str);
        let containers =
            loaded_resources(&waiter.claims).filter_map(|name| snapshot.resources.containers(name));
        let containers = containers.flatten().map(|state| state.name.as_str());
        for name in own.chain(containers).collect::<BTreeSet<&str>>() {
            queues.entry(name).or_default().push(waiter_view(snapshot, waiter, &expected));
        }
    }
    let names: BTreeSet<&String> = names.iter().collect();
    let wanted = snapshot.resources.states().filter(|state| names.contains(&state.name));
    let view = |state: &ResourceState| {
        let name = state.name.as_str();
        let settings = &state.settings;
        let ResourceLimits { capacity, gap_ms, settle_ms } = limits.get(name).copied().unwrap_or_default();
        let LimitOverrides { capacity: set_capacity, gap_ms: set_gap, settle_ms: set_settle } =
            settings.overrides;
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
            window_s: seconds(settings.window_ms),
            budget_a: settings.budget_ma.map(ampere),
            min_off_s: seconds(settings.min_off_ms),
            within: settings.within.clone(),
            about: settings.about.clone(),
            overridden: overrides.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect(),
            in_use: state.in_use,
            load_a: ampere(state.load_ma),
            cooling: cooling_view(state, now),
            incident: snapshot.incident_at(name).cloned(),
            holders: holders.remove(name).unwrap_or_default(),
            queue: queues.remove(name).unwrap_or_default(),
        }
    };
    wanted.map(view).collect()
}

fn cooling_view(state: &ResourceState, now: DateTime<Utc>) -> CoolingView {
    let window = TimeDelta::milliseconds(i64::try_from(state.settings.window_ms).unwrap_or(i64::MAX));
    let mut view = CoolingView::default();
    let mut load_ma = 0_u32;
    for cooling in &state.cooling {
        let until = cooling.released_at.checked_add_signed(window).unwrap_or(DateTime::<Utc>::MAX_UTC);
        if until > now {
            view.units = view.units.saturating_add(cooling.units);
            load_ma = load_ma.saturating_add(cooling.load_ma);
            view.next_at = Some(view.next_at.map_or(until, |next| next.min(until)));
            view.until = view.until.max(Some(until));
        }
    }
    view.load_a = ampere(load_ma);
    view
}

fn waiter_view(snapshot: &ResourceSnapshot, waiter: &ResourceWaiter, expected: &ExpectedTurns) -> WaiterView {
    let (requests_ahead, expected_at) = expected.get(&waiter.id).copied().unwrap_or_default();
    let ResourceWaiter { owner: InstanceRef { machine, name, .. }, action, since, .. } = waiter.clone();
    let incident = snapshot.incident_of(waiter).cloned();
    WaiterView { machine, name, action, requests_ahead, since, expected_at, incident }
}

fn holder_view(holder: &ResourceHolder) -> HolderView {
    let ResourceHolder { owner: InstanceRef { machine, name, .. }, action, units, since, .. } =
        holder.clone();
    HolderView { machine, name, action, units, since }
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

fn ampere(ma: u32) -> f64 {
    f64::from(ma) / 1000.0
}
