//! Grants and releases of a batch as parameters of the statement.

use std::collections::BTreeMap;

use sqlx::types::Json;

use super::super::claims::{Grant, GrantBasis, GrantedUnits, ResourceLimits};
use super::super::sparse::SparseColumn;
use super::batch::Batch;

/// A name that no resource has: claims on it are never granted.
const NO_RESOURCE: &str = "";

/// Pairs of an ID and a name.
#[derive(Default)]
pub(super) struct NamedPairs<'a> {
    pub(super) ids: Vec<i64>,
    pub(super) names: Vec<&'a str>,
}

impl<'a> NamedPairs<'a> {
    fn push(&mut self, id: i64, name: &'a str) {
        self.ids.push(id);
        self.names.push(name);
    }
}

/// Changes of resources in the order of their names, the claimants of units, and holds of states.
#[derive(Default)]
pub(super) struct ResourceColumns<'a> {
    pub(super) names: Vec<&'a str>,
    /// The revision that grants are based on; `None` if units are only released.
    pub(super) revisions: SparseColumn<i64>,
    pub(super) capacities: SparseColumn<i32>,
    pub(super) gaps: SparseColumn<i64>,
    pub(super) settles: SparseColumn<i64>,
    pub(super) released: Vec<bool>,
    /// The instances whose actions begin only if their grants still hold, with the resource.
    pub(super) claimants: NamedPairs<'a>,
    /// The holds that begin, by name, with the chosen resource and the units.
    pub(super) holds: NamedPairs<'a>,
    pub(super) hold_resources: Vec<&'a str>,
    pub(super) hold_units: Vec<i32>,
    /// The holds that end.
    pub(super) dropped: NamedPairs<'a>,
    /// The waiting actions that units are passed on to, with the units.
    pub(super) passed_on: Vec<i64>,
    pub(super) grants: Vec<Json<&'a [GrantedUnits]>>,
    /// The resources of these units, by action.
    pub(super) waiting: NamedPairs<'a>,
    /// The released units that cool, by instance, with their load.
    pub(super) cooled: NamedPairs<'a>,
    pub(super) cooled_units: Vec<i32>,
    pub(super) cooled_loads: Vec<i64>,
    /// Whether an action takes over units of another one.
    takes_over: bool,
}

/// The change of one resource.
#[derive(Default)]
struct ResourceChange {
    taken: Option<(i64, ResourceLimits)>,
    is_released: bool,
}

impl<'a> ResourceColumns<'a> {
    pub(super) fn of(batch: Batch<'a>) -> Self {
        let mut all = Self::default();
        let mut changes: BTreeMap<&str, ResourceChange> = BTreeMap::new();
        let mut take = |taken_from: &'a [GrantBasis]| {
            for GrantBasis { resource, revision, limits } in taken_from {
                let taken = &mut changes.entry(resource).or_default().taken;
                if taken.is_none_or(|(earlier, _)| earlier < *revision) {
                    *taken = Some((*revision, *limits));
                }
            }
        };
        let actions =
            || batch.decided.iter().filter_map(|update| Some((update.id(), update.actions.as_ref()?)));
        let started = || actions().filter_map(|(id, actions)| Some((id, &actions.started.as_ref()?.1)));
        for (_, grant) in started() {
            take(&grant.based_on);
        }
        for passed_on in batch.passed_on_grants {
            take(&passed_on.grant.based_on);
        }
        // If grants were decided by different revisions, the latest revision counts; the other grants count
        // as overtaken, as if another process had written first.
        let valid_name = |taken: &'a GrantBasis| {
            let latest = changes.get(taken.resource.as_str()).and_then(|change| change.taken);
            if latest.is_some_and(|(revision, _)| revision == taken.revision) {
                taken.resource.as_str()
            } else {
                NO_RESOURCE
            }
        };
        for (id, grant) in started() {
            all.start(id.0, grant, valid_name);
        }
        for passed_on in batch.passed_on_grants {
            all.passed_on.push(passed_on.action.0);
            all.grants.push(Json(&passed_on.grant.units));
            for taken in &passed_on.grant.based_on {
                all.waiting.push(passed_on.action.0, valid_name(taken));
            }
        }
        for (id, actions) in actions() {
            for GrantedUnits { resource, units, load, hold: _ } in &actions.released {
                changes.entry(resource).or_default().is_released = true;
                if let Some(load) = load {
                    all.cooled.push(id.0, resource);
                    all.cooled_units.push(i32::try_from(*units).unwrap_or(i32::MAX));
                    all.cooled_loads.push(load.ma.into());
                }
            }
        }
        for (instance, units) in batch.dropped_holds {
            all.dropped.push(instance.0, units.hold.as_deref().unwrap_or_default());
            changes.entry(&units.resource).or_default().is_released = true;
        }
        for (name, ResourceChange { taken, is_released }) in changes {
            all.names.push(name);
            all.revisions.push(taken.map(|(revision, _)| revision));
            let limits = taken.map(|(_, limits)| limits);
            let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
            let capacity = limits.and_then(|limits| limits.capacity);
            all.capacities.push(capacity.map(|units| i32::try_from(units).unwrap_or(i32::MAX)));
            all.gaps.push(limits.map(|limits| ms(limits.gap_ms)));
            all.settles.push(limits.map(|limits| ms(limits.settle_ms)));
            all.released.push(is_released);
        }
        all
    }

    /// Whether no resource is involved.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.holds.ids.is_empty() && self.dropped.ids.is_empty() && !self.takes_over
    }

    fn start(&mut self, instance: i64, grant: &'a Grant, valid_name: impl Fn(&'a GrantBasis) -> &'a str) {
        for taken in &grant.based_on {
            self.claimants.push(instance, valid_name(taken));
        }
        for GrantedUnits { resource, units, hold, load: _ } in &grant.units {
            match hold {
                Some(name) => {
                    self.holds.push(instance, name);
                    self.hold_resources.push(resource);
                    self.hold_units.push(i32::try_from(*units).unwrap_or(i32::MAX));
                }
                None => self.takes_over = true,
            }
        }
    }
}
