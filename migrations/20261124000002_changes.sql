-- What changed: whoever keeps a picture of the instances learns here what has become stale in it.

-- One row for each transaction that changed instances, or what is known of their devices. The arrays go together:
-- the visit and the deadline are those after the change; of what was removed the visit is 0, and only there are
-- `machines` and `names` told. `xact` is the transaction's own number, `origin` the process that wrote it.
-- A group of 256 changes stays in its page: moving it out of line would cost more than it saves.
CREATE TABLE change (
    xact      bigint        NOT NULL,
    origin    bigint,
    instances bigint[]      NOT NULL,
    visits    bigint[]      NOT NULL,
    deadlines timestamptz[] NOT NULL,
    machines  text[],
    names     text[]
) WITH (
    toast_tuple_target = 8160,
    -- Rows come at one end and go at the other, so what is dead is a fixed number and not a share.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 5000
);

-- Readers go on from where they were.
CREATE INDEX change_xact ON change (xact);

-- The one row that says which life of the database the log belongs to (transaction numbers begin anew where a dump is
-- restored), and up to which transaction it was forgotten.
CREATE TABLE change_log (
    is_only   boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    life      bigint  NOT NULL,
    forgotten bigint  NOT NULL
);
INSERT INTO change_log (life, forgotten) VALUES (0, 0);

-- The numbers by which processes know their own changes.
CREATE SEQUENCE change_origin;
