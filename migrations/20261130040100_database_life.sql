-- Which life of the database this is. A database begins another life when it goes back to an earlier state: a dump is
-- restored, a standby that lags is promoted, a backup is recovered to a point in time. Whoever remembers something of
-- the life before compares this and forgets it.

-- The one row. `life` is drawn at random when a life begins. `fingerprint` is made of what is outside of any dump: the
-- cluster, the database and the table in it, the timeline. `written_by` is the number of the transaction that wrote the
-- row; where the row's own `xmin` is another, the row was restored. Nothing ever updates the row within a life.
CREATE TABLE database_life (
    is_only     boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    life        bigint  NOT NULL,
    fingerprint text    NOT NULL,
    written_by  bigint  NOT NULL
);

-- The life that the database is in; 0 where a dump was restored and nobody has noticed yet.
CREATE VIEW present_life AS
SELECT CASE WHEN xmin::text::bigint = (written_by & 4294967295) THEN life ELSE 0 END AS life FROM database_life;
