-- What an action leaves to be done where it was begun and is not seen to end.

-- compensation  the action that makes up for this one: it takes this one's place as a rescue; NULL: nothing has to
ALTER TABLE action ADD COLUMN compensation text;

-- The actions that programs before this column know to leave something to be done.
UPDATE action SET compensation = 'power-on' WHERE action = 'power-cycle' AND NOT rescue;

-- Servers of the release before, which may run beside newer ones during an upgrade, write such actions without it. It is
-- to go with the release after: newer servers always say what the compensation is.
CREATE FUNCTION action_compensation() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.compensation := 'power-on';
    RETURN NEW;
END
$$;
CREATE TRIGGER action_compensation BEFORE INSERT ON action FOR EACH ROW
    WHEN (NEW.action = 'power-cycle' AND NEW.compensation IS NULL) EXECUTE FUNCTION action_compensation();
