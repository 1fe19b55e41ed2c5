-- The farm that every peer works on: 1,000 boards in RebootComplete, and the history of what happened to them.

CREATE TABLE board (
    board_id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text        NOT NULL UNIQUE,
    state       text        NOT NULL,
    visit       bigint      NOT NULL,
    entered_at  timestamptz NOT NULL,
    deadline_at timestamptz,
    counters    jsonb       NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE history (
    history_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    board_id   bigint      NOT NULL,
    at         timestamptz NOT NULL,
    event      text        NOT NULL,
    from_state text        NOT NULL,
    to_state   text        NOT NULL,
    visit      bigint      NOT NULL
);

-- A board's history, newest first.
CREATE INDEX history_board ON history (board_id, visit);

INSERT INTO board (name, state, visit, entered_at, deadline_at, counters)
SELECT 'board-' || n, 'RebootComplete', 1, now(), now() + interval '600 s', '{"reboots": 0}'
FROM generate_series(0, 999) n;

VACUUM ANALYZE board;
