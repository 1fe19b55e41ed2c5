-- What faces know of instances, as JSON: read with the rows of instances, so that decisions cost no further statement.
--
-- A face adds its tables by a migration that replaces the view: `CREATE OR REPLACE VIEW instance_facts AS SELECT … UNION ALL
-- SELECT …`. An instance has one row at most. Columns that are added to a table show by themselves. Guards and actions read no
-- comments, which can be long.
CREATE VIEW instance_facts (instance_id, facts) AS
SELECT instance_id, to_jsonb(device) - 'comments' FROM device;

-- A view has privileges of its own: who may read boards may read it.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT a.grantee, a.is_grantable
          FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.oid = 'device'::regclass AND a.grantee <> c.relowner AND a.privilege_type = 'SELECT'
    LOOP
        EXECUTE format('GRANT SELECT ON instance_facts TO %s%s',
                       CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(granted.grantee)) END,
                       CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
END
$$;
