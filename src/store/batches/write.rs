//! Writing a batch by one statement.
//!
//! The SQL is in `write.sql`, in sections. One statement for all batches would lock all tables and open all
//! their indexes for each single event, which costs as much as everything else. So there are four statements,
//! each of which touches only the tables that a batch needs. sqlx cannot compose statements from files, and
//! `query_file!` cannot read files that are generated at build time: the build script generates a macro
//! around `query_as!` for each statement, which is checked at compile time like all other SQL.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::super::StoreError;
use super::super::actions::{ActionId, WorkerId};
use super::super::changes::ChangeOrigin;
use super::super::definitions::ActivationId;
use super::super::instances::InstanceId;
use super::batch::{Batch, BatchResult, DecidedUpdate};
use super::columns::BatchColumns;
use super::versioned::RowVersion;

// The macros `write_moves`, `write_actions`, `write_resources` and `write_links`.
include!(concat!(env!("OUT_DIR"), "/batch_statements.rs"));

/// The result row of the statement.
struct BatchResultRow {
    /// The instances whose part applied; nothing where all did.
    ids: Option<Vec<i64>>,
    version: i64,
    stopped: Vec<i64>,
    is_current: bool,
}

/// Writes what the process `origin` decided at `now` under `activation`, with its `worker` for the actions that begin.
///
/// Each instance's part is written completely, or not at all if its row was rewritten since it was read. Nothing is written
/// if another definition was activated since. Rows are locked in the order of [`Batch::decided`], after the resources, in
/// the order of their names. An instance whose action was granted units of a resource counts as overtaken if other units of
/// it were granted since.
///
/// # Errors
///
/// [`StoreError::Constraint`] `action_place` when a server of the previous release holds what an action that
/// begins claims exclusively; [`StoreError::Locked`] when a row lock was not released in time; nothing was
/// written then.
#[tracing::instrument(name = "store.batch.write", level = "debug", skip_all, fields(instances = batch.decided.len()))]
pub async fn write(
    db: &mut PgConnection,
    batch: Batch<'_>,
    origin: ChangeOrigin,
    activation: ActivationId,
    worker: Option<WorkerId>,
    now: DateTime<Utc>,
) -> Result<BatchResult, StoreError> {
    let decided = batch.decided;
    let columns = BatchColumns::of(batch);
    let BatchColumns {
        saved,
        history_only,
        history,
        reentered,
        left,
        ended,
        started,
        suspended,
        invoked,
        coupled,
        resources,
    } = &columns;
    // Each macro takes the parameters of its section and adds them to those of the sections around it.
    macro_rules! moves {
        ($statement:ident $(, $more:expr)*) => {
            $statement!(
                BatchResultRow,
                origin.0,
                activation.0,
                now,
                &saved.ids,
                &saved.versions,
                &saved.states as _,
                &saved.visits,
                &saved.since,
                saved.deadlines.as_slice() as _,
                saved.counters.as_slice() as _,
                saved.data.as_slice() as _,
                &history.instances,
                &history.visits,
                history.spoken_visits.as_slice() as _,
                &history.kinds as _,
                &history.from_states as _,
                history.to_states.as_slice() as _,
                history.outcomes.as_slice() as _,
                history.events.as_slice() as _,
                history.sources.as_slice() as _,
                history.senders.as_slice() as _,
                history.reasons.as_slice() as _,
                history.args.as_slice() as _,
                history.facts.as_slice() as _,
                history.evidence.as_slice() as _,
                history.predicted.as_slice() as _
                $(, $more)*
            )
            .fetch_one(db)
            .await
        };
    }
    macro_rules! actions {
        ($statement:ident $(, $more:expr)*) => {
            moves!(
                $statement,
                worker.map(|worker| worker.0),
                saved.silent.as_slice() as _,
                saved.remaining.as_slice() as _,
                &history_only.ids,
                &history_only.versions,
                &reentered.ids,
                &reentered.visits,
                &reentered.states as _,
                &ended.ids,
                &ended.others,
                &left.ids,
                &left.others,
                &started.ids,
                &started.others,
                started.granted.as_slice() as _,
                &suspended.ids,
                &suspended.actions,
                &suspended.troubles as _,
                &suspended.reasons as _,
                &suspended.uncounted,
                &suspended.compensations,
                &invoked.ids,
                &invoked.visits,
                &invoked.seqs,
                &invoked.actions as _,
                &invoked.settings as _,
                &invoked.limits as _,
                &invoked.places as _,
                &invoked.compensations as _,
                invoked.claims.as_slice() as _,
                invoked.queues.as_slice() as _,
                invoked.queue_at.as_slice() as _,
                &invoked.keeps_actions
                $(, $more)*
            )
        };
    }
    macro_rules! resources {
        ($statement:ident $(, $more:expr)*) => {
            actions!(
                $statement,
                &resources.names as _,
                resources.revisions.as_slice() as _,
                resources.capacities.as_slice() as _,
                resources.gaps.as_slice() as _,
                resources.settles.as_slice() as _,
                &resources.released,
                &resources.claimants.ids,
                &resources.claimants.names as _,
                &resources.holds.ids,
                &resources.holds.names as _,
                &resources.hold_resources as _,
                &resources.hold_units,
                &resources.dropped.ids,
                &resources.dropped.names as _,
                &resources.passed_on,
                &resources.grants as _,
                &resources.waiting.ids,
                &resources.waiting.names as _
                $(, $more)*
            )
        };
    }
    let BatchResultRow { ids, version, stopped, is_current } = if columns.only_moves() {
        moves!(write_moves)
    } else if columns.is_linked() {
        resources!(
            write_links,
            &coupled.ids,
            &coupled.versions,
            &coupled.couplings,
            &coupled.sizes,
            saved.links.as_slice() as _
        )
    } else if resources.is_empty() {
        actions!(write_actions)
    } else {
        resources!(write_resources)
    }?;
    let overtaken = ids.map_or_else(HashSet::new, |applied| {
        let applied: HashSet<InstanceId> = applied.into_iter().map(InstanceId).collect();
        decided.iter().map(DecidedUpdate::id).filter(|id| !applied.contains(id)).collect()
    });
    Ok(BatchResult {
        overtaken,
        version: Some(RowVersion::of(version)?),
        stopped: stopped.into_iter().map(ActionId).collect(),
        is_outdated: !is_current,
    })
}
