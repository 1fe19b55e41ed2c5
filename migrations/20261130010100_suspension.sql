-- An action that met trouble of our own waits until that is over; its state's time limit stands still meanwhile.

-- attempts      how often it was begun without being seen to end: what begins it counts, a suspension that did nothing
--               takes that back
-- trouble       what it is suspended by; actions with the same trouble wait for the same thing
-- reason        why it is suspended; or, while it runs, why it does not do what people may expect of it
-- suspended_at  since when
ALTER TABLE action
    ADD COLUMN attempts     integer     NOT NULL DEFAULT 0,
    ADD COLUMN trouble      text,
    ADD COLUMN reason       text,
    ADD COLUMN suspended_at timestamptz;

-- What was left of the time limit when its action was suspended, in microseconds, and the visit whose time limit that is:
-- of another visit it says nothing, so that whoever enters a state need not know of it.
ALTER TABLE instance
    ADD COLUMN remaining_us    bigint,
    ADD COLUMN remaining_visit bigint;

-- The poll URL at which the board has answered a poll. Where it is another one than the board's, or none, a silent board is
-- an error of configuration.
ALTER TABLE device ADD COLUMN answered_url text;
