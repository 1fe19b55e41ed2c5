-- Limits of what is switched on: what contains a resource, how many units and how much load may be added within a window.
--
-- Servers of the release before run beside newer ones: they grant by capacity, gap and settle time only.

-- within       the resource that contains it: what is switched on there is switched on here too
-- window_ms    units that are granted to add load count as in use for so long after their release
-- budget_ma    the load that may be in use, in milliampere; NULL is no limit
-- min_off_ms   the least time for which a cycle keeps off what it switches
-- about        what it is, for people
ALTER TABLE resource
    ADD COLUMN within     text   REFERENCES resource,
    ADD COLUMN window_ms  bigint NOT NULL DEFAULT 0 CHECK (window_ms >= 0),
    ADD COLUMN budget_ma  integer         CHECK (budget_ma >= 0),
    ADD COLUMN min_off_ms bigint NOT NULL DEFAULT 0 CHECK (min_off_ms >= 0),
    ADD COLUMN about      text;

-- Finds what a resource contains.
CREATE INDEX resource_within ON resource (within) WHERE within IS NOT NULL;

-- Units that were released and count as in use until the window of their resource has passed.
CREATE TABLE cooling (
    resource    text        NOT NULL,
    released_at timestamptz NOT NULL CHECK (isfinite(released_at)),
    cooling_id  bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    units       integer     NOT NULL CHECK (units >= 0),
    load_ma     bigint      NOT NULL CHECK (load_ma >= 0),
    PRIMARY KEY (resource, released_at, cooling_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- How many units and how much load are held at each resource. (`resource_use` is for servers of the release before.)
CREATE FUNCTION resource_usage() RETURNS TABLE (name text, units bigint, load_ma bigint)
LANGUAGE sql STABLE AS $$
    SELECT u.name, sum(u.units), sum(u.load_ma)
      FROM (SELECT g.value ->> 'resource' AS name, (g.value ->> 'units')::bigint AS units,
                   coalesce((g.value -> 'load' ->> 'ma')::bigint, 0) AS load_ma
              FROM action a, jsonb_array_elements(a.granted) g WHERE a.granted IS NOT NULL
            UNION ALL
            SELECT a.place, 1, 0 FROM action a
             WHERE a.status = 'RUNNING' AND a.place IS NOT NULL AND a.granted IS NULL
            UNION ALL
            SELECT h.resource, h.units, 0 FROM hold h) u
     GROUP BY u.name
$$;

-- Lets the units of running actions that add load cool at their resources.
CREATE FUNCTION cool_units(actions bigint[], at timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO cooling (resource, units, load_ma, released_at)
    SELECT r.name, (g.value ->> 'units')::int, (g.value -> 'load' ->> 'ma')::bigint, at
      FROM action a, jsonb_array_elements(a.granted) g
      JOIN resource r ON r.name = g.value ->> 'resource' AND r.window_ms > 0
     WHERE a.action_id = ANY (actions) AND a.status = 'RUNNING' AND a.granted IS NOT NULL AND g.value ? 'load'
$$;

-- The current that a device of a type of hardware draws when it is switched on.
CREATE TABLE hardware_load (
    hardware text    PRIMARY KEY,
    load_ma  integer NOT NULL CHECK (load_ma >= 0)
);
