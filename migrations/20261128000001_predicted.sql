-- What models answered that conditions ask: {model: {argument: state, or a list of them}}. Replay takes it from here, so
-- that it gives what happened, whatever the model would say today. NULL: none was asked, or none answered.
ALTER TABLE history ADD COLUMN predicted jsonb;
