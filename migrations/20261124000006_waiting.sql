-- What is looked for at each hand-out, among very many actions that run and go on.

-- What may be begun.
CREATE INDEX action_waiting ON action (action_id) WHERE status = 'WAITING';

-- What is to be stopped.
CREATE INDEX action_cancelled ON action (worker_id) WHERE cancelled;
