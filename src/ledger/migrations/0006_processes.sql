-- The rules by which a look found a team in step. By others it counts as out of step.
ALTER TABLE teams ADD COLUMN in_step_for TEXT;
-- The last full pass, and the fingerprint of the rule set that it went by.
ALTER TABLE orgs ADD COLUMN passed_at BIGINT;
ALTER TABLE orgs ADD COLUMN passed_for TEXT;
