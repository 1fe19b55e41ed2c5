//! Resources for people: limits, holders, and queues with expected times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::claims::declared_limits;
use super::error::EngineError;
use super::handle::Engine;
use super::resource_snapshot::{BlockingIncident, ResourceSnapshot, WaitForecast};
use super::resource_view::{QueuedActionView, ResourceView, queued_actions, views};
use super::turn_times::TurnTimes;
use crate::store::DbConnection;
use crate::store::actions::ActionSummary;
use crate::store::claims::{Claim, ResourceLimits};
use crate::store::incidents::{self, Incident, IncidentFilter};
use crate::store::instances::InstanceId;
use crate::store::resources::{self, DefinedHolds};

impl Engine {
    /// Lists the resources, or the one called `name`, in a snapshot.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn resources(&self, name: Option<&str>) -> Result<Vec<ResourceView>, EngineError> {
        let now = self.clock().now();
        let (snapshot, names) = self.read_resources(name).await?;
        self.run_blocking(move |times| views(&snapshot, &names, times, now)).await
    }

    /// Lists the resources and the actions that wait for them, in one snapshot.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn resources_and_queue(
        &self,
    ) -> Result<(Vec<ResourceView>, Vec<QueuedActionView>), EngineError> {
        let now = self.clock().now();
        let (snapshot, names) = self.read_resources(None).await?;
        self.run_blocking(move |times| {
            (views(&snapshot, &names, times, now), queued_actions(&snapshot, times, now))
        })
        .await
    }

    /// Reads the resources, or the one called `name`; returns their names, too.
    async fn read_resources(
        &self,
        name: Option<&str>,
    ) -> Result<(ResourceSnapshot, Vec<String>), EngineError> {
        let mut db = self.store().snapshot().await?;
        let declared = self.declared();
        let mut all: BTreeSet<String> = resources::list_names(&mut db).await?.into_iter().collect();
        all.extend(declared.keys().cloned());
        let names: Vec<String> =
            all.into_iter().filter(|known| name.is_none_or(|name| name == known)).collect();
        let mut snapshot = ResourceSnapshot::read(&mut db, &self.inner.faces, &names).await?;
        snapshot.declared = declared;
        Ok((snapshot, names))
    }

    /// Lists the actions that wait for resources, in the order of their queues, with their expected starts.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn queued_actions(&self) -> Result<Vec<QueuedActionView>, EngineError> {
        let now = self.clock().now();
        let mut db = self.store().snapshot().await?;
        let names = resources::list_names(&mut db).await?;
        let mut snapshot = ResourceSnapshot::read(&mut db, &self.inner.faces, &names).await?;
        snapshot.declared = self.declared();
        drop(db);
        self.run_blocking(move |times| queued_actions(&snapshot, times, now)).await
    }

    /// Lists the resources that are used: units of them are or were granted, actions wait for them, others are within them, or
    /// active definitions declare them.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn used_resources(&self) -> Result<BTreeSet<String>, EngineError> {
        let mut db = self.store().reader().await?;
        let names = resources::list_names(&mut db).await?;
        let ResourceSnapshot { resources, waiters, .. } =
            ResourceSnapshot::read(&mut db, &self.inner.faces, &names).await?;
        let granted = resources.states().filter(|state| state.granted_at.is_some() || state.in_use > 0);
        let within = resources.states().filter_map(|state| state.settings.within.clone());
        let claims = waiters.into_iter().flat_map(|waiter| waiter.claims);
        let used = granted.map(|state| state.name.clone()).chain(within);
        let used = used.chain(claims.flat_map(|claim| claim.any_of));
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
    pub(super) fn declared(&self) -> BTreeMap<String, ResourceLimits> {
        let known = self.inner.definitions.current();
        let declared = known.machines.values().flat_map(|active| &active.definition.resources);
        let named = declared.filter(|(_, declared)| declared.any.is_none());
        let mut all = BTreeMap::new();
        for (name, declared) in named {
            // Of several definitions those with limits agree on them.
            let limits = all.entry(name.to_string()).or_insert_with(|| declared_limits(declared));
            if declared.is_limited() {
                *limits = declared_limits(declared);
            }
        }
        all
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
                && (!incident.is_silent || suspended_by.iter().any(|at| incident.covered.contains(at)))
        };
        let incidents = incidents.into_iter().filter(blocks).map(BlockingIncident::from).collect();
        if names.is_empty() {
            return Ok(WaitForecast { incidents, ..WaitForecast::default() });
        }
        let snapshot = ResourceSnapshot::read(db, &self.inner.faces, &names).await?;
        let now = self.clock().now();
        let forecast = self.run_blocking(move |times| snapshot.wait_forecast(instance, times, now)).await?;
        Ok(WaitForecast { incidents, ..forecast })
    }
}
