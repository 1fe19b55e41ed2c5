-- How often the server tidies up behind us. (History's partitions have their settings where they are made.)

-- Updates of instances stay within their page, and each clears away what the last one left: about one dead version a page
-- is what a healthy table has, some 3 % of its rows, and nothing is to be done about that. More means that a long
-- transaction elsewhere kept old versions alive: they must go soon, before pages are full and updates need new entries in
-- both indexes. A run reads a table of one row a board, so it need not be slowed down.
ALTER TABLE instance SET (
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);

-- Every action is inserted, updated and deleted, so what is dead is many times what lives, and whoever looks for something
-- to start walks through it. How much lives says nothing of that: a number does.
ALTER TABLE action SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0
);
