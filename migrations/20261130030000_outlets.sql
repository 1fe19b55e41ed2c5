-- Which outlet switches a board's power, in one spelling: two power URLs may be spelled differently and mean the same
-- coil. NULL: the board has no power URL, or the row was written by a program that does not know this column, or another
-- board had the outlet first; a server fills in what it can when it starts, and names those that share one.
ALTER TABLE device ADD COLUMN power_outlet text;

-- An outlet is one board's: this index decides between two that are registered at once.
CREATE UNIQUE INDEX device_power_outlet_key ON device (power_outlet);
