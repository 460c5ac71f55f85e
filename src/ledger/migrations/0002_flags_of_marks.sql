-- What a mark asks for besides the look, which its cause decided before. A row without flags was written by version
-- 0.1.0 and takes them from its cause.
ALTER TABLE marks ADD COLUMN answers_event BOOLEAN;  -- the look answers the last event: if nothing changed, it reads no Datadog
ALTER TABLE marks ADD COLUMN asks_datadog BOOLEAN;   -- the look reads Datadog even then
ALTER TABLE marks ADD COLUMN asks_reserve BOOLEAN;   -- the look may use the reserve of the rate limits
ALTER TABLE marks ADD COLUMN asks_at_once BOOLEAN;   -- the look does not wait until its lane has rested
ALTER TABLE marks ADD COLUMN lifts_creates BOOLEAN;  -- the creates of a first pass need no approval
