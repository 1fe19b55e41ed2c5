-- Whether an incident opened within a minute after this failure, at its resource or at what contains that. It may be closed.
CREATE FUNCTION belongs_to_incident(f resource_failure) RETURNS boolean
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE around AS (
        SELECT f.resource AS name
        UNION
        SELECT r.within FROM around a JOIN resource r ON r.name = a.name WHERE r.within IS NOT NULL)
    SELECT EXISTS (SELECT FROM around a
                     JOIN instance i ON i.machine = 'incident' AND i.data ->> 'resource' = a.name
                    WHERE (i.data ->> 'opened_at')::timestamptz BETWEEN f.failed_at AND f.failed_at + interval '1 minute')
$$;
