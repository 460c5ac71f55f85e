-- The flags of a mark: what it asks for besides the look. In version 0.1.0 the cause decided that, so a row without flags
-- takes them from its cause.
ALTER TABLE marks ADD COLUMN answers_event BOOLEAN;  -- the look answers the last event: if nothing changed, it reads no Datadog
ALTER TABLE marks ADD COLUMN asks_datadog BOOLEAN;   -- the look reads Datadog even then
ALTER TABLE marks ADD COLUMN asks_reserve BOOLEAN;   -- the look may use the reserve of the rate limits
ALTER TABLE marks ADD COLUMN asks_at_once BOOLEAN;   -- the look does not wait until its lane has rested
ALTER TABLE marks ADD COLUMN lifts_creates BOOLEAN;  -- the creates of a first pass need no approval
