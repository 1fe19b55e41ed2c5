-- Instances of machines, the definitions they follow, and what happened to them.

-- The definitions that were in force, as they were written.
CREATE TABLE definition (
    machine    text        NOT NULL,
    digest     text        NOT NULL,
    source     text        NOT NULL,
    adopted_at timestamptz NOT NULL CHECK (isfinite(adopted_at)),
    PRIMARY KEY (machine, digest)
);

-- One row for each thing with a lifecycle. Rewritten by every transition, so pages keep room for that.
CREATE TABLE instance (
    instance_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    machine     text        NOT NULL,
    name        text        NOT NULL,
    state       text        NOT NULL,
    visit       bigint      NOT NULL CHECK (visit > 0),
    entered_at  timestamptz NOT NULL CHECK (isfinite(entered_at)),
    deadline_at timestamptz          CHECK (isfinite(deadline_at)),
    counters    jsonb       NOT NULL,
    data        jsonb       NOT NULL,
    UNIQUE (machine, name)
) WITH (fillfactor = 70);

-- The timer sleeps until the first of these.
CREATE INDEX instance_deadline ON instance (deadline_at) WHERE deadline_at IS NOT NULL;

-- Everything that happened to instances, in order; it is only ever added to.
-- The stimulus is in kind … device; what it amounted to is in outcome … reason. A `note` is told, not decided.
CREATE TABLE history (
    history_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance_id  bigint      NOT NULL,
    at           timestamptz NOT NULL CHECK (isfinite(at)),
    kind         text        NOT NULL CHECK (kind IN ('created', 'event', 'began', 'deadline', 'force', 'note')),
    event        text,
    source       text,
    sender       text,
    spoken_visit bigint,
    args         jsonb,
    device       jsonb,
    outcome      text        NOT NULL CHECK (outcome IN ('moved', 'stayed', 'ignored', 'noted')),
    from_state   text        NOT NULL,
    to_state     text        NOT NULL,
    visit        bigint      NOT NULL,
    reason       text,
    evidence     jsonb
);

-- A board's history, newest first.
CREATE INDEX history_instance ON history (instance_id, history_id);
