-- Rows that were disowned though neither a delete of ours nor the end of their Datadog team explained it. The guard counts
-- those of its window.
CREATE TABLE disowned (
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    org_id          BIGINT NOT NULL,
    at              BIGINT NOT NULL,
    PRIMARY KEY (datadog_team_id, github)
);
