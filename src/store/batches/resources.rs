//! What a group does with resources, as the statement takes it.

use std::collections::BTreeMap;

use sqlx::types::Json;

use super::super::claims::{Grant, GrantBasis, GrantedUnits, ResourceLimits};
use super::super::sparse::SparseColumn;
use super::batch::Batch;

/// A name that no resource has: who claims it gets nothing.
const NO_RESOURCE: &str = "";

/// Pairs of a number and a name.
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

/// What becomes of resources: their rows in the order of their names, who takes units of them, and what states hold.
#[derive(Default)]
pub(super) struct ResourceColumns<'a> {
    pub(super) names: Vec<&'a str>,
    /// The revision that units are taken from; none where units are only given back.
    pub(super) revisions: SparseColumn<i64>,
    pub(super) capacities: SparseColumn<i32>,
    pub(super) gaps: SparseColumn<i64>,
    pub(super) settles: SparseColumn<i64>,
    pub(super) released: Vec<bool>,
    /// The instances whose actions begin only where they get their units.
    pub(super) claimants: NamedPairs<'a>,
    /// The holds that begin, by their names, with what was chosen and how much of it.
    pub(super) holds: NamedPairs<'a>,
    pub(super) chosen_for_holds: Vec<&'a str>,
    pub(super) units_of_holds: Vec<i32>,
    /// The holds that end.
    pub(super) dropped: NamedPairs<'a>,
    /// The waiting actions that units are granted on to, and what they get.
    pub(super) passed_on: Vec<i64>,
    pub(super) grants: Vec<Json<&'a [GrantedUnits]>>,
    /// From which resources these are taken.
    pub(super) waiting: NamedPairs<'a>,
    /// Whether an action holds on to what another one held.
    holds_on: bool,
}

/// What becomes of one resource.
#[derive(Default)]
struct ResourceChange {
    taken: Option<(i64, ResourceLimits)>,
    is_released: bool,
}

impl<'a> ResourceColumns<'a> {
    pub(super) fn of(group: Batch<'a>) -> Self {
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
        for one in group.decided {
            if let Some((_, grant)) = &one.started {
                take(&grant.based_on);
            }
        }
        for one in group.passed_on_grants {
            take(&one.grant.based_on);
        }
        // Of what was decided on at different times the latest counts; to all else it is as if somebody else had come first.
        let present = |taken: &'a GrantBasis| {
            let latest = changes.get(taken.resource.as_str()).and_then(|change| change.taken);
            if latest.is_some_and(|(revision, _)| revision == taken.revision) {
                taken.resource.as_str()
            } else {
                NO_RESOURCE
            }
        };
        for one in group.decided {
            if let Some((_, grant)) = &one.started {
                all.start(one.id().0, grant, present);
            }
        }
        for one in group.passed_on_grants {
            all.passed_on.push(one.action.0);
            all.grants.push(Json(&one.grant.units));
            for taken in &one.grant.based_on {
                all.waiting.push(one.action.0, present(taken));
            }
        }
        for one in group.decided {
            for GrantedUnits { resource, .. } in &one.released {
                changes.entry(resource).or_default().is_released = true;
            }
        }
        for (instance, units) in group.dropped_holds {
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

    /// Whether nothing is done with any resource.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.holds.ids.is_empty() && self.dropped.ids.is_empty() && !self.holds_on
    }

    fn start(&mut self, instance: i64, grant: &'a Grant, present: impl Fn(&'a GrantBasis) -> &'a str) {
        for taken in &grant.based_on {
            self.claimants.push(instance, present(taken));
        }
        for GrantedUnits { resource, units, hold } in &grant.units {
            match hold {
                Some(name) => {
                    self.holds.push(instance, name);
                    self.chosen_for_holds.push(resource);
                    self.units_of_holds.push(i32::try_from(*units).unwrap_or(i32::MAX));
                }
                None => self.holds_on = true,
            }
        }
    }
}
