//! The one statement that writes what was decided.

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

/// Writes what the process `origin` decided at `now` under the definitions in force since `under`, with its `worker` for
/// what begins; each instance's part is written whole, or not at all where its row has been rewritten since it was read,
/// and nothing at all where something else is in force.
///
/// `decided` has each instance once, in the order of their numbers: all processes lock in that order.
///
/// Resources come first, in the order of their names. Where units of one were granted since a grant was decided on, the
/// instance whose action was to begin by it counts as overtaken.
///
/// # Errors
///
/// [`StoreError::Constraint`] `action_place` when a server of the release before holds what an action that begins claims
/// alone; [`StoreError::LockedInstance`] when a row is kept locked; nothing was written then.
#[tracing::instrument(name = "store.group.write", level = "debug", skip_all, fields(instances = group.decided.len()))]
pub async fn write(
    db: &mut PgConnection,
    group: Batch<'_>,
    origin: ChangeOrigin,
    under: ActivationId,
    worker: Option<WorkerId>,
    now: DateTime<Utc>,
) -> Result<BatchResult, StoreError> {
    let decided = group.decided;
    let group = BatchColumns::of(group);
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
    } = &group;
    macro_rules! run {
        ([$claimed:tt, $whole:tt, $if_whole:tt, $links:tt, $new_links:tt], $still:tt, $remaining:tt, $silent:tt, $visible:tt, $held:tt,
         $applied:tt, $more:tt, $granted:tt, $stopped:tt, $($arguments:expr),*) => {
            sqlx::query!(
                r#"WITH
                   -- Nothing else has come into force. The lock, on a row or none, keeps it so until all is durable.
                   ruled AS MATERIALIZED (
                       SELECT NOT EXISTS (SELECT FROM adoption WHERE adoption_id > $26 FOR KEY SHARE) AS is_so
                   ),
                   "#
                + $claimed
                + $whole
                + r#"-- Arrays are taken apart side by side in a list of columns: as tables they would be stored one by one.
                   -- Where one is shorter than the others, the rest of it is NULL.
                   -- Locked as they are saved, in the order in which they come: the connection plans no other join.
                   saved AS (
                       UPDATE instance i
                          SET state = n.state, visit = n.visit, entered_at = n.entered_at, deadline_at = n.deadline_at,
                              counters = coalesce(n.counters, i.counters), data = coalesce(n.data, i.data)"#
                + $still
                + $links
                + r#"
                         FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::int[]) AS version,
                                      unnest($3::text[]) AS state, unnest($4::bigint[]) AS visit,
                                      unnest($5::timestamptz[]) AS entered_at, unnest($6::timestamptz[]) AS deadline_at,
                                      unnest($7::jsonb[]) AS counters, unnest($8::jsonb[]) AS data"#
                + $remaining
                + $new_links
                + r#") n
                        WHERE i.instance_id = n.id AND i.xmin = n.version AND (SELECT is_so FROM ruled)"#
                + $if_whole
                + r#"
                    RETURNING i.instance_id, i.visit, i.deadline_at"#
                + $silent
                + r#"
                   ),
                   -- Whoever keeps a picture of the instances reads on from here.
                   changed AS (
                       INSERT INTO change (xact, origin, instances, visits, deadlines)
                       SELECT pg_current_xact_id()::text::bigint, $9, array_agg(instance_id), array_agg(visit),
                              array_agg(deadline_at)
                         FROM saved"#
                + $visible
                + r#" HAVING count(*) > 0
                   ),
                   "#
                + $held
                + $if_whole
                + $applied
                + r#",
                   -- Mostly all of it.
                   told AS (
                       INSERT INTO history (at, instance_id, visit, spoken_visit, kind, from_state, to_state, outcome,
                                            event, source, sender, reason, args, facts, evidence, predicted)
                       SELECT $10, h.id, h.visit, h.spoken_visit, h.kind, h.from_state, h.to_state, h.outcome,
                              h.event, h.source, h.sender, h.reason, h.args, h.facts, h.evidence, h.predicted
                         FROM (SELECT unnest($11::bigint[]) AS id, unnest($12::bigint[]) AS visit,
                                      unnest($13::bigint[]) AS spoken_visit, unnest($14::text[]) AS kind,
                                      unnest($15::text[]) AS from_state, unnest($16::text[]) AS to_state,
                                      unnest($17::text[]) AS outcome, unnest($18::text[]) AS event,
                                      unnest($19::text[]) AS source, unnest($20::text[]) AS sender,
                                      unnest($21::text[]) AS reason, unnest($22::jsonb[]) AS args,
                                      unnest($23::jsonb[]) AS facts, unnest($24::jsonb[]) AS evidence,
                                      unnest($25::jsonb[]) AS predicted) h
                        WHERE (SELECT is_all FROM applied) OR h.id = ANY ((SELECT ids FROM applied)::bigint[])
                   )"#
                + $more
                + $granted
                + r#"
                   SELECT CASE WHEN NOT is_all THEN coalesce(ids, '{}') END AS ids,
                          pg_current_xact_id()::text::bigint & 4294967295 AS "version!","#
                + $stopped
                + r#" AS "stopped!", is_so AS "is_ruled!" FROM applied, ruled"#,
                &saved.ids,
                &saved.versions,
                &saved.states as _,
                &saved.visits,
                &saved.entered_at,
                saved.deadlines.as_slice() as _,
                saved.counters.as_slice() as _,
                saved.data.as_slice() as _,
                origin.0,
                now,
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
                history.predicted.as_slice() as _,
                under.0,
                $($arguments),*
            )
            .fetch_one(db)
            .await
            .map(|row| (row.ids, row.version, row.stopped, row.is_ruled))
        };
    }
    macro_rules! run_whole {
        ($whole:tt, $granted:tt $(, $more:expr)*) => {
            run!(
            $whole,
            r#", since = n.since, since_visit = CASE WHEN n.since IS NOT NULL THEN n.visit END,
                              remaining_us = n.remaining,
                              remaining_visit = CASE WHEN n.remaining IS NOT NULL THEN n.visit END"#,
            r#", unnest($47::bigint[]) AS remaining,
                                      unnest($55::timestamptz[]) AS since, unnest($56::bool[]) AS is_silent"#,
            ", n.is_silent",
            " WHERE is_silent IS NULL",
            r#"-- What only gets history keeps its row. Never waited for: who waits here may keep locks already.
                   held AS MATERIALIZED (
                       SELECT i.instance_id
                         FROM (SELECT unnest($27::bigint[]) AS id, unnest($28::int[]) AS version) n
                         JOIN instance i ON i.instance_id = n.id
                        WHERE i.xmin = n.version AND (SELECT is_so FROM ruled) AND (SELECT count(*) FROM saved) >= 0"#,
            r#"
                          FOR UPDATE OF i SKIP LOCKED
                   ),
                   applied AS MATERIALIZED (
                       SELECT array_agg(instance_id) AS ids,
                              count(*) = cardinality($1::bigint[]) + cardinality($27::bigint[]) AS is_all
                         FROM (SELECT instance_id FROM saved UNION ALL SELECT instance_id FROM held) a
                   )"#,
            r#",
                   -- Nobody sees these, but whoever fires deadlines has to know.
                   rearmed AS (
                       INSERT INTO rearmed (xact, origin, instances, visits, deadlines)
                       SELECT pg_current_xact_id()::text::bigint, $9, array_agg(instance_id), array_agg(visit),
                              array_agg(deadline_at)
                         FROM saved WHERE is_silent HAVING count(*) > 0
                   ),
                   -- One entry for all that are at rest and stay there.
                   kept AS (
                       INSERT INTO history (at, kind, from_state, instances, visits)
                       SELECT $10, 'kept', k.state, array_agg(k.id), array_agg(k.visit)
                         FROM (SELECT unnest($29::bigint[]) AS id, unnest($30::bigint[]) AS visit,
                                      unnest($31::text[]) AS state) k
                        WHERE (SELECT is_all FROM applied) OR k.id = ANY ((SELECT ids FROM applied)::bigint[])
                        GROUP BY k.state
                   ),
                   -- Actions are found by their numbers. The plan is made once, mostly while there are few actions, and with
                   -- `status = …` or `worker_id = …` it would go through a partial index of all that wait or run. So these are
                   -- asked by what they are not, which no index has: there are two statuses.
                   ended AS (
                       DELETE FROM action a
                        USING (SELECT unnest($32::bigint[]) AS id, unnest($33::bigint[]) AS action) e
                        WHERE a.action_id = e.action
                          AND ((SELECT is_all FROM applied) OR e.id = ANY ((SELECT ids FROM applied)::bigint[]))
                    RETURNING a.action_id
                   ),
                   given_up AS MATERIALIZED (
                       SELECT a.action_id
                         FROM (SELECT unnest($34::bigint[]) AS id, unnest($35::bigint[]) AS visit) l
                         JOIN action a ON a.instance_id = l.id
                        WHERE a.visit <= l.visit AND NOT a.rescue
                          AND a.action_id <> ALL($33::bigint[]) AND a.action_id <> ALL($49::bigint[])
                          AND ((SELECT is_all FROM applied) OR l.id = ANY ((SELECT ids FROM applied)::bigint[]))
                   ),
                   dropped AS (
                       DELETE FROM action a USING given_up g
                        WHERE a.action_id = g.action_id AND a.status <> 'RUNNING'
                          AND NOT (a.compensation IS NOT NULL AND a.attempts > 0)
                   ),
                   -- What was begun and waits again may have left something to be made up for.
                   rescued AS (
                       UPDATE action a SET action = a.compensation, compensation = NULL, limit_ms = NULL, rescue = true
                         FROM given_up g
                        WHERE a.action_id = g.action_id AND a.status <> 'RUNNING'
                          AND a.compensation IS NOT NULL AND a.attempts > 0
                   ),
                   stopped AS (
                       UPDATE action a SET cancelled = true FROM given_up g
                        WHERE a.action_id = g.action_id AND a.status <> 'WAITING' AND NOT a.cancelled
                    RETURNING a.action_id
                   ),
                   -- After what ended, whose resources it may hold on to.
                   started AS (
                       UPDATE action a
                          SET status = 'RUNNING', worker_id = $38, began_at = $10, attempts = a.attempts + 1,
                              reason = CASE WHEN a.trouble IS NULL THEN a.reason END, trouble = NULL,
                              suspended_at = NULL, granted = s.granted,
                              granted_at = CASE WHEN s.granted IS NOT NULL THEN coalesce(a.granted_at, $10) END
                         FROM (SELECT unnest($36::bigint[]) AS id, unnest($37::bigint[]) AS action,
                                      unnest($57::jsonb[]) AS granted) s
                        WHERE a.action_id = s.action AND a.status <> 'RUNNING'
                          AND ((SELECT is_all FROM applied) OR s.id = ANY ((SELECT ids FROM applied)::bigint[]))
                          AND (SELECT count(*) FROM ended) >= 0
                   ),
                   -- What is left of an action whose visit has ended, or which left something undone, is its compensation.
                   suspended AS (
                       UPDATE action a
                          SET status = 'WAITING', worker_id = NULL, began_at = NULL, suspended_at = $10,
                              granted = NULL, granted_at = NULL,
                              trouble = s.trouble, reason = s.reason, attempts = a.attempts - s.uncounted,
                              action = CASE WHEN a.cancelled OR s.rescue THEN coalesce(a.compensation, a.action)
                                            ELSE a.action END,
                              compensation = CASE WHEN NOT (a.cancelled OR s.rescue) THEN a.compensation END,
                              limit_ms = CASE WHEN NOT (a.cancelled OR s.rescue) THEN a.limit_ms END,
                              rescue = a.rescue OR a.cancelled OR s.rescue, cancelled = false
                         FROM (SELECT unnest($48::bigint[]) AS id, unnest($49::bigint[]) AS action,
                                      unnest($50::text[]) AS trouble, unnest($51::text[]) AS reason,
                                      unnest($52::int[]) AS uncounted, unnest($53::bool[]) AS rescue) s
                        WHERE a.action_id = s.action AND a.status <> 'WAITING' AND a.worker_id IS NOT DISTINCT FROM $38
                          AND ((SELECT is_all FROM applied) OR s.id = ANY ((SELECT ids FROM applied)::bigint[]))
                   ),
                   invoked AS (
                       INSERT INTO action (instance_id, visit, seq, action, settings, limit_ms, place, compensation,
                                           claims, queue, queue_at, status, asked_at)
                       SELECT n.id, n.visit, n.seq, n.action, n.settings, n.limit_ms, n.place, n.compensation,
                              n.claims, n.queue, n.queue_at, 'WAITING', $10
                         FROM (SELECT unnest($39::bigint[]) AS id, unnest($40::bigint[]) AS visit,
                                      unnest($41::int[]) AS seq, unnest($42::text[]) AS action,
                                      unnest($43::jsonb[]) AS settings, unnest($44::bigint[]) AS limit_ms,
                                      unnest($45::text[]) AS place, unnest($46::bool[]) AS is_kept,
                                      unnest($54::text[]) AS compensation, unnest($58::jsonb[]) AS claims,
                                      unnest($59::text[]) AS queue, unnest($60::timestamptz[]) AS queue_at) n
                        WHERE ((SELECT is_all FROM applied) OR n.id = ANY ((SELECT ids FROM applied)::bigint[]))
                          -- Those that go on are there already, unless they have ended meanwhile.
                          AND NOT (n.is_kept AND EXISTS (
                                  SELECT FROM action a WHERE a.instance_id = n.id AND NOT a.cancelled AND NOT a.rescue))
                   )"#,
            $granted,
            "ARRAY(SELECT action_id FROM stopped)",
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
            worker.map(|worker| worker.0),
            &invoked.ids,
            &invoked.visits,
            &invoked.seqs,
            &invoked.actions as _,
            &invoked.settings as _,
            &invoked.limits as _,
            &invoked.places as _,
            &invoked.kept,
            saved.remaining.as_slice() as _,
            &suspended.ids,
            &suspended.actions,
            &suspended.troubles as _,
            &suspended.reasons as _,
            &suspended.uncounted,
            &suspended.rescues,
            &invoked.compensations as _,
            saved.since.as_slice() as _,
            saved.silent.as_slice() as _,
            started.granted.as_slice() as _,
            invoked.claims.as_slice() as _,
            invoked.queues.as_slice() as _,
            invoked.queue_at.as_slice() as _
            $(, $more)*
        )
        };
    }
    // What has to do with no resource does not touch their tables.
    macro_rules! run_resources {
        ([$whole:tt, $if_whole:tt, $links:tt, $new_links:tt] $(, $more:expr)*) => {
            run_whole!(
                [
                r#"-- Units are granted and given back before any instance is locked.
                   touched AS (
                       INSERT INTO resource AS r (name, capacity, gap_ms, settle_ms, revision, grant_revision,
                                                  granted_at, released_at)
                       SELECT t.name, t.capacity, coalesce(t.gap_ms, 0), coalesce(t.settle_ms, 0),
                              coalesce(t.seen, 0) + 1, CASE WHEN t.seen = 0 THEN 1 ELSE 0 END,
                              CASE WHEN t.seen IS NOT NULL THEN $10::timestamptz END,
                              CASE WHEN t.is_released THEN $10::timestamptz END
                         FROM (SELECT unnest($61::text[]) AS name, unnest($62::bigint[]) AS seen,
                                      unnest($63::int[]) AS capacity, unnest($64::bigint[]) AS gap_ms,
                                      unnest($65::bigint[]) AS settle_ms, unnest($66::bool[]) AS is_released) t
                        WHERE (SELECT is_so FROM ruled)
                       ON CONFLICT (name) DO UPDATE
                          SET revision = r.revision + 1,
                              grant_revision = CASE WHEN excluded.granted_at IS NOT NULL
                                                         AND r.revision = excluded.revision - 1
                                                    THEN r.revision + 1 ELSE r.grant_revision END,
                              granted_at = CASE WHEN r.revision = excluded.revision - 1
                                                THEN coalesce(excluded.granted_at, r.granted_at) ELSE r.granted_at END,
                              released_at = coalesce(excluded.released_at, r.released_at),
                              capacity = CASE WHEN excluded.granted_at IS NOT NULL THEN excluded.capacity
                                              ELSE r.capacity END,
                              gap_ms = CASE WHEN excluded.granted_at IS NOT NULL THEN excluded.gap_ms ELSE r.gap_ms END,
                              settle_ms = CASE WHEN excluded.granted_at IS NOT NULL THEN excluded.settle_ms
                                               ELSE r.settle_ms END
                    RETURNING r.name, r.grant_revision = r.revision AS is_granted
                   ),
                   -- Somebody else was granted units since, so there may be none left.
                   refused AS MATERIALIZED (
                       SELECT c.id FROM (SELECT unnest($67::bigint[]) AS id, unnest($68::text[]) AS name) c
                        WHERE NOT EXISTS (SELECT FROM touched t WHERE t.name = c.name AND t.is_granted)
                   ),
                   "#,
                    $whole,
                    $if_whole,
                    $links,
                    $new_links
                ],
                r#",
                   held_on AS (
                       INSERT INTO hold (instance_id, name, resource, units, granted_at)
                       SELECT h.id, h.name, h.resource, h.units, $10
                         FROM (SELECT unnest($69::bigint[]) AS id, unnest($70::text[]) AS name,
                                      unnest($71::text[]) AS resource, unnest($72::int[]) AS units) h
                        WHERE ((SELECT is_all FROM applied) OR h.id = ANY ((SELECT ids FROM applied)::bigint[]))
                       ON CONFLICT (instance_id, name) DO NOTHING
                   ),
                   let_go AS (
                       DELETE FROM hold h
                        USING (SELECT unnest($73::bigint[]) AS id, unnest($74::text[]) AS name) d
                        WHERE h.instance_id = d.id AND h.name = d.name
                          AND ((SELECT is_all FROM applied) OR d.id = ANY ((SELECT ids FROM applied)::bigint[]))
                   ),
                   -- What was given back is granted on. Others' actions are never waited for.
                   granted_on AS (
                       UPDATE action a SET granted = g.granted, granted_at = $10
                         FROM (SELECT unnest($75::bigint[]) AS action, unnest($76::jsonb[]) AS granted) g
                        WHERE a.action_id = g.action AND (SELECT is_all FROM applied)
                          AND a.action_id <> ALL (ARRAY(
                                  SELECT c.action
                                    FROM (SELECT unnest($77::bigint[]) AS action, unnest($78::text[]) AS name) c
                                   WHERE NOT EXISTS (SELECT FROM touched t WHERE t.name = c.name AND t.is_granted)))
                          AND a.action_id = ANY (ARRAY(
                                  SELECT b.action_id FROM action b
                                   WHERE b.action_id = ANY($75::bigint[]) AND b.status <> 'RUNNING' AND b.granted IS NULL
                                     FOR UPDATE SKIP LOCKED))
                   )"#,
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
                &resources.chosen_for_holds as _,
                &resources.units_of_holds,
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
    let (ids, version, stopped, is_ruled) = if group.only_moves() {
        // The other tables' locks and indexes alone would cost a lone event as much as all the rest.
        // What is left of a time limit stands still only where an action is suspended, and is of one visit.
        run!(
            ["", "", "", "", ""],
            ", since = n.since, since_visit = CASE WHEN n.since IS NOT NULL THEN n.visit END",
            ", unnest($27::timestamptz[]) AS since",
            "",
            "",
            "",
            r#"applied AS MATERIALIZED (
                       SELECT array_agg(instance_id) AS ids, count(*) = cardinality($1::bigint[]) AS is_all FROM saved
                   )"#,
            "",
            "",
            "'{}'::bigint[]",
            saved.since.as_slice() as _
        )
    } else if !group.is_linked() && resources.is_empty() {
        run_whole!(["", "", "", "", ""], "")
    } else if !group.is_linked() {
        run_resources!([
            "",
            // Resources are locked first.
            " AND (SELECT count(*) FROM touched) >= 0 AND i.instance_id <> ALL (ARRAY(SELECT id FROM refused))",
            "",
            ""
        ])
    } else {
        run_resources!(
            [
                r#"-- Those that were decided together: where one of them was rewritten meanwhile, or is kept locked, none is
                   -- written. Nothing is waited for here, and nothing below.
                   locked AS MATERIALIZED (
                       SELECT i.instance_id, n.coupling, n.size
                         FROM (SELECT unnest($79::bigint[]) AS id, unnest($80::int[]) AS version,
                                      unnest($81::bigint[]) AS coupling, unnest($82::bigint[]) AS size) n
                         JOIN instance i ON i.instance_id = n.id
                        WHERE i.xmin = n.version AND (SELECT is_so FROM ruled)
                          -- Resources are locked first.
                          AND (SELECT count(*) FROM touched) >= 0 AND n.id <> ALL (ARRAY(SELECT id FROM refused))
                          FOR UPDATE OF i SKIP LOCKED
                   ),
                   whole AS MATERIALIZED (
                       SELECT array_agg(l.instance_id) AS ids
                         FROM (SELECT instance_id, size, count(*) OVER (PARTITION BY coupling) AS found FROM locked) l
                        WHERE l.found = l.size
                   ),
                   "#,
                " AND i.instance_id = ANY ((SELECT ids FROM whole)::bigint[])",
                ", links = CASE WHEN n.links IS NULL THEN i.links ELSE nullif(n.links, '{}') END",
                ", unnest($83::jsonb[]) AS links"
            ],
            &coupled.ids,
            &coupled.versions,
            &coupled.couplings,
            &coupled.sizes,
            saved.links.as_slice() as _
        )
    }?;
    // Mostly none is.
    let overtaken = ids.map_or_else(HashSet::new, |applied| {
        let applied: HashSet<InstanceId> = applied.into_iter().map(InstanceId).collect();
        decided.iter().map(DecidedUpdate::id).filter(|id| !applied.contains(id)).collect()
    });
    Ok(BatchResult {
        overtaken,
        version: Some(RowVersion::of(version)?),
        stopped: stopped.into_iter().map(ActionId).collect(),
        is_outdated: !is_ruled,
    })
}
