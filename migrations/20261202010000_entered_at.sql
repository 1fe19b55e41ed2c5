-- Since when an instance is in its state, in one column: a re-entry no longer changes `entered_at`.

-- A server of a version before that still changes it at each re-entry, so the state then seems younger than it is.
UPDATE instance SET entered_at = since WHERE since_visit = visit AND since < entered_at;

ALTER TABLE instance DROP COLUMN since, DROP COLUMN since_visit;
