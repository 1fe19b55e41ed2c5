//! A batch as parameters of the statement: one array for each column.

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
use super::batch::{ActionChanges, Batch, DecidedUpdate};
use super::resources::ResourceColumns;
use crate::machine::{ActionName, CounterName, Visit};

/// Pairs of an instance ID and another number.
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
    pub(super) since: Vec<DateTime<Utc>>,
    pub(super) deadlines: SparseColumn<DateTime<Utc>>,
    /// True if the change is invisible to followers.
    pub(super) silent: SparseColumn<bool>,
    /// Remaining time of suspended deadlines, in microseconds.
    pub(super) remaining: SparseColumn<i64>,
    /// Only if changed.
    pub(super) counters: SparseColumn<Json<&'a BTreeMap<CounterName, i64>>>,
    /// Only if changed.
    pub(super) data: SparseColumn<Json<&'a Map<String, Value>>>,
    /// Only if changed.
    pub(super) links: SparseColumn<Json<StoredLinks>>,
}

/// All instances with the size of their coupling; an instance that was decided by itself has a size of 1.
#[derive(Default)]
pub(super) struct CoupledColumns {
    pub(super) ids: Vec<i64>,
    pub(super) versions: Vec<i32>,
    pub(super) couplings: Vec<i64>,
    pub(super) sizes: Vec<i64>,
}

impl CoupledColumns {
    fn of(decided: &[DecidedUpdate]) -> Self {
        let coupling = |update: &DecidedUpdate| update.coupling.unwrap_or(update.id());
        let mut sizes: HashMap<InstanceId, i64> = HashMap::new();
        for update in decided {
            *sizes.entry(coupling(update)).or_default() += 1;
        }
        let mut coupled = Self::default();
        for update in decided {
            coupled.ids.push(update.id().0);
            coupled.versions.push(update.base.version.to_sql());
            coupled.couplings.push(coupling(update).0);
            coupled.sizes.push(sizes.get(&coupling(update)).copied().unwrap_or_default());
        }
        coupled
    }
}

/// Actions that begin, with their grants.
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
    pub(super) keeps_actions: Vec<bool>,
}

#[derive(Default)]
pub(super) struct SuspendedColumns<'a> {
    pub(super) ids: Vec<i64>,
    pub(super) actions: Vec<i64>,
    pub(super) troubles: Vec<&'a str>,
    pub(super) reasons: Vec<&'a str>,
    /// 1 if the run is not counted as an attempt.
    pub(super) uncounted: Vec<i32>,
    /// Whether only the compensation remains to be run.
    pub(super) compensations: Vec<bool>,
}

impl<'a> SuspendedColumns<'a> {
    fn push(&mut self, id: InstanceId, suspension: &'a Suspension) {
        let Suspension { action, trouble, reason, is_counted, is_compensation } = suspension;
        self.ids.push(id.0);
        self.actions.push(action.0);
        self.troubles.push(trouble);
        self.reasons.push(reason);
        self.uncounted.push(i32::from(!is_counted));
        self.compensations.push(*is_compensation);
    }
}

#[derive(Default)]
pub(super) struct ReenteredColumns<'a> {
    pub(super) ids: Vec<i64>,
    pub(super) visits: Vec<i64>,
    pub(super) states: Vec<&'a str>,
}

/// A batch as parameters of the statement: one array for each column.
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
    /// Empty if no links changed and every instance was decided by itself.
    pub(super) coupled: CoupledColumns,
    pub(super) resources: ResourceColumns<'a>,
}

impl<'a> BatchColumns<'a> {
    pub(super) fn of(batch: Batch<'a>) -> Self {
        let decided = batch.decided;
        let mut columns = Self { resources: ResourceColumns::of(batch), ..Self::default() };
        for update in decided {
            columns.push(update);
        }
        if decided.iter().any(|update| update.coupling.is_some() || update.linked.is_some()) {
            columns.coupled = CoupledColumns::of(decided);
        }
        columns
    }

    /// Whether instances only move: no actions, no entries without a move, no re-entries, no resources.
    pub(super) fn only_moves(&self) -> bool {
        let Self {
            saved,
            history: _,
            history_only,
            reentered,
            left,
            ended,
            started,
            suspended,
            invoked,
            coupled,
            resources,
        } = self;
        let others = [&left.ids, &ended.ids, &started.ids, &suspended.ids, &invoked.ids, &coupled.ids];
        let mut ids = [&history_only.ids, &reentered.ids].into_iter().chain(others);
        ids.all(Vec::is_empty) && saved.silent.as_slice().is_empty() && resources.is_empty()
    }

    /// Whether links changed, or instances were decided together.
    pub(super) fn is_linked(&self) -> bool {
        !self.coupled.ids.is_empty()
    }

    fn push(&mut self, update: &'a DecidedUpdate) {
        let DecidedUpdate { base, instance, left_visit, entries, reentered, actions, .. } = update;
        let (id, version) = (base.id, base.version.to_sql());
        if let Some(instance) = instance {
            let saved = &mut self.saved;
            saved.ids.push(id.0);
            saved.versions.push(version);
            saved.states.push(instance.state.as_str());
            saved.visits.push(instance.visit.0);
            saved.since.push(instance.since);
            saved.deadlines.push(instance.deadline_at);
            saved.silent.push(update.is_silent.then_some(true));
            let to_us = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
            saved.remaining.push(instance.remaining.map(to_us));
            let before = &base.instance;
            saved.counters.push((instance.counters != before.counters).then_some(Json(&instance.counters)));
            saved.data.push((instance.data != before.data).then_some(Json(&instance.data)));
            let linked = update.linked.as_ref();
            saved.links.push(linked.map(|linked| Json(StoredLinks::new(&instance.links, linked))));
            if let Some(actions) = actions {
                self.invoked.extend(id, instance.visit, actions);
            }
        } else {
            self.history_only.ids.push(id.0);
            self.history_only.versions.push(version);
        }
        for entry in entries {
            self.history.push(entry);
        }
        if let Some((state, visit)) = reentered {
            self.reentered.ids.push(id.0);
            self.reentered.visits.push(visit.0);
            self.reentered.states.push(state.as_str());
        }
        if let Some(visit) = left_visit {
            self.left.push(id, visit.0);
        }
        if let Some(actions) = actions {
            self.push_actions(id, actions);
        }
    }

    fn push_actions(&mut self, id: InstanceId, actions: &'a ActionChanges) {
        let ActionChanges { ended, started, suspended, .. } = actions;
        for action in ended {
            self.ended.push(id, action.0);
        }
        if let Some((action, Grant { units, .. })) = started {
            self.started.ids.push(id.0);
            self.started.others.push(action.0);
            // The units of holds belong to the state, not to the action.
            let of_action: Vec<&GrantedUnits> = units.iter().filter(|units| units.hold.is_none()).collect();
            self.started.granted.push((!of_action.is_empty()).then_some(Json(of_action)));
        }
        if let Some(suspension) = suspended {
            self.suspended.push(id, suspension);
        }
    }
}

impl<'a> InvokedColumns<'a> {
    fn extend(&mut self, id: InstanceId, visit: Visit, actions: &'a ActionChanges) {
        for (seq, new) in (actions.last_seq.saturating_add(1)..).zip(&actions.invoked) {
            self.push(id, visit, seq, new);
            self.keeps_actions.push(actions.keeps_actions);
        }
    }

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
