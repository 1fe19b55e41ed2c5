-- Until when a process lets no deadline pass, because before it registered no process could take what boards report. Others
-- that register meanwhile do the same.
-- NULL: the process is of a version that does not hold deadlines.
ALTER TABLE worker ADD COLUMN deadlines_held_until timestamptz;
