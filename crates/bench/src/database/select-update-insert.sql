\set board random(1, 10000)
BEGIN;
SELECT instance_id, machine, name, state, visit, entered_at, deadline_at, counters, data
  FROM instance WHERE instance_id = :board FOR UPDATE;
UPDATE instance
   SET state = CASE state WHEN 'A' THEN 'B' ELSE 'A' END, visit = visit + 1, entered_at = clock_timestamp(),
       deadline_at = NULL, counters = '{}', data = '{}'
 WHERE instance_id = :board;
INSERT INTO history (instance_id, at, kind, event, source, sender, from_state, to_state, visit)
VALUES (:board, clock_timestamp(), 'event', 'flip', 'board', '127.0.0.1', 'A', 'B', 2);
COMMIT;
