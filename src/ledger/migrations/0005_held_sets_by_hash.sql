-- Held sets as they were shown to a person, one row a set. `held_sets` has one row an action of each set: a set that grew
-- by a hundred actions at a time took hundreds of times as many rows. Only older versions write there now.
CREATE TABLE printed_sets (
    hash     TEXT   NOT NULL,
    org_id   BIGINT NOT NULL,
    actions  TEXT   NOT NULL,            -- as JSON: [{"kind", "datadog_team_id", "github", "team_id"}]
    shown_at BIGINT NOT NULL,            -- the last time
    PRIMARY KEY (hash, org_id)
);
