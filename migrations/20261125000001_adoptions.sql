-- Which definition of a machine was in force when.

-- A text has a number, in the order in which the machine's texts came into force first.
ALTER TABLE definition ADD COLUMN number integer CHECK (number > 0);
UPDATE definition d SET number = n.number
  FROM (SELECT machine, digest, row_number() OVER (PARTITION BY machine ORDER BY adopted_at, digest) AS number
          FROM definition) n
 WHERE d.machine = n.machine AND d.digest = n.digest;
ALTER TABLE definition
    ALTER COLUMN number SET NOT NULL,
    DROP CONSTRAINT definition_pkey,
    ADD PRIMARY KEY (machine, number),
    ADD CONSTRAINT definition_digest_key UNIQUE (machine, digest);

-- The last one of a machine is in force. Whoever writes what was decided holds this table in ROW SHARE mode and sees that
-- the last one of all is still the one that was decided under; whoever adds one holds it in EXCLUSIVE mode. So what is
-- durable before was decided under the old definition, all else under the new one, whichever process decides.
-- History from `first_history` on is under it: no other entry is being numbered meanwhile. What it did to an instance in
-- the visit that it was in (another name of its state, another deadline) is there as a note, `adopted`.
CREATE TABLE adoption (
    adoption_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    machine       text        NOT NULL,
    number        integer     NOT NULL,
    at            timestamptz NOT NULL CHECK (isfinite(at)),
    -- From where it came: with the program, from a file that a server was given, or loaded while servers ran.
    origin        text        NOT NULL CHECK (origin IN ('built-in', 'file', 'loaded')),
    sender        text,
    first_history bigint      NOT NULL,
    FOREIGN KEY (machine, number) REFERENCES definition
);
CREATE INDEX adoption_machine ON adoption (machine, adoption_id);

INSERT INTO adoption (machine, number, at, origin, first_history)
SELECT machine, number, adopted_at, 'built-in',
       coalesce((SELECT min(history_id) FROM history h WHERE h.at >= adopted_at), (SELECT max(history_id) + 1 FROM history), 1)
  FROM definition ORDER BY adopted_at, machine, number;
ALTER TABLE definition DROP COLUMN adopted_at;
