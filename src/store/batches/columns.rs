//! A group as the statement takes it: an array for each column.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::Json;

use super::super::actions::{NewAction, Suspension};
use super::super::claims::{Claim, ClaimColumns, Grant, GrantedUnits};
use super::super::history::HistoryColumns;
use super::super::instances::InstanceId;
use super::super::links::StoredLinks;
use super::super::sparse::SparseColumn;
use super::batch::{Batch, DecidedUpdate};
use super::resources::ResourceColumns;
use crate::machine::{ActionName, CounterName, Visit};

/// Pairs of an instance and something of it.
#[derive(Default)]
pub(super) struct InstancePairs {
    pub(super) ids: Vec<i64>,
    pub(super) others: Vec<i64>,
}

impl InstancePairs {
    fn push(&mut self, id: InstanceId, other: i64) {
        self.ids.push(id.0);
        self.others.push(other);
    }
}

#[derive(Default)]
pub(super) struct SavedColumns<'a> {
    pub(super) ids: Vec<i64>,
    pub(super) versions: Vec<i32>,
    pub(super) states: Vec<&'a str>,
    pub(super) visits: Vec<i64>,
    pub(super) entered_at: Vec<DateTime<Utc>>,
    pub(super) deadlines: SparseColumn<DateTime<Utc>>,
    /// When they came from another state, where that was before they entered the present one.
    pub(super) since: SparseColumn<DateTime<Utc>>,
    /// True where nobody sees a difference.
    pub(super) silent: SparseColumn<bool>,
    /// What is left of time limits that stand still, in microseconds.
    pub(super) remaining: SparseColumn<i64>,
    /// Where they are not what they were.
    pub(super) counters: SparseColumn<Json<&'a BTreeMap<CounterName, i64>>>,
    /// Where it is not what it was.
    pub(super) data: SparseColumn<Json<&'a Map<String, Value>>>,
    /// Where they are not what they were.
    pub(super) links: SparseColumn<Json<StoredLinks>>,
}

/// All instances, with how many belong together: one that was decided by itself is one.
#[derive(Default)]
pub(super) struct CoupledColumns {
    pub(super) ids: Vec<i64>,
    pub(super) versions: Vec<i32>,
    pub(super) couplings: Vec<i64>,
    pub(super) sizes: Vec<i64>,
}

impl CoupledColumns {
    fn of(decided: &[DecidedUpdate]) -> Self {
        let coupling = |one: &DecidedUpdate| one.coupling.unwrap_or(one.id());
        let mut sizes: HashMap<InstanceId, i64> = HashMap::new();
        for one in decided {
            *sizes.entry(coupling(one)).or_default() += 1;
        }
        let mut coupled = Self::default();
        for one in decided {
            coupled.ids.push(one.id().0);
            coupled.versions.push(one.base.version.to_sql());
            coupled.couplings.push(coupling(one).0);
            coupled.sizes.push(sizes.get(&coupling(one)).copied().unwrap_or_default());
        }
        coupled
    }
}

/// Actions that begin, with what they hold.
#[derive(Default)]
pub(super) struct StartedColumns<'a> {
    pub(super) ids: Vec<i64>,
    pub(super) others: Vec<i64>,
    pub(super) granted: SparseColumn<Json<Vec<&'a GrantedUnits>>>,
}

#[derive(Default)]
pub(super) struct HistoryOnlyColumns {
    pub(super) ids: Vec<i64>,
    pub(super) versions: Vec<i32>,
}

#[derive(Default)]
pub(super) struct InvokedColumns<'a> {
    pub(super) ids: Vec<i64>,
    pub(super) visits: Vec<i64>,
    pub(super) seqs: Vec<i32>,
    pub(super) actions: Vec<&'a str>,
    pub(super) settings: Vec<Json<&'a Map<String, Value>>>,
    pub(super) limits: Vec<Option<i64>>,
    pub(super) places: Vec<Option<&'a str>>,
    pub(super) claims: SparseColumn<Json<&'a [Claim]>>,
    pub(super) queues: SparseColumn<Cow<'a, str>>,
    pub(super) queue_at: SparseColumn<DateTime<Utc>>,
    pub(super) compensations: Vec<Option<&'a str>>,
    pub(super) kept: Vec<bool>,
}

#[derive(Default)]
pub(super) struct SuspendedColumns<'a> {
    pub(super) ids: Vec<i64>,
    pub(super) actions: Vec<i64>,
    pub(super) troubles: Vec<&'a str>,
    pub(super) reasons: Vec<&'a str>,
    /// 1 where the run does not count among the attempts.
    pub(super) uncounted: Vec<i32>,
    /// Whether what is left to do is the compensation.
    pub(super) rescues: Vec<bool>,
}

impl<'a> SuspendedColumns<'a> {
    fn push(&mut self, id: InstanceId, suspension: &'a Suspension) {
        let Suspension { action, trouble, reason, is_counted, is_compensation: is_rescue } = suspension;
        self.ids.push(id.0);
        self.actions.push(action.0);
        self.troubles.push(trouble);
        self.reasons.push(reason);
        self.uncounted.push(i32::from(!is_counted));
        self.rescues.push(*is_rescue);
    }
}

#[derive(Default)]
pub(super) struct ReenteredColumns<'a> {
    pub(super) ids: Vec<i64>,
    pub(super) visits: Vec<i64>,
    pub(super) states: Vec<&'a str>,
}

/// A group as the statement takes it: an array for each column.
#[derive(Default)]
pub(super) struct BatchColumns<'a> {
    pub(super) saved: SavedColumns<'a>,
    pub(super) history_only: HistoryOnlyColumns,
    pub(super) history: HistoryColumns<'a>,
    pub(super) reentered: ReenteredColumns<'a>,
    pub(super) left: InstancePairs,
    pub(super) ended: InstancePairs,
    pub(super) started: StartedColumns<'a>,
    pub(super) suspended: SuspendedColumns<'a>,
    pub(super) invoked: InvokedColumns<'a>,
    /// Nothing where none is linked anew and all were decided each by itself.
    pub(super) coupled: CoupledColumns,
    pub(super) resources: ResourceColumns<'a>,
}

impl<'a> BatchColumns<'a> {
    pub(super) fn of(group: Batch<'a>) -> Self {
        let decided = group.decided;
        let mut columns = Self { resources: ResourceColumns::of(group), ..Self::default() };
        for one in decided {
            columns.push(one);
        }
        if decided.iter().any(|one| one.coupling.is_some() || one.linked.is_some()) {
            columns.coupled = CoupledColumns::of(decided);
        }
        columns
    }

    /// Whether instances move and that is all: no action, nothing that only gets history, none that keeps its actions.
    pub(super) fn only_moves(&self) -> bool {
        let Self {
            saved,
            history: _,
            history_only: held,
            reentered: kept,
            left,
            ended,
            started,
            suspended,
            invoked,
            coupled,
            resources,
        } = self;
        let others = [&left.ids, &ended.ids, &started.ids, &suspended.ids, &invoked.ids, &coupled.ids];
        let mut ids = [&held.ids, &kept.ids].into_iter().chain(others);
        ids.all(Vec::is_empty) && saved.silent.as_slice().is_empty() && resources.is_empty()
    }

    /// Whether some are linked anew, or were decided together.
    pub(super) fn is_linked(&self) -> bool {
        !self.coupled.ids.is_empty()
    }

    fn push(&mut self, one: &'a DecidedUpdate) {
        let DecidedUpdate {
            base: seen,
            instance,
            left_visit: left,
            entries,
            reentered: kept,
            ended,
            started,
            suspended,
            invoked,
            ..
        } = one;
        let (id, version) = (seen.id, seen.version.to_sql());
        if let Some(instance) = instance {
            let saved = &mut self.saved;
            saved.ids.push(id.0);
            saved.versions.push(version);
            saved.states.push(instance.state.as_str());
            saved.visits.push(instance.visit.0);
            saved.entered_at.push(instance.entered_at);
            saved.deadlines.push(instance.deadline_at);
            saved.since.push((instance.since != instance.entered_at).then_some(instance.since));
            saved.silent.push(one.is_silent.then_some(true));
            let left_us = |left: Duration| i64::try_from(left.as_micros()).unwrap_or(i64::MAX);
            saved.remaining.push(instance.remaining.map(left_us));
            let before = &seen.instance;
            saved.counters.push((instance.counters != before.counters).then_some(Json(&instance.counters)));
            saved.data.push((instance.data != before.data).then_some(Json(&instance.data)));
            let linked = one.linked.as_ref();
            saved.links.push(linked.map(|linked| Json(StoredLinks::new(&instance.links, linked))));
            for (seq, new) in (1..).zip(invoked) {
                self.invoked.push(id, instance.visit, seq, new);
                self.invoked.kept.push(one.keeps_actions);
            }
        } else {
            self.history_only.ids.push(id.0);
            self.history_only.versions.push(version);
        }
        for entry in entries {
            self.history.push(entry);
        }
        if let Some((state, visit)) = kept {
            self.reentered.ids.push(id.0);
            self.reentered.visits.push(visit.0);
            self.reentered.states.push(state.as_str());
        }
        if let Some(visit) = left {
            self.left.push(id, visit.0);
        }
        for action in ended {
            self.ended.push(id, action.0);
        }
        if let Some((action, Grant { units, .. })) = started {
            self.started.ids.push(id.0);
            self.started.others.push(action.0);
            // What the state holds is held on when the action is over.
            let of_action: Vec<&GrantedUnits> = units.iter().filter(|units| units.hold.is_none()).collect();
            self.started.granted.push((!of_action.is_empty()).then_some(Json(of_action)));
        }
        if let Some(suspension) = suspended {
            self.suspended.push(id, suspension);
        }
    }
}

impl<'a> InvokedColumns<'a> {
    fn push(&mut self, id: InstanceId, visit: Visit, seq: i32, new: &'a NewAction) {
        self.ids.push(id.0);
        self.visits.push(visit.0);
        self.seqs.push(seq);
        self.actions.push(new.invoke.action.as_str());
        self.settings.push(Json(&new.invoke.with));
        self.limits.push(new.limit_ms());
        let ClaimColumns { claims, queue, place } = ClaimColumns::of(&new.claims);
        self.places.push(place);
        self.claims.push(claims.map(Json));
        self.queues.push(queue);
        self.queue_at.push(new.queue_at);
        self.compensations.push(new.compensation.as_ref().map(ActionName::as_str));
    }
}
