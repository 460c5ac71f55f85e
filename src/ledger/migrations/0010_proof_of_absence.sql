-- The proof that a team is gone: after the second look at it, the organisation's complete list has to lack it too.
ALTER TABLE teams ADD COLUMN unlisted_at BIGINT;   -- when the list began that lacked it; gone_at is the second look
ALTER TABLE teams ADD COLUMN team_type TEXT;       -- organization | enterprise; null: its slug tells
ALTER TABLE orgs ADD COLUMN listed_at BIGINT;      -- when the last complete list for a proof began
