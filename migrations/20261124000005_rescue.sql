-- What is left of an action whose visit has ended: a power cycle that nobody saw to its end may have left its board without
-- power. It belongs to no visit any more, so leaving a state does not cancel it, and its end is stale.
-- Every other action that is not cancelled is the present visit's, though its number may be that of an earlier one: a state
-- that its own deadline enters anew may keep its actions.
ALTER TABLE action ADD COLUMN rescue boolean NOT NULL DEFAULT false;
