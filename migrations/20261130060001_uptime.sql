-- For how long a process has been running, in seconds, told with each renewal of its lease: the time of the one that has been
-- running for longest is the farm's, also after it was away from the database and registered anew.
-- NULL: the process is of a version that does not tell.
ALTER TABLE worker ADD COLUMN uptime_s double precision;
