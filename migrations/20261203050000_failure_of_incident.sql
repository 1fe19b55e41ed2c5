-- Whether an incident concerns this failure: one at its resource, or at what contains that, which opened within a minute after the
-- failure, or was open then. Of a failure while it was open it was not known yet that it opens. It may be closed by now.
CREATE FUNCTION belongs_to_incident(f resource_failure) RETURNS boolean
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE around AS (
        SELECT f.resource AS name
        UNION
        SELECT r.within FROM around a JOIN resource r ON r.name = a.name WHERE r.within IS NOT NULL)
    SELECT EXISTS (SELECT FROM around a
                     JOIN instance i ON i.machine = 'incident' AND i.data ->> 'resource' = a.name
                    WHERE (i.data ->> 'opened_at')::timestamptz <= f.failed_at + interval '1 minute'
                      AND ((i.data ->> 'opened_at')::timestamptz >= f.failed_at OR i.state <> 'Closed' OR f.failed_at < i.entered_at))
$$;
