-- Creates that nobody answered and whose intent was replaced or closed all the same: they may still arrive.
CREATE TABLE late_creates (
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    sent_at         BIGINT NOT NULL,   -- the last of them, at the latest
    PRIMARY KEY (datadog_team_id, github)
);
