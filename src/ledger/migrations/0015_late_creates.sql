-- The GitHub team as a create writes it: sent again in another case, it might make a second connection.
ALTER TABLE intents ADD COLUMN written TEXT;
-- Creates that nobody answered and whose intent was replaced or closed all the same: they may still arrive.
CREATE TABLE late_creates (
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    sent_at         BIGINT NOT NULL,   -- the last of them, at the latest
    PRIMARY KEY (datadog_team_id, github)
);
