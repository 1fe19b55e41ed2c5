-- A publication of all tables forbids to delete rows of a table that does not say how its rows are known. These have no
-- primary key, which would cost its bytes with every entry: their rows are known by all of their columns. That costs nothing
-- where nothing is published.
ALTER TABLE change REPLICA IDENTITY FULL;
ALTER TABLE history_default REPLICA IDENTITY FULL;

DO $$
DECLARE
    name regclass;
BEGIN
    FOR name IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'history'::regclass LOOP
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', name);
    END LOOP;
END
$$;

-- As before, but for the identity of the new partition's rows.
CREATE OR REPLACE FUNCTION history_partition(day date) RETURNS boolean
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
    EXECUTE format('ALTER TABLE %I REPLICA IDENTITY FULL', name);
    LOCK TABLE history_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format(
        'WITH moved AS (DELETE FROM history_default WHERE at >= $1 AND at < $2 RETURNING *) '
        'INSERT INTO %I SELECT * FROM moved', name) USING begins, ends;
    EXECUTE format('ALTER TABLE history ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, begins, ends);
    RETURN true;
END
$$;
