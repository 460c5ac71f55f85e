-- The workers, as they see each other.
CREATE TABLE processes (
    id          TEXT PRIMARY KEY NOT NULL,
    role        TEXT   NOT NULL,
    version     TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,         -- of the rule set
    settings    TEXT   NOT NULL,         -- the hash of the settings that decide writes
    loaded_at   BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL          -- when it last said that it lives
);
-- The rules by which a look found a team in step. By others it counts as out of step.
ALTER TABLE teams ADD COLUMN in_step_for TEXT;
-- The last full pass, and the fingerprint of the rule set that it went by.
ALTER TABLE orgs ADD COLUMN passed_at BIGINT;
ALTER TABLE orgs ADD COLUMN passed_for TEXT;
