-- How far a process's time is ahead of the database's clock, in seconds; told with each renewal of its lease. The time of the
-- process that has been here for longest is the farm's: others join and follow it, whatever their own machines' clocks show.
-- NULL: the process is of a version that does not tell.
ALTER TABLE worker ADD COLUMN clock_offset_s double precision;
