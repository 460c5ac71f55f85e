-- When a stranger was first heard of: those that were heard of first are asked about first. `wait` is none where GitHub need
-- not be asked any more. Those of an earlier version are due at once.
ALTER TABLE strangers ADD COLUMN heard_at BIGINT NOT NULL DEFAULT 0;
