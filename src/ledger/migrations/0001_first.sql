-- Times are whole microseconds since 1970 in UTC. Ids of GitHub are numeric, ids of Datadog are opaque text.
-- The SQL here and in the queries stays within what SQLite and PostgreSQL share. Types that they call differently are put
-- in by `database::TYPES`: SERIAL KEY, TEXT, BOOLEAN, BYTES.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);
-- Its lock is held by whoever takes slots for removals.
INSERT INTO meta (name, value) VALUES ('removal_slots', '');

-- Every delivery that was accepted, by its GUID. Bodies are kept only in `parked`.
CREATE TABLE deliveries (
    guid        TEXT PRIMARY KEY NOT NULL,
    event       TEXT NOT NULL,
    action      TEXT NOT NULL,
    org_id      BIGINT,
    team_id     BIGINT,
    received_at BIGINT NOT NULL,
    stored_at   BIGINT NOT NULL,
    times       BIGINT NOT NULL DEFAULT 1,
    outcome     TEXT NOT NULL
);
CREATE INDEX deliveries_stored_at ON deliveries (stored_at);

-- One row a target, for good: its generation never goes back. `due_at` is null while nothing is to be done.
CREATE TABLE marks (
    kind            TEXT   NOT NULL,   -- team | org | document
    org_id          BIGINT NOT NULL,   -- of a document, here and everywhere: -1 github, -2 jira, -3 pagerduty
    team_id         BIGINT NOT NULL,   -- 0 for an org and a document
    generation      BIGINT NOT NULL,
    cause           BIGINT NOT NULL,   -- 0 person, 1 event, 2 pass: the order of work
    due_at          BIGINT,
    first_at        BIGINT,            -- the first request for a look that no look has answered yet
    event_at        BIGINT,            -- the last event
    received_at     BIGINT,            -- when a door took the first event that no look has answered yet
    not_before      BIGINT NOT NULL DEFAULT 0,  -- the floor of a backoff, which a new event does not shorten
    attempts        BIGINT NOT NULL DEFAULT 0,  -- looks in a row that failed while others worked
    failures        BIGINT NOT NULL DEFAULT 0,  -- looks in a row that failed, outages too: how far the backoff is
    last_attempt_at BIGINT,
    last_success_at BIGINT,
    last_error      TEXT,
    last_class      TEXT,              -- the class of that error
    blocked_by      TEXT,              -- what of an upstream fails, as it does for others: due when that works again
    PRIMARY KEY (kind, org_id, team_id)
);
CREATE INDEX marks_due ON marks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX marks_due_of_org ON marks (org_id, kind, cause, due_at) WHERE due_at IS NOT NULL;

-- One writer an organisation. The fence rises with each holder and is checked by everything it stores.
CREATE TABLE leases (
    org_id     BIGINT PRIMARY KEY NOT NULL,
    holder     TEXT   NOT NULL,
    fence      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,                -- 0: given back
    taken_over BOOLEAN NOT NULL DEFAULT FALSE  -- the holder before this one never gave it back
);

-- The mirror of GitHub.
CREATE TABLE orgs (
    org_id      BIGINT PRIMARY KEY NOT NULL,
    login       TEXT   NOT NULL,        -- as GitHub says now
    bound_login TEXT   NOT NULL,        -- as first seen; rules match it too
    seen_at     BIGINT NOT NULL,
    first_pass_at BIGINT,               -- the first full pass that could be made
    orphans     BIGINT NOT NULL DEFAULT 0,  -- as the last full pass found them
    foreigners  BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX orgs_bound_login ON orgs (bound_login);
CREATE TABLE teams (
    org_id           BIGINT NOT NULL,
    team_id          BIGINT NOT NULL,
    slug             TEXT   NOT NULL,
    name             TEXT   NOT NULL,
    parent_id        BIGINT,
    suspected_at     BIGINT,             -- the first of the two looks that prove absence
    gone_at          BIGINT,             -- the second
    seen_at          BIGINT NOT NULL,
    in_step          BOOLEAN NOT NULL,
    waiting          BOOLEAN NOT NULL,   -- a handle that its rule gives does not exist in Datadog
    PRIMARY KEY (org_id, team_id)
);
CREATE INDEX teams_parent ON teams (parent_id);
-- The repositories of linked teams, as GitHub last listed them: an event makes teamlink read few of them again.
CREATE TABLE team_lists (
    org_id       BIGINT NOT NULL,
    team_id      BIGINT NOT NULL,
    repositories TEXT   NOT NULL DEFAULT '',  -- their ids, with spaces between
    read_at      BIGINT,                      -- null: to be read again
    changed_at   BIGINT NOT NULL DEFAULT 0,   -- the last event that told of a change
    PRIMARY KEY (org_id, team_id)
);
-- Kept apart from `teams`: an event may name a team that no look has seen.
CREATE TABLE deleted_events (
    org_id  BIGINT NOT NULL,
    team_id BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (org_id, team_id)
);

-- Connections that we made or adopted: the only ones that may ever be deleted.
CREATE TABLE connections (
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,     -- @org/slug, lower-cased
    connection_id   TEXT   NOT NULL,
    org_id          BIGINT NOT NULL,
    team_id         BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    unwanted_since  BIGINT,              -- the look that first found that its team needs it no more: its grace
    PRIMARY KEY (datadog_team_id, github)
);
CREATE INDEX connections_org ON connections (org_id, team_id);

-- Entries of integration documents that we added: the only ones that are taken back from a list which others write
-- too. They are stored before the PUT that adds them.
CREATE TABLE entries (
    integration   TEXT   NOT NULL,       -- github | jira | pagerduty
    entry         TEXT   NOT NULL,       -- its names, lower-cased
    org_id        BIGINT,                -- of github: its organisation and its repository
    repository_id BIGINT,
    team          TEXT,                  -- of linked teams: the slug of one that had the repository
    suspected_at  BIGINT,                -- the first of the two looks that prove the repository's absence
    added_at      BIGINT NOT NULL,
    PRIMARY KEY (integration, entry)
);
-- The Datadog organisation that a document was first read in: another one is another's key.
CREATE TABLE documents (
    integration    TEXT PRIMARY KEY NOT NULL,
    datadog_org_id BIGINT NOT NULL
);

-- Writes that were about to be sent. One that is still here was interrupted: look before doing anything else.
CREATE TABLE intents (
    org_id          BIGINT NOT NULL,
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    kind            TEXT   NOT NULL,     -- create | delete | adopt
    team_id         BIGINT NOT NULL,
    fence           BIGINT NOT NULL,
    at              BIGINT NOT NULL,
    PRIMARY KEY (datadog_team_id, github)
);
CREATE INDEX intents_org ON intents (org_id);

-- What the guard stopped. A row stays until its action is approved and done, or no longer wanted.
CREATE TABLE held (
    org_id          BIGINT NOT NULL,
    kind            TEXT   NOT NULL,     -- create | delete
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    team_id         BIGINT NOT NULL,     -- 0 for an orphan
    reason          TEXT   NOT NULL,
    since           BIGINT NOT NULL,
    PRIMARY KEY (org_id, kind, datadog_team_id, github)
);

-- Held sets as they were shown to a person, by their hash: newcomers do not spoil a hash that was printed.
CREATE TABLE held_sets (
    hash            TEXT   NOT NULL,
    org_id          BIGINT NOT NULL,
    kind            TEXT   NOT NULL,
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    team_id         BIGINT NOT NULL,
    shown_at        BIGINT NOT NULL,
    PRIMARY KEY (hash, kind, datadog_team_id, github)
);

-- Each approves one action, once.
CREATE TABLE approvals (
    org_id          BIGINT NOT NULL,
    kind            TEXT   NOT NULL,
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    hash            TEXT   NOT NULL,
    reason          TEXT   NOT NULL,
    approved_at     BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    PRIMARY KEY (org_id, kind, datadog_team_id, github)
);

-- What a person has paused: org 0 is everything, team 0 the whole organisation.
CREATE TABLE paused (
    org_id  BIGINT NOT NULL,
    team_id BIGINT NOT NULL,
    since   BIGINT NOT NULL,
    reason  TEXT   NOT NULL,
    PRIMARY KEY (org_id, team_id)
);

-- Removals of everybody within the guard's window; taken before the DELETE is sent.
CREATE TABLE removal_slots (
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    at              BIGINT NOT NULL
);
CREATE INDEX removal_slots_at ON removal_slots (at);

-- What was given up on until a person, a newer event or a full pass tries it again.
CREATE TABLE parked (
    id          SERIAL KEY,
    kind        TEXT   NOT NULL,         -- delivery | action
    subject     TEXT   NOT NULL,         -- its GUID, or the action and its key
    place       TEXT   NOT NULL,         -- where: decode | signature | store | dead_queue, or the action's first word
    class       TEXT   NOT NULL,         -- of the last error
    attempts    BIGINT NOT NULL,         -- how often it was tried in vain
    first_error TEXT   NOT NULL,
    first_at    BIGINT NOT NULL,
    error       TEXT   NOT NULL,         -- the last
    parked_at   BIGINT NOT NULL,
    org_id      BIGINT,                  -- of an action
    team_id     BIGINT,
    guid        TEXT,                    -- of a delivery, with all that it takes to accept it again
    event       TEXT,
    host        TEXT,
    signature   TEXT,
    received_at BIGINT,
    body        BYTES,
    retried     BOOLEAN NOT NULL DEFAULT FALSE  -- one from the dead queue is accepted again once by itself
);
CREATE UNIQUE INDEX parked_delivery ON parked (guid) WHERE kind = 'delivery';
CREATE UNIQUE INDEX parked_action ON parked (org_id, subject) WHERE kind = 'action';

CREATE TABLE audit (
    id              SERIAL KEY,
    at              BIGINT NOT NULL,
    org_id          BIGINT NOT NULL,
    team_id         BIGINT NOT NULL,
    action          TEXT   NOT NULL,
    datadog_team_id TEXT   NOT NULL,
    github          TEXT   NOT NULL,
    connection_id   TEXT,
    cause           TEXT   NOT NULL,
    reason          TEXT   NOT NULL,
    proof           TEXT,
    outcome         TEXT   NOT NULL,
    detail          TEXT,
    events_since    BIGINT,              -- the first delivery that the look answered, if any led to it
    fence           BIGINT NOT NULL
);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_team ON audit (org_id, team_id, at);
