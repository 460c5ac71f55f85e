-- What shows that a connection is ours, whatever the settings say today: its id, and the mark that it was made under.
ALTER TABLE connections ADD COLUMN managed_by TEXT;     -- null: made by version 0.1.0; the id alone decides
ALTER TABLE intents ADD COLUMN managed_by TEXT;         -- the mark that the create carries
-- What Datadog answered to the write while its lists did not show it yet.
ALTER TABLE intents ADD COLUMN connection_id TEXT;      -- the id in the 201, or the id that the 204 deleted
ALTER TABLE intents ADD COLUMN answered_at BIGINT;
ALTER TABLE intents ADD COLUMN missed_at BIGINT;        -- the first look that read it by its id and did not find it

-- Every mark that this ledger has written under.
CREATE TABLE own_marks (
    managed_by TEXT   PRIMARY KEY NOT NULL,
    since      BIGINT NOT NULL
);

-- A key is global: another organisation that has the login now may want what this one made.
CREATE INDEX connections_github ON connections (github);
