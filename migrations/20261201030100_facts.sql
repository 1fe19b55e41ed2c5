-- History keeps what guards read of any instance, not of boards only.

-- What guards read of the facts that a face knows of the instance. Rows of the releases before have it in `device`; servers of
-- those releases go on writing it there while they run beside newer ones, so that column stays until the release after.
ALTER TABLE history ADD COLUMN facts jsonb;

-- The facts of an entry, whichever release wrote it.
CREATE FUNCTION entry_facts(entry history) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce(entry.facts, entry.device) $$;
