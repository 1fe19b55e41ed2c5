-- What waits for resources is found without a look at everything else that waits.
CREATE INDEX action_queued ON action (action_id)
    WHERE status = 'WAITING' AND granted IS NULL AND coalesce(queue, place) IS NOT NULL;
