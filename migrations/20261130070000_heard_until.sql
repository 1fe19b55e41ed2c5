-- Until when boards could report to a worker: for as long as its lease, but for a worker that stops, which holds its lease
-- until its power actions have ended and does not listen meanwhile. Deadlines are held for as long as nobody listened.
-- NULL: the process is of a version that does not tell, or has not renewed its lease yet.
ALTER TABLE worker ADD COLUMN heard_until timestamptz;
