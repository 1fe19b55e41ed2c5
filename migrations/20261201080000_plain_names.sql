-- Tables get the names that the program uses: activations of definitions, changes of deadlines.

-- Which definition of a machine was activated when; the last activation of a machine is the active one.
--
-- A transaction that writes decisions holds this table in ROW SHARE mode, or a row lock of it, and checks that the last
-- activation of all is still the one that it decided under. A transaction that adds an activation holds the table in
-- EXCLUSIVE mode. So everything committed before an activation was decided under the earlier definitions, and everything
-- after it under the new ones, whichever process decides.
ALTER TABLE adoption RENAME TO activation;
ALTER TABLE activation RENAME COLUMN adoption_id TO activation_id;
ALTER SEQUENCE adoption_adoption_id_seq RENAME TO activation_activation_id_seq;
ALTER TABLE activation RENAME CONSTRAINT adoption_pkey TO activation_pkey;
ALTER TABLE activation RENAME CONSTRAINT adoption_at_check TO activation_at_check;
ALTER TABLE activation RENAME CONSTRAINT adoption_origin_check TO activation_origin_check;
ALTER TABLE activation RENAME CONSTRAINT adoption_machine_number_fkey TO activation_machine_number_fkey;

-- Finds the activations of a machine in order.
ALTER INDEX adoption_machine RENAME TO activation_machine;

-- The table under its earlier name, for servers of the release before, which may run beside newer ones during an upgrade.
-- Rows are read, inserted and locked through it as in the table itself, and LOCK TABLE on it locks the table in the same
-- mode. The release after drops it.
CREATE VIEW adoption AS
SELECT activation_id AS adoption_id, machine, number, at, origin, sender, first_history FROM activation;

-- Deadlines of instances whose state was re-entered without a visible difference: read by the processes that fire
-- deadlines, and by them only. One row for each transaction, as in `change`. A reader that misses a row fires the earlier
-- deadline, which has passed, and reads the current one then.
ALTER TABLE rearmed RENAME TO deadline_change;

-- Readers continue after the last transaction that they have read.
ALTER INDEX rearmed_xact RENAME TO deadline_change_xact;

-- As for activations: for servers of the release before.
CREATE VIEW rearmed AS SELECT xact, origin, instances, visits, deadlines FROM deadline_change;

-- A view has privileges of its own: both get those of their tables.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT CASE c.relname WHEN 'activation' THEN 'adoption' ELSE 'rearmed' END AS name,
               a.grantee, a.privilege_type, a.is_grantable
          FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.oid IN ('activation'::regclass, 'deadline_change'::regclass) AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON %I TO %s%s', granted.privilege_type, granted.name,
                       CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(granted.grantee)) END,
                       CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
END
$$;
