-- History, partitioned by the day (UTC) on which things happened: an index over one day stays small enough for memory,
-- and what is too old goes as whole tables. The rows become narrower, and the old ones are copied.

ALTER TABLE history
    DROP CONSTRAINT history_at_check, DROP CONSTRAINT history_kind_check, DROP CONSTRAINT history_outcome_check;
ALTER TABLE history RENAME TO history_before;
ALTER SEQUENCE history_history_id_seq RENAME TO history_before_seq;
DROP INDEX history_instance;

-- Everything that happened to instances, in order; it is only ever added to.
-- The stimulus is in spoken_visit, kind and event … device; what it amounted to is in visit, outcome … to_state, reason.
-- A `note` is told, not decided.
--
-- `kept` is one entry for many instances, those of one transaction: their state's own deadline entered it anew and kept
-- its actions. A board at rest does so some hundred times a day and nobody wants to read it, but replay needs it.
-- `visits` are the visits that began, in the order of `instances`; each entry's place in an instance's history is there.
--
-- What NULL stands for costs no byte:
--   outcome       the instance moved: a state was entered
--   to_state      the same as from_state
--   spoken_visit  `began` and `deadline`: the visit before, which is the one below `visit` where the instance moved;
--                 otherwise the stimulus did not say
-- What has a fixed width comes first, so that nothing is lost to alignment.
CREATE TABLE history (
    history_id   bigint      GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL CHECK (isfinite(at)),
    instance_id  bigint,
    visit        bigint,
    spoken_visit bigint,
    kind         text        NOT NULL CHECK (kind IN ('created', 'event', 'began', 'deadline', 'force', 'note', 'kept')),
    from_state   text        NOT NULL,
    to_state     text,
    outcome      text                 CHECK (outcome IN ('stayed', 'ignored', 'noted')),
    event        text,
    source       text,
    sender       text,
    reason       text,
    args         jsonb,
    device       jsonb,
    evidence     jsonb,
    instances    bigint[],
    visits       bigint[],
    CONSTRAINT history_whose_check CHECK (
        CASE kind WHEN 'kept' THEN instance_id IS NULL AND visit IS NULL AND cardinality(instances) = cardinality(visits)
                  ELSE instance_id IS NOT NULL AND visit IS NOT NULL AND instances IS NULL AND visits IS NULL END)
) PARTITION BY RANGE (at);

-- Compressed within the row, where that is possible: out of it they would cost a second table's row and index.
ALTER TABLE history ALTER COLUMN instances SET STORAGE MAIN, ALTER COLUMN visits SET STORAGE MAIN;

-- A board's history, newest first. No other index, no primary key: nothing else is looked up, and each would cost its
-- bytes with every entry.
CREATE INDEX history_instance ON history (instance_id, history_id) WHERE instance_id IS NOT NULL;

-- Where there is no partition for a day yet: nothing is ever refused for want of one.
CREATE TABLE history_default PARTITION OF history DEFAULT;

-- Makes the partition of `day` (UTC); false when it is there already.
--
-- Several processes may call it at once: the lock that ATTACH takes anyway lets one in at a time, and stops neither
-- readers nor writers. Whoever reads or writes history_default waits for a moment, what fell into it
-- for want of this partition is moved.
CREATE FUNCTION history_partition(day date) RETURNS boolean
LANGUAGE plpgsql SET lock_timeout = '500ms' AS $$
DECLARE
    name   text        := 'history_' || to_char(day, 'YYYYMMDD');
    begins timestamptz := day::timestamp AT TIME ZONE 'UTC';
    ends   timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    LOCK TABLE history IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Rows are frozen as soon as they are vacuumed for the first time, because nothing will change them; and that is
    -- done as they are added, not in one go when transaction numbers run out.
    EXECUTE format(
        'CREATE TABLE %I (LIKE history INCLUDING CONSTRAINTS INCLUDING STORAGE) WITH (autovacuum_freeze_min_age = 0, '
        'autovacuum_vacuum_insert_threshold = 100000, autovacuum_vacuum_insert_scale_factor = 0)', name);
    LOCK TABLE history_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format(
        'WITH moved AS (DELETE FROM history_default WHERE at >= $1 AND at < $2 RETURNING *) '
        'INSERT INTO %I SELECT * FROM moved', name) USING begins, ends;
    EXECUTE format('ALTER TABLE history ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, begins, ends);
    RETURN true;
END
$$;

-- Drops the partition of `day` (UTC) and all that is in it; false when there is none.
--
-- For that nobody may use history for a moment, so it gives up where it does not come to its turn soon.
CREATE FUNCTION history_forget(day date) RETURNS boolean
LANGUAGE plpgsql SET lock_timeout = '200ms' AS $$
DECLARE
    name text := 'history_' || to_char(day, 'YYYYMMDD');
BEGIN
    LOCK TABLE history IN ACCESS EXCLUSIVE MODE;
    IF to_regclass(name) IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', name);
    RETURN true;
END
$$;

-- The old rows, in their order, under their numbers; new ones go on from there.
DO $$
DECLARE
    old record;
BEGIN
    PERFORM history_partition(day) FROM (SELECT DISTINCT (at AT TIME ZONE 'UTC')::date AS day FROM history_before) d;
    INSERT INTO history (history_id, at, instance_id, visit, spoken_visit, kind, from_state, to_state, outcome, event,
                         source, sender, reason, args, device, evidence) OVERRIDING SYSTEM VALUE
    SELECT history_id, at, instance_id, visit,
           CASE WHEN kind IN ('began', 'deadline')
                THEN nullif(spoken_visit, CASE WHEN outcome = 'moved' THEN visit - 1 ELSE visit END)
                ELSE spoken_visit END,
           kind, from_state, nullif(to_state, from_state), nullif(outcome, 'moved'), event, source, sender, reason,
           args, device, evidence
      FROM history_before ORDER BY history_id;
    SELECT last_value, is_called INTO old FROM history_before_seq;
    PERFORM setval(pg_get_serial_sequence('history', 'history_id'), old.last_value, old.is_called);
END
$$;

DROP TABLE history_before;
