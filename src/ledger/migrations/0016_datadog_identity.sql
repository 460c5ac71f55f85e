-- The Datadog organisation that this ledger belongs to: one row, once it is known.
CREATE TABLE datadog_identity (
    id       TEXT   PRIMARY KEY NOT NULL,  -- as Datadog's answer about the keys' user names it
    name     TEXT,
    bound_at BIGINT NOT NULL
);

-- What is ours in other organisations: `teamlink ledger rebind` keeps it, and rebinding back restores it.
CREATE TABLE connections_elsewhere (
    datadog_org     TEXT   NOT NULL,  -- empty where it was never known
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    connection_id   TEXT   NOT NULL,
    org_id          BIGINT NOT NULL,
    team_id         BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    unwanted_since  BIGINT,
    managed_by      TEXT,
    PRIMARY KEY (datadog_org, datadog_team_id, github)
);

CREATE TABLE intents_elsewhere (
    datadog_org     TEXT   NOT NULL,
    org_id          BIGINT NOT NULL,
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    kind            TEXT   NOT NULL,
    team_id         BIGINT NOT NULL,
    fence           BIGINT NOT NULL,
    at              BIGINT NOT NULL,
    managed_by      TEXT,
    written         TEXT,
    connection_id   TEXT,
    answered_at     BIGINT,
    missed_at       BIGINT,
    PRIMARY KEY (datadog_org, datadog_team_id, github)
);
