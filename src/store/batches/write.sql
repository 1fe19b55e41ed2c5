-- Writes a batch: what was decided about many instances at one time, in one statement.
--
-- The build script makes four statements of this file. Text between `begin` and `end` lines belongs to a section; all other
-- text belongs to every statement, and comments to none.
--
--     statement        sections                       batch
--     write_moves      unlinked                       instances only move
--     write_actions    unlinked, actions              actions begin, end or are invoked; entries without a move
--     write_resources  unlinked, actions, resources   units of resources are granted or released
--     write_links      links, actions, resources      links change, or instances were decided together
--
-- Parameters are columns: arrays of one length that are unnested side by side. They are unnested in a select list, because
-- as tables each would be stored first. Where an array is shorter than the others, the rest of its column is NULL.
--
-- Rows of tables that are often empty are found by `column = ANY (ARRAY[x])`, not by `column = x`. The plan is made once, maybe
-- while there is no row, and for `=` it would then read the whole index, in the order of which rows could be merged. For `ANY`
-- there is no such plan.
--
-- Every part applies only where `applied` says that the instance's part of the batch applies.

WITH

-- Whether no definition was activated since the batch was decided. The lock, on a row or on none, blocks activations until
-- this transaction is durable.
activation_check AS MATERIALIZED (
    SELECT NOT EXISTS (SELECT FROM activation WHERE activation_id > $2 FOR KEY SHARE) AS is_current
),

-- begin resources
-- Units are granted and released before any instance is locked. A grant holds only if the revision of each of its resources is
-- still the one that the grant was decided by, and none is settling. Where one is not, the others stay as they are: their gaps
-- do not begin. A release takes nothing from others, so it leaves the revision.
current_resources AS MATERIALIZED (
    SELECT r.name, r.revision, r.released_at, r.set_settle_ms FROM resource r
     WHERE r.name = ANY ($60::text[]) AND (SELECT is_current FROM activation_check)
     ORDER BY r.name COLLATE "C" FOR UPDATE
),
claimed AS MATERIALIZED (
    SELECT unnest($66::bigint[]) AS id, NULL::bigint AS action, unnest($67::text[]) AS name
    UNION ALL
    SELECT NULL, unnest($76::bigint[]), unnest($77::text[])
),
overtaken AS MATERIALIZED (
    SELECT c.id, c.action
      FROM claimed c
      LEFT JOIN (SELECT unnest($60::text[]) AS name, unnest($61::bigint[]) AS revision,
                        unnest($64::bigint[]) AS settle_ms) t ON t.name = c.name
      -- Sorted, so that all are locked before the first one is compared.
      LEFT JOIN (SELECT * FROM current_resources ORDER BY name COLLATE "C" OFFSET 0) r ON r.name = c.name
     WHERE t.revision IS NULL OR t.revision <> coalesce(r.revision, 0)
        -- What was released by a clock that leads a little settles from now on: see MAX_CLOCK_LEAD.
        OR (r.released_at <= $3::timestamptz + interval '1 minute'
            AND extract(epoch FROM greatest($3, r.released_at) - r.released_at) * 1000
                < coalesce(r.set_settle_ms, t.settle_ms))
),
granted AS MATERIALIZED (
    SELECT c.name FROM claimed c
     WHERE NOT EXISTS (SELECT FROM overtaken o WHERE o.id = c.id OR o.action = c.action)
),
resource_changes AS (
    INSERT INTO resource AS r (name, capacity, gap_ms, settle_ms, revision, grant_revision, granted_at, released_at)
    SELECT t.name, t.capacity, coalesce(t.gap_ms, 0), coalesce(t.settle_ms, 0), coalesce(t.revision, 0) + 1,
           CASE WHEN t.revision = 0 THEN 1 ELSE 0 END,
           CASE WHEN t.revision IS NOT NULL THEN $3::timestamptz END,
           CASE WHEN t.is_released THEN $3::timestamptz END
      FROM (SELECT n.name, CASE WHEN n.name = ANY (ARRAY(SELECT name FROM granted)) THEN n.revision END AS revision,
                   n.capacity, n.gap_ms, n.settle_ms, n.is_released
              FROM (SELECT unnest($60::text[]) AS name, unnest($61::bigint[]) AS revision, unnest($62::int[]) AS capacity,
                           unnest($63::bigint[]) AS gap_ms, unnest($64::bigint[]) AS settle_ms,
                           unnest($65::bool[]) AS is_released) n) t
     WHERE (SELECT is_current FROM activation_check) AND (t.revision IS NOT NULL OR t.is_released)
    ON CONFLICT (name) DO UPDATE
       SET revision = r.revision + CASE WHEN excluded.granted_at IS NULL THEN 0 ELSE 1 END,
           grant_revision = CASE WHEN excluded.granted_at IS NOT NULL AND r.revision = excluded.revision - 1
                                 THEN r.revision + 1 ELSE r.grant_revision END,
           granted_at = CASE WHEN r.revision = excluded.revision - 1
                             THEN coalesce(excluded.granted_at, r.granted_at) ELSE r.granted_at END,
           released_at = coalesce(excluded.released_at, r.released_at),
           capacity = CASE WHEN excluded.granted_at IS NOT NULL THEN excluded.capacity ELSE r.capacity END,
           gap_ms = CASE WHEN excluded.granted_at IS NOT NULL THEN excluded.gap_ms ELSE r.gap_ms END,
           settle_ms = CASE WHEN excluded.granted_at IS NOT NULL THEN excluded.settle_ms ELSE r.settle_ms END
 RETURNING r.name, r.grant_revision = r.revision AS is_granted, r.window_ms
),

-- What claims a resource of which units were granted since: there may be none left. A resource that did not exist is known only
-- now.
refused AS MATERIALIZED (
    SELECT o.id, o.action FROM overtaken o
    UNION ALL
    SELECT c.id, c.action FROM claimed c
     WHERE NOT EXISTS (SELECT FROM resource_changes r WHERE r.name = c.name AND r.is_granted)
),
-- end resources

-- begin links
-- Instances that were decided together are written together: none of them where one was rewritten since it was read, or is
-- locked. From here on the statement waits for no lock.
locked AS MATERIALIZED (
    SELECT i.instance_id, n.coupling, n.size
      FROM (SELECT unnest($82::bigint[]) AS id, unnest($83::int[]) AS version, unnest($84::bigint[]) AS coupling,
                   unnest($85::bigint[]) AS size) n
      JOIN instance i ON i.instance_id = n.id
     WHERE i.xmin = n.version AND (SELECT is_current FROM activation_check)
       -- Resources are locked first.
       AND (SELECT count(*) FROM resource_changes) >= 0 AND n.id <> ALL (ARRAY(SELECT id FROM refused WHERE id IS NOT NULL))
       FOR UPDATE OF i SKIP LOCKED
),
complete AS MATERIALIZED (
    SELECT array_agg(l.instance_id) AS ids
      FROM (SELECT instance_id, size, count(*) OVER (PARTITION BY coupling) AS found FROM locked) l
     WHERE l.found = l.size
),
-- end links

-- Rows are locked in the order of the array, which is that of their IDs: sessions for batches plan no other join.
saved AS (
    UPDATE instance i
       SET state = n.state, visit = n.visit, entered_at = n.since, deadline_at = n.deadline_at,
           counters = coalesce(n.counters, i.counters), data = coalesce(n.data, i.data)
-- begin actions
           , remaining_us = n.remaining_us, remaining_visit = CASE WHEN n.remaining_us IS NOT NULL THEN n.visit END
-- end actions
-- begin links
           , links = CASE WHEN n.links IS NULL THEN i.links ELSE nullif(n.links, '{}') END
-- end links
      FROM (SELECT unnest($4::bigint[]) AS id, unnest($5::int[]) AS version, unnest($6::text[]) AS state,
                   unnest($7::bigint[]) AS visit, unnest($8::timestamptz[]) AS since,
                   unnest($9::timestamptz[]) AS deadline_at,
                   unnest($10::jsonb[]) AS counters, unnest($11::jsonb[]) AS data
-- begin actions
                   , unnest($28::bool[]) AS is_silent, unnest($29::bigint[]) AS remaining_us
-- end actions
-- begin links
                   , unnest($86::jsonb[]) AS links
-- end links
           ) n
     WHERE i.instance_id = n.id AND i.xmin = n.version AND (SELECT is_current FROM activation_check)
-- begin resources
-- begin unlinked
       -- Resources are locked first.
       AND (SELECT count(*) FROM resource_changes) >= 0 AND i.instance_id <> ALL (ARRAY(SELECT id FROM refused WHERE id IS NOT NULL))
-- end unlinked
-- end resources
-- begin links
       AND i.instance_id = ANY ((SELECT ids FROM complete)::bigint[])
-- end links
 RETURNING i.instance_id, i.visit, i.deadline_at
-- begin actions
           , n.is_silent
-- end actions
),

-- The log that caches and followers of instances read on from.
changed AS (
    INSERT INTO change (xact, origin, instances, visits, deadlines)
    SELECT pg_current_xact_id()::text::bigint, $1, array_agg(instance_id), array_agg(visit), array_agg(deadline_at)
      FROM saved
-- begin actions
     WHERE is_silent IS NULL
-- end actions
    HAVING count(*) > 0
),

-- begin actions
-- Deadlines that changed with nothing else that a follower can see: only processes that fire deadlines read them.
deadline_changes AS (
    INSERT INTO deadline_change (xact, origin, instances, visits, deadlines)
    SELECT pg_current_xact_id()::text::bigint, $1, array_agg(instance_id), array_agg(visit), array_agg(deadline_at)
      FROM saved
     WHERE is_silent
    HAVING count(*) > 0
),

-- Instances that only get history keep their row. The lock is not waited for: this transaction holds locks already.
history_only AS MATERIALIZED (
    SELECT i.instance_id
      FROM (SELECT unnest($30::bigint[]) AS id, unnest($31::int[]) AS version) n
      JOIN instance i ON i.instance_id = n.id
     WHERE i.xmin = n.version AND (SELECT is_current FROM activation_check) AND (SELECT count(*) FROM saved) >= 0
-- begin resources
-- begin unlinked
       AND (SELECT count(*) FROM resource_changes) >= 0 AND i.instance_id <> ALL (ARRAY(SELECT id FROM refused WHERE id IS NOT NULL))
-- end unlinked
-- end resources
-- begin links
       AND i.instance_id = ANY ((SELECT ids FROM complete)::bigint[])
-- end links
       FOR UPDATE OF i SKIP LOCKED
),
-- end actions

-- The instances whose part of the batch applies; mostly all of them.
applied AS MATERIALIZED (
    SELECT array_agg(instance_id) AS ids,
           count(*) = cardinality($4::bigint[])
-- begin actions
                      + cardinality($30::bigint[])
-- end actions
           AS is_all
      FROM (SELECT instance_id FROM saved
-- begin actions
            UNION ALL SELECT instance_id FROM history_only
-- end actions
           ) a
),

history_rows AS (
    INSERT INTO history (at, instance_id, visit, spoken_visit, kind, from_state, to_state, outcome, event, source, sender,
                         reason, args, facts, evidence, predicted)
    SELECT $3, h.id, h.visit, h.spoken_visit, h.kind, h.from_state, h.to_state, h.outcome, h.event, h.source, h.sender,
           h.reason, h.args, h.facts, h.evidence, h.predicted
      FROM (SELECT unnest($12::bigint[]) AS id, unnest($13::bigint[]) AS visit, unnest($14::bigint[]) AS spoken_visit,
                   unnest($15::text[]) AS kind, unnest($16::text[]) AS from_state, unnest($17::text[]) AS to_state,
                   unnest($18::text[]) AS outcome, unnest($19::text[]) AS event, unnest($20::text[]) AS source,
                   unnest($21::text[]) AS sender, unnest($22::text[]) AS reason, unnest($23::jsonb[]) AS args,
                   unnest($24::jsonb[]) AS facts, unnest($25::jsonb[]) AS evidence,
                   unnest($26::jsonb[]) AS predicted) h
     WHERE (SELECT is_all FROM applied) OR h.id = ANY ((SELECT ids FROM applied)::bigint[])
)

-- begin actions
-- Instances at rest whose deadline re-entered their state share one entry for each state.
, reentered AS (
    INSERT INTO history (at, kind, from_state, instances, visits)
    SELECT $3, 'kept', r.state, array_agg(r.id), array_agg(r.visit)
      FROM (SELECT unnest($32::bigint[]) AS id, unnest($33::bigint[]) AS visit, unnest($34::text[]) AS state) r
     WHERE (SELECT is_all FROM applied) OR r.id = ANY ((SELECT ids FROM applied)::bigint[])
     GROUP BY r.state
)

-- Actions are found by their IDs. With `status = …` or `worker_id = …` the plan would use a partial index of all that wait or
-- run. So conditions name the other status, by which there is no index: there are two.
, ended AS (
    DELETE FROM action a
     USING (SELECT unnest($35::bigint[]) AS id, unnest($36::bigint[]) AS action) e
     WHERE a.action_id = ANY (ARRAY[e.action])
       AND ((SELECT is_all FROM applied) OR e.id = ANY ((SELECT ids FROM applied)::bigint[]))
 RETURNING a.action_id
)

-- Actions of visits that were left, other than compensations and those that end or are suspended here.
, abandoned AS MATERIALIZED (
    SELECT a.action_id
      FROM (SELECT unnest($37::bigint[]) AS id, unnest($38::bigint[]) AS visit) l
      JOIN action a ON a.instance_id = ANY (ARRAY[l.id])
     WHERE a.visit <= l.visit AND NOT a.rescue
       AND a.action_id <> ALL ($36::bigint[]) AND a.action_id <> ALL ($43::bigint[])
       AND ((SELECT is_all FROM applied) OR l.id = ANY ((SELECT ids FROM applied)::bigint[]))
)
-- Those that wait are deleted, or become their compensation if an earlier run may have left something undone.
, deleted AS (
    DELETE FROM action a USING abandoned b
     WHERE a.action_id = ANY (ARRAY[b.action_id]) AND a.status <> 'RUNNING'
       AND NOT (a.compensation IS NOT NULL AND a.attempts > 0)
)
, compensated AS (
    UPDATE action a SET action = a.compensation, compensation = NULL, limit_ms = NULL, rescue = true
      FROM abandoned b
     WHERE a.action_id = ANY (ARRAY[b.action_id]) AND a.status <> 'RUNNING'
       AND a.compensation IS NOT NULL AND a.attempts > 0
)
-- Those that run are cancelled; their workers stop them.
, stopped AS (
    UPDATE action a SET cancelled = true FROM abandoned b
     WHERE a.action_id = ANY (ARRAY[b.action_id]) AND a.status <> 'WAITING' AND NOT a.cancelled
 RETURNING a.action_id
)

-- After the actions that ended, whose resources these may take over.
, started AS (
    UPDATE action a
       SET status = 'RUNNING', worker_id = $27, began_at = $3, attempts = a.attempts + 1,
           reason = CASE WHEN a.trouble IS NULL THEN a.reason END, trouble = NULL, suspended_at = NULL,
           granted = s.granted, granted_at = CASE WHEN s.granted IS NOT NULL THEN coalesce(a.granted_at, $3) END
      FROM (SELECT unnest($39::bigint[]) AS id, unnest($40::bigint[]) AS action, unnest($41::jsonb[]) AS granted) s
     WHERE a.action_id = ANY (ARRAY[s.action]) AND a.status <> 'RUNNING'
       AND ((SELECT is_all FROM applied) OR s.id = ANY ((SELECT ids FROM applied)::bigint[]))
       AND (SELECT count(*) FROM ended) >= 0
)

-- An action whose visit has ended, or that left something undone, becomes its compensation.
, suspended AS (
    UPDATE action a
       SET status = 'WAITING', worker_id = NULL, began_at = NULL, suspended_at = $3, granted = NULL, granted_at = NULL,
           trouble = s.trouble, reason = s.reason, attempts = a.attempts - s.uncounted,
           action = CASE WHEN a.cancelled OR s.is_compensation THEN coalesce(a.compensation, a.action) ELSE a.action END,
           compensation = CASE WHEN NOT (a.cancelled OR s.is_compensation) THEN a.compensation END,
           limit_ms = CASE WHEN NOT (a.cancelled OR s.is_compensation) THEN a.limit_ms END,
           rescue = a.rescue OR a.cancelled OR s.is_compensation, cancelled = false
      FROM (SELECT unnest($42::bigint[]) AS id, unnest($43::bigint[]) AS action, unnest($44::text[]) AS trouble,
                   unnest($45::text[]) AS reason, unnest($46::int[]) AS uncounted,
                   unnest($47::bool[]) AS is_compensation) s
     WHERE a.action_id = ANY (ARRAY[s.action]) AND a.status <> 'WAITING' AND a.worker_id IS NOT DISTINCT FROM $27
       AND ((SELECT is_all FROM applied) OR s.id = ANY ((SELECT ids FROM applied)::bigint[]))
)

, invoked AS (
    INSERT INTO action (instance_id, visit, seq, action, settings, limit_ms, place, compensation, claims, queue, queue_at,
                        status, asked_at)
    SELECT n.id, n.visit, n.seq, n.action, n.settings, n.limit_ms, n.place, n.compensation, n.claims, n.queue, n.queue_at,
           'WAITING', $3
      FROM (SELECT unnest($48::bigint[]) AS id, unnest($49::bigint[]) AS visit, unnest($50::int[]) AS seq,
                   unnest($51::text[]) AS action, unnest($52::jsonb[]) AS settings, unnest($53::bigint[]) AS limit_ms,
                   unnest($54::text[]) AS place, unnest($55::text[]) AS compensation, unnest($56::jsonb[]) AS claims,
                   unnest($57::text[]) AS queue, unnest($58::timestamptz[]) AS queue_at,
                   unnest($59::bool[]) AS keeps_actions) n
     WHERE ((SELECT is_all FROM applied) OR n.id = ANY ((SELECT ids FROM applied)::bigint[]))
       -- Where the instance keeps its actions, they are invoked anew only if all have ended meanwhile.
       AND NOT (n.keeps_actions AND EXISTS (
               SELECT FROM action a WHERE a.instance_id = n.id AND NOT a.cancelled AND NOT a.rescue))
)
-- end actions

-- begin resources
, new_holds AS (
    INSERT INTO hold (instance_id, name, resource, units, granted_at)
    SELECT h.id, h.name, h.resource, h.units, $3
      FROM (SELECT unnest($68::bigint[]) AS id, unnest($69::text[]) AS name, unnest($70::text[]) AS resource,
                   unnest($71::int[]) AS units) h
     WHERE ((SELECT is_all FROM applied) OR h.id = ANY ((SELECT ids FROM applied)::bigint[]))
    ON CONFLICT (instance_id, name) DO NOTHING
)
, dropped_holds AS (
    DELETE FROM hold h
     USING (SELECT unnest($72::bigint[]) AS id, unnest($73::text[]) AS name) d
     WHERE h.instance_id = ANY (ARRAY[d.id]) AND h.name = ANY (ARRAY[d.name])
       AND ((SELECT is_all FROM applied) OR d.id = ANY ((SELECT ids FROM applied)::bigint[]))
)
-- Released units that came with load count as in use until the window has passed. Expired rows are kept for a while: the
-- clocks of servers may differ a little.
, cooled AS (
    INSERT INTO cooling (resource, units, load_ma, released_at)
    SELECT c.name, c.units, c.load_ma, $3
      FROM (SELECT unnest($78::bigint[]) AS id, unnest($79::text[]) AS name, unnest($80::int[]) AS units,
                   unnest($81::bigint[]) AS load_ma) c
      JOIN resource_changes r ON r.name = c.name
     WHERE r.window_ms > 0
       AND ((SELECT is_all FROM applied) OR c.id = ANY ((SELECT ids FROM applied)::bigint[]))
)
, expired AS (
    DELETE FROM cooling c USING resource_changes r
     WHERE c.resource = ANY (ARRAY[r.name]) AND c.released_at < $3 - (r.window_ms + 60000) * interval '1 millisecond'
)
-- Released units are passed on to waiting actions of other instances, if the whole batch applies. Their locks are not waited
-- for.
, passed_on AS (
    UPDATE action a SET granted = g.granted, granted_at = $3
      FROM (SELECT unnest($74::bigint[]) AS action, unnest($75::jsonb[]) AS granted) g
     WHERE a.action_id = ANY (ARRAY[g.action]) AND (SELECT is_all FROM applied)
       AND a.action_id <> ALL (ARRAY(SELECT action FROM refused WHERE action IS NOT NULL))
       AND a.action_id = ANY (ARRAY(
               SELECT b.action_id FROM action b
                WHERE b.action_id = ANY ($74::bigint[]) AND b.status <> 'RUNNING' AND b.granted IS NULL
                  FOR UPDATE SKIP LOCKED))
)
-- end resources

-- The IDs are needed only where not all applied. The version is what the rewritten rows have as their `xmin`.
SELECT CASE WHEN NOT is_all THEN coalesce(ids, '{}') END AS ids,
       pg_current_xact_id()::text::bigint & 4294967295 AS "version!",
       coalesce(
-- begin actions
                ARRAY(SELECT action_id FROM stopped),
-- end actions
                '{}'::bigint[]) AS "stopped!",
       is_current AS "is_current!"
  FROM applied, activation_check
