-- Failures of actions that were their resource's, for a minute: when two instances have one at the same resource, an incident
-- opens there (an instance of the machine `incident`), and these actions wait again.
--
-- resource      the resource that did not answer
-- visit         the visit of the instance that invoked the action
-- queued_at     its place in the queue of the resource
-- failed_at     when the action ended
-- is_suspected  whether the resource was not asked: what it powers does not answer
CREATE TABLE resource_failure (
    resource     text        NOT NULL,
    instance_id  bigint      NOT NULL REFERENCES instance ON DELETE CASCADE,
    visit        bigint      NOT NULL,
    action       text        NOT NULL,
    queued_at    timestamptz NOT NULL CHECK (isfinite(queued_at)),
    failed_at    timestamptz NOT NULL CHECK (isfinite(failed_at)),
    is_suspected boolean     NOT NULL,
    PRIMARY KEY (resource, instance_id)
);

-- Finds the failures of an instance that is deleted.
CREATE INDEX resource_failure_instance ON resource_failure (instance_id);

-- The resources that open incidents cover: that of the incident, and all within it. The states are those of `states/incident.yaml`.
CREATE FUNCTION incident_cover() RETURNS TABLE (instance_id bigint, state text, origin text, resource text)
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE covered AS (
        SELECT i.instance_id, i.state, i.data ->> 'resource' AS origin, i.data ->> 'resource' AS resource
          FROM instance i WHERE i.machine = 'incident' AND i.state <> 'Closed' AND i.data ? 'resource'
        UNION
        SELECT c.instance_id, c.state, c.origin, r.name FROM covered c JOIN resource r ON r.within = c.resource)
    SELECT c.instance_id, c.state, c.origin, c.resource FROM covered c
$$;

-- The actions that wait for the end of an incident. Actions that only ask whether the resource answers do not.
CREATE FUNCTION incident_wait()
RETURNS TABLE (incident_id bigint, instance_id bigint, action_id bigint, queued_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT c.instance_id, a.instance_id, a.action_id, coalesce(a.queue_at, a.asked_at)
      FROM incident_cover() c
      JOIN action a ON a.status = 'WAITING'
       AND (a.trouble = 'incident ' || c.resource
            OR c.state <> 'Silent'
               AND a.claims @> jsonb_build_array(jsonb_build_object('any_of', jsonb_build_array(c.resource)))
               AND NOT a.claims @> jsonb_build_array(jsonb_build_object('any_of', jsonb_build_array(c.resource), 'probes', true)))
$$;
