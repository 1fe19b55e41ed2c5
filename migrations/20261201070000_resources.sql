-- What is limited, who has it and who waits for it: capacity, the gap between grants, and the time to settle after a release.
-- Before, there was one lock, an action's `place`.

-- What there is, how fast it is handed out, and when that was done last.
--
-- Who grants units of it has read its `revision` together with all that is in use, and writes only where that is still the
-- revision: each grant and each release makes another one. So never is more granted than there is, whichever processes
-- grant at once, and gaps are kept by these times. Rows are locked in the order of their names, before any instance's.
--
-- capacity … settle_ms           as whoever claims it says; a capacity of NULL is no limit
-- set_capacity … set_settle_ms   as an operator wants it instead; NULL: nobody does
-- grant_revision                 the revision that the last grant made
CREATE TABLE resource (
    name           text   PRIMARY KEY,
    capacity       integer         CHECK (capacity >= 0),
    gap_ms         bigint NOT NULL DEFAULT 0 CHECK (gap_ms >= 0),
    settle_ms      bigint NOT NULL DEFAULT 0 CHECK (settle_ms >= 0),
    set_capacity   integer         CHECK (set_capacity >= 0),
    set_gap_ms     bigint          CHECK (set_gap_ms >= 0),
    set_settle_ms  bigint          CHECK (set_settle_ms >= 0),
    revision       bigint NOT NULL DEFAULT 0,
    grant_revision bigint NOT NULL DEFAULT 0,
    granted_at     timestamptz     CHECK (isfinite(granted_at)),
    released_at    timestamptz     CHECK (isfinite(released_at))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
        autovacuum_vacuum_cost_delay = 0);

-- What instances hold for as long as they are in certain states. `name` is what the definition calls it, `resource` what was
-- chosen where any of several would do.
CREATE TABLE hold (
    instance_id bigint      NOT NULL REFERENCES instance ON DELETE CASCADE,
    name        text        NOT NULL,
    resource    text        NOT NULL,
    units       integer     NOT NULL CHECK (units > 0),
    granted_at  timestamptz NOT NULL CHECK (isfinite(granted_at)),
    PRIMARY KEY (instance_id, name)
);

-- claims      what the action needs to run: NULL is nothing, else [{"any_of": […], "units": 1, "limits": {…}}]
-- queue       the first resource that it claims: those that wait for it are one queue
-- queue_at    its turn is that of something that was asked for then; NULL: at asked_at. Of many that are asked for at once
--             the later ones come later, so that others need not wait for all of them.
-- granted     what of the claims it holds, while it runs or is about to: [{"resource": …, "units": 1}]
-- granted_at  since when
-- `place` and its index are for servers of the release before, which may run beside newer ones during an upgrade: what is
-- claimed alone is locked for both. They are to go with the release after.
ALTER TABLE action
    ADD COLUMN claims jsonb, ADD COLUMN queue text, ADD COLUMN queue_at timestamptz CHECK (isfinite(queue_at)),
    ADD COLUMN granted jsonb, ADD COLUMN granted_at timestamptz CHECK (isfinite(granted_at));

UPDATE action
   SET claims = jsonb_build_array(jsonb_build_object('any_of', jsonb_build_array(place), 'units', 1,
                                                     'limits', jsonb_build_object('capacity', 1))),
       queue = place,
       granted = CASE WHEN status = 'RUNNING'
                      THEN jsonb_build_array(jsonb_build_object('resource', place, 'units', 1)) END,
       granted_at = CASE WHEN status = 'RUNNING' THEN began_at END
 WHERE place IS NOT NULL;
INSERT INTO resource (name, capacity, granted_at)
SELECT place, 1, max(began_at) FROM action WHERE place IS NOT NULL GROUP BY place;

-- Very many actions that run claim nothing.
DROP INDEX action_place;
CREATE UNIQUE INDEX action_place ON action (place) WHERE status = 'RUNNING' AND place IS NOT NULL;

-- What is in use.
CREATE INDEX action_granted ON action (action_id) WHERE granted IS NOT NULL;

-- How many units of each resource are held: by actions, also by those of servers of the release before, and by states.
CREATE FUNCTION resource_use() RETURNS TABLE (name text, units bigint)
LANGUAGE sql STABLE AS $$
    SELECT u.name, sum(u.units)
      FROM (SELECT g.value ->> 'resource' AS name, (g.value ->> 'units')::bigint AS units
              FROM action a, jsonb_array_elements(a.granted) g WHERE a.granted IS NOT NULL
            UNION ALL
            SELECT a.place, 1 FROM action a
             WHERE a.status = 'RUNNING' AND a.place IS NOT NULL AND a.granted IS NULL
            UNION ALL
            SELECT h.resource, h.units FROM hold h) u
     GROUP BY u.name
$$;
