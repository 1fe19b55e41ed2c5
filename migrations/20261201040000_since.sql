-- Since when an instance is in its state, however often it entered that anew; and what of it nobody sees.

-- When the instance came to its state from another one, where that was before its visit `since_visit` began. NULL, or of
-- another visit than the present one (a server of a version that does not know the column moved it): at entered_at.
ALTER TABLE instance ADD COLUMN since timestamptz CHECK (isfinite(since)), ADD COLUMN since_visit bigint;

UPDATE instance i SET since = f.at, since_visit = i.visit
  FROM (SELECT i.instance_id,
               (SELECT h.at FROM history h
                 WHERE h.instance_id = i.instance_id AND h.outcome IS NULL
                   AND (h.to_state IS NOT NULL OR h.kind = 'created')
                 ORDER BY h.history_id DESC LIMIT 1) AS at
          FROM instance i) f
 WHERE i.instance_id = f.instance_id AND f.at < i.entered_at;

-- Deadlines of instances whose state was entered anew without any difference that somebody sees: processes that fire
-- deadlines learn them here, and `change` tells only what somebody can see. One row for each transaction, as there.
-- Whoever misses a row fires the deadline before, which has passed, and learns the present one then.
CREATE TABLE rearmed (
    xact      bigint        NOT NULL,
    origin    bigint,
    instances bigint[]      NOT NULL,
    visits    bigint[]      NOT NULL,
    deadlines timestamptz[] NOT NULL
) WITH (
    toast_tuple_target = 8160,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 5000
);
ALTER TABLE rearmed REPLICA IDENTITY FULL;

-- Readers go on from where they were.
CREATE INDEX rearmed_xact ON rearmed (xact);
