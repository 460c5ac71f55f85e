-- When a delay was decided, so that it can be told how long it is, whatever becomes of the clock. A row without it was
-- written by an older version: its delay counts as the longest that there is.
ALTER TABLE marks ADD COLUMN decided_at BIGINT;   -- when due_at and not_before were decided
ALTER TABLE leases ADD COLUMN renewed_at BIGINT;  -- when expires_at was
