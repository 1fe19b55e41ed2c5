-- What may start without a grant is found without reading what waits for one, however much that is. Together with
-- `action_queued` this replaces the index of all that waits.
CREATE INDEX action_unqueued ON action (action_id)
    WHERE status = 'WAITING' AND (coalesce(queue, place) IS NULL OR granted IS NOT NULL);
DROP INDEX action_waiting;
