-- The links of an instance to others, by name: `{"lease": {"machine": "lease", "name": "l1", "visit": 3, "id": 17}}`. `id`
-- is the number of the instance that was linked: what has its name after it was removed is another one. No number stands
-- for an instance that was not there. NULL is no link, and costs those that have none no byte.
ALTER TABLE instance ADD COLUMN links jsonb;
