-- Connections of ours that somebody else removed, once each. They are counted within a day.
CREATE TABLE removed_by_others (
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    connection_id   TEXT   NOT NULL,
    org_id          BIGINT NOT NULL,
    at              BIGINT NOT NULL,   -- when a look first found it gone
    PRIMARY KEY (datadog_team_id, github, connection_id)
);
CREATE INDEX removed_by_others_org ON removed_by_others (org_id, at);
