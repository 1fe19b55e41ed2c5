\set board random(1, 10000)
WITH moved AS (
    UPDATE instance
       SET state = CASE state WHEN 'A' THEN 'B' ELSE 'A' END, visit = visit + 1, entered_at = clock_timestamp(),
           deadline_at = NULL, counters = '{}', data = '{}'
     WHERE instance_id = :board
 RETURNING instance_id, entered_at, state, visit
)
INSERT INTO history (instance_id, at, kind, event, source, sender, from_state, to_state, visit)
SELECT instance_id, entered_at, 'event', 'flip', 'board', '127.0.0.1', 'A', state, visit FROM moved;
