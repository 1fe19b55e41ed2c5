-- The equal transaction. A client keeps to boards of its own, as the callers of the peers do.
\set board :client_id + :clients * random(0, 1000 / :clients - 1)
BEGIN;
SELECT board_id, state, visit, (counters->>'reboots')::bigint AS reboots FROM board
    WHERE name = 'board-' || CAST(:board AS text) FOR UPDATE \gset
UPDATE board SET
    state = CASE CAST(:state AS text)
        WHEN 'RebootComplete' THEN 'Ready' WHEN 'Ready' THEN 'RebootRebooting' ELSE 'RebootComplete' END,
    visit = :visit + 1, entered_at = now(), deadline_at = now() + interval '300 s',
    counters = jsonb_build_object('reboots', :reboots + 1)
    WHERE board_id = :board_id;
INSERT INTO history (board_id, at, event, from_state, to_state, visit) VALUES
    (:board_id, now(), 'image-running', CAST(:state AS text), 'Ready', :visit + 1);
COMMIT;
