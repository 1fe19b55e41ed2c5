-- What is to be done in the world because states were entered, and who does it.

-- The processes that carry actions out; one whose lease has run out is dead, and its actions are handed out again.
CREATE TABLE worker (
    worker_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text        NOT NULL,
    lease_until timestamptz NOT NULL
);

-- The actions that are still to be done or being done. What was done is in history.
-- A row is written with the transition that asks for it and deleted with the stimulus that its end becomes.
CREATE TABLE action (
    action_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance_id bigint      NOT NULL,
    visit       bigint      NOT NULL,
    seq         integer     NOT NULL,
    action      text        NOT NULL,
    settings    jsonb       NOT NULL,
    limit_ms    bigint               CHECK (limit_ms > 0),
    place       text,
    status      text        NOT NULL CHECK (status IN ('WAITING', 'RUNNING')),
    cancelled   boolean     NOT NULL DEFAULT false,
    worker_id   bigint      REFERENCES worker,
    asked_at    timestamptz NOT NULL CHECK (isfinite(asked_at)),
    began_at    timestamptz          CHECK (isfinite(began_at)),
    UNIQUE (instance_id, visit, seq),
    CHECK ((status = 'RUNNING') = (worker_id IS NOT NULL AND began_at IS NOT NULL))
) WITH (fillfactor = 70);

-- A place is held by one running action: this index is the lock.
CREATE UNIQUE INDEX action_place ON action (place) WHERE status = 'RUNNING';

-- What a worker is busy with.
CREATE INDEX action_worker ON action (worker_id) WHERE worker_id IS NOT NULL;
