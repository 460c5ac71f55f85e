
CREATE TABLE _sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

CREATE TABLE approvals (
    org_id bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    datadog_team_id text NOT NULL COLLATE pg_catalog."C",
    github text NOT NULL COLLATE pg_catalog."C",
    hash text NOT NULL COLLATE pg_catalog."C",
    reason text NOT NULL COLLATE pg_catalog."C",
    approved_at bigint NOT NULL,
    expires_at bigint NOT NULL
);

CREATE TABLE audit (
    id bigint NOT NULL,
    at bigint NOT NULL,
    org_id bigint NOT NULL,
    team_id bigint NOT NULL,
    action text NOT NULL COLLATE pg_catalog."C",
    datadog_team_id text NOT NULL COLLATE pg_catalog."C",
    github text NOT NULL COLLATE pg_catalog."C",
    connection_id text COLLATE pg_catalog."C",
    cause text NOT NULL COLLATE pg_catalog."C",
    reason text NOT NULL COLLATE pg_catalog."C",
    proof text COLLATE pg_catalog."C",
    outcome text NOT NULL COLLATE pg_catalog."C",
    detail text COLLATE pg_catalog."C",
    events_since bigint,
    fence bigint NOT NULL
);

ALTER TABLE audit ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE connections (
    datadog_team_id text NOT NULL COLLATE pg_catalog."C",
    github text NOT NULL COLLATE pg_catalog."C",
    connection_id text NOT NULL COLLATE pg_catalog."C",
    org_id bigint NOT NULL,
    team_id bigint NOT NULL,
    created_at bigint NOT NULL,
    unwanted_since bigint
);

CREATE TABLE deleted_events (
    org_id bigint NOT NULL,
    team_id bigint NOT NULL,
    at bigint NOT NULL
);

CREATE TABLE deliveries (
    guid text NOT NULL COLLATE pg_catalog."C",
    event text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL COLLATE pg_catalog."C",
    org_id bigint,
    team_id bigint,
    received_at bigint NOT NULL,
    stored_at bigint NOT NULL,
    times bigint DEFAULT 1 NOT NULL,
    outcome text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE documents (
    integration text NOT NULL COLLATE pg_catalog."C",
    datadog_org_id bigint NOT NULL
);

CREATE TABLE entries (
    integration text NOT NULL COLLATE pg_catalog."C",
    entry text NOT NULL COLLATE pg_catalog."C",
    org_id bigint,
    repository_id bigint,
    team text COLLATE pg_catalog."C",
    suspected_at bigint,
    added_at bigint NOT NULL
);

CREATE TABLE held (
    org_id bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    datadog_team_id text NOT NULL COLLATE pg_catalog."C",
    github text NOT NULL COLLATE pg_catalog."C",
    team_id bigint NOT NULL,
    reason text NOT NULL COLLATE pg_catalog."C",
    since bigint NOT NULL
);

CREATE TABLE held_sets (
    hash text NOT NULL COLLATE pg_catalog."C",
    org_id bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    datadog_team_id text NOT NULL COLLATE pg_catalog."C",
    github text NOT NULL COLLATE pg_catalog."C",
    team_id bigint NOT NULL,
    shown_at bigint NOT NULL
);

CREATE TABLE intents (
    org_id bigint NOT NULL,
    datadog_team_id text NOT NULL COLLATE pg_catalog."C",
    github text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    team_id bigint NOT NULL,
    fence bigint NOT NULL,
    at bigint NOT NULL
);

CREATE TABLE leases (
    org_id bigint NOT NULL,
    holder text NOT NULL COLLATE pg_catalog."C",
    fence bigint NOT NULL,
    expires_at bigint NOT NULL,
    taken_over boolean DEFAULT false NOT NULL
);

CREATE TABLE marks (
    kind text NOT NULL COLLATE pg_catalog."C",
    org_id bigint NOT NULL,
    team_id bigint NOT NULL,
    generation bigint NOT NULL,
    cause bigint NOT NULL,
    due_at bigint,
    first_at bigint,
    event_at bigint,
    received_at bigint,
    not_before bigint DEFAULT 0 NOT NULL,
    attempts bigint DEFAULT 0 NOT NULL,
    failures bigint DEFAULT 0 NOT NULL,
    last_attempt_at bigint,
    last_success_at bigint,
    last_error text COLLATE pg_catalog."C",
    last_class text COLLATE pg_catalog."C",
    blocked_by text COLLATE pg_catalog."C"
);

CREATE TABLE meta (
    name text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE orgs (
    org_id bigint NOT NULL,
    login text NOT NULL COLLATE pg_catalog."C",
    bound_login text NOT NULL COLLATE pg_catalog."C",
    seen_at bigint NOT NULL,
    first_pass_at bigint,
    orphans bigint DEFAULT 0 NOT NULL,
    foreigners bigint DEFAULT 0 NOT NULL
);

CREATE TABLE parked (
    id bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    subject text NOT NULL COLLATE pg_catalog."C",
    place text NOT NULL COLLATE pg_catalog."C",
    class text NOT NULL COLLATE pg_catalog."C",
    attempts bigint NOT NULL,
    first_error text NOT NULL COLLATE pg_catalog."C",
    first_at bigint NOT NULL,
    error text NOT NULL COLLATE pg_catalog."C",
    parked_at bigint NOT NULL,
    org_id bigint,
    team_id bigint,
    guid text COLLATE pg_catalog."C",
    event text COLLATE pg_catalog."C",
    host text COLLATE pg_catalog."C",
    signature text COLLATE pg_catalog."C",
    received_at bigint,
    body bytea,
    retried boolean DEFAULT false NOT NULL
);

ALTER TABLE parked ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME parked_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE paused (
    org_id bigint NOT NULL,
    team_id bigint NOT NULL,
    since bigint NOT NULL,
    reason text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE removal_slots (
    datadog_team_id text NOT NULL COLLATE pg_catalog."C",
    github text NOT NULL COLLATE pg_catalog."C",
    at bigint NOT NULL
);

CREATE TABLE team_lists (
    org_id bigint NOT NULL,
    team_id bigint NOT NULL,
    repositories text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    read_at bigint,
    changed_at bigint DEFAULT 0 NOT NULL
);

CREATE TABLE teams (
    org_id bigint NOT NULL,
    team_id bigint NOT NULL,
    slug text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    parent_id bigint,
    suspected_at bigint,
    gone_at bigint,
    seen_at bigint NOT NULL,
    in_step boolean NOT NULL,
    waiting boolean NOT NULL
);

INSERT INTO _sqlx_migrations VALUES (1, 'first', '2026-11-28 02:36:43.645471+00', true, '\xd7d1e3fe095ddf68d18b49d409d3a239dc4a413de2ff4511ca041abb7698a7f18fd3fd759910d97230d1680d5cb8660d', 26631301);

INSERT INTO approvals VALUES (1000026, 'create', '98718bc2-1b45-4531-88c6-9b188a3bb193', '@globex/beta', '335ef2c3faad', 'beta may begin, CHANGE-3', 1795833431042191, 4949433431042191);
INSERT INTO approvals VALUES (1000001, 'delete', '6dc6d0b7-0b63-479d-b2a7-6f0f3ccad053', '@acme/vault', '8fc8d0a83e1c', 'a short approval', 1795833432298817, 1795833432299817);
INSERT INTO approvals VALUES (1000001, 'delete', '44c9383a-bb1d-4d4b-be8e-a45567df762e', '@acme/legacy', '8c2472392053', 'legacy goes, CHANGE-4', 1795833446405555, 4949433446405555);
INSERT INTO approvals VALUES (1000001, 'delete', '1b4b63c8-eca0-4883-aa6e-991ef487d749', '@acme/ghost', '5efef4ec3ea2', 'the ghost goes, CHANGE-5', 1795833446838693, 4949433446838693);

INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (1, 1795833404130802, -2, 0, 'add_entry', 'integration:jira', 'acme.atlassian.net/Account-7/eng', NULL, 'person', 'it is wanted', NULL, 'done', NULL, NULL, 1);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (2, 1795833404130802, -2, 0, 'add_entry', 'integration:jira', 'acme.atlassian.net/Account-7/ops', NULL, 'person', 'it is wanted', NULL, 'done', NULL, NULL, 1);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (3, 1795833404136076, -3, 0, 'add_entry', 'integration:pagerduty', 'acme', NULL, 'person', 'it is wanted', NULL, 'done', NULL, NULL, 1);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (4, 1795833404136076, -3, 0, 'add_entry', 'integration:pagerduty', 'acme-us', NULL, 'person', 'it is wanted', NULL, 'done', NULL, NULL, 1);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (5, 1795833404293004, 1000001, 1000003, 'create', '1b4b63c8-eca0-4883-aa6e-991ef487d749', '@acme/core', '8eeac9fe-349f-11f1-a158-da7ad0900002', 'pass', '@acme/core has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (6, 1795833404293004, 1000001, 1000004, 'create', '281fc2a5-821b-4f1e-9f8b-35f76fcbe4ee', '@acme/payments', '8f300a65-349f-11f1-8d55-da7ad0900002', 'pass', '@acme/payments has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (7, 1795833404293004, 1000001, 1000005, 'create', '3ec3fea7-5650-4839-a01f-8102f9d5de50', '@acme/search', '8f9dfa42-349f-11f1-8aa0-da7ad0900002', 'pass', '@acme/search has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (8, 1795833404293004, 1000001, 1000006, 'create', 'c484d432-cdb7-4ebe-b814-a1c4705199e1', '@acme/web', '8fe09903-349f-11f1-8d7a-da7ad0900002', 'pass', '@acme/web has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (9, 1795833404293004, 1000001, 1000007, 'create', '0191d044-97e0-47d8-bc6e-63f940299543', '@acme/mobile', '904d906a-349f-11f1-9060-da7ad0900002', 'pass', '@acme/mobile has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (10, 1795833404293004, 1000001, 1000008, 'create', '9e5c796a-c603-4966-8a9e-ed1eeee5506c', '@acme/tools', '90ee344f-349f-11f1-adcd-da7ad0900002', 'pass', '@acme/tools has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (11, 1795833404293004, 1000001, 1000009, 'create', '98718bc2-1b45-4531-88c6-9b188a3bb193', '@acme/beta', '910aa67f-349f-11f1-9412-da7ad0900002', 'pass', '@acme/beta has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (12, 1795833404293004, 1000001, 1000010, 'create', '44c9383a-bb1d-4d4b-be8e-a45567df762e', '@acme/legacy', '91158de4-349f-11f1-a08b-da7ad0900002', 'pass', '@acme/legacy has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (13, 1795833404293004, 1000001, 1000011, 'create', '6dc6d0b7-0b63-479d-b2a7-6f0f3ccad053', '@acme/vault', '92126e89-349f-11f1-8c66-da7ad0900002', 'pass', '@acme/vault has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (14, 1795833404293004, 1000001, 1000012, 'create', '2d65eeed-0490-4356-a848-bfe6f9044ef4', '@acme/gone', '92c279d4-349f-11f1-b8f2-da7ad0900002', 'pass', '@acme/gone has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (15, 1795833404293004, 1000001, 1000013, 'create', '8fed3431-8863-4d7c-9123-4fd15b2598c8', '@acme/suspect', '9310e124-349f-11f1-8899-da7ad0900002', 'pass', '@acme/suspect has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (16, 1795833404293004, 1000001, 1000014, 'create', '766dd62d-dd2e-4064-a361-8e229d336932', '@acme/forgot', '93f8e41c-349f-11f1-a6c6-da7ad0900002', 'pass', '@acme/forgot has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (17, 1795833404293004, 1000001, 1000015, 'create', '9b9e836e-22c0-4413-8f00-f1cf59da71bd', '@acme/undeletable', '94187330-349f-11f1-b740-da7ad0900002', 'pass', '@acme/undeletable has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (18, 1795833404293004, 1000001, 1000020, 'create', 'e7e2a038-bfac-48f9-b9dd-eea9ab349cd2', '@acme/frozen', '9443ac12-349f-11f1-8724-da7ad0900002', 'pass', '@acme/frozen has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (19, 1795833404293004, 1000001, 1000021, 'create', '9fb5f17d-1dfc-4d0f-a04f-16374ed3fe65', '@acme/platform', '94d404c1-349f-11f1-a3a6-da7ad0900002', 'pass', '@acme/platform has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (20, 1795833404293004, 1000001, 1000022, 'create', '9fb5f17d-1dfc-4d0f-a04f-16374ed3fe65', '@acme/platform-api', '94d8b40a-349f-11f1-b8e4-da7ad0900002', 'pass', '@acme/platform-api has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (21, 1795833404293004, 1000001, 1000022, 'create', 'ca6b6a97-2981-4746-a01d-3834b1942c9c', '@acme/platform-api', '94f4a42f-349f-11f1-bee4-da7ad0900002', 'pass', '@acme/platform-api has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (22, 1795833404330530, -1, 0, 'add_entry', 'integration:github', '127.0.0.1/acme/app', NULL, 'pass', 'it is wanted', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (23, 1795833404330530, -1, 0, 'add_entry', 'integration:github', '127.0.0.1/acme/doomed', NULL, 'pass', 'it is wanted', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (24, 1795833404330530, -1, 0, 'add_entry', 'integration:github', '127.0.0.1/acme/shop', NULL, 'pass', 'it is wanted', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (25, 1795833404984710, 1000033, 1000035, 'create', '7e5aa2d8-3396-4cfa-a098-2a30d5eb232a', '@initech/ops', '9511af0e-349f-11f1-bcb9-da7ad0900002', 'pass', '@initech/ops has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (26, 1795833404984710, 1000033, 1000036, 'create', '020ee81c-ec83-497d-9e22-3c34975a3c5b', '@initech/dev', '95193e93-349f-11f1-ad11-da7ad0900002', 'pass', '@initech/dev has no connection with this Datadog team', NULL, 'done', NULL, NULL, 2);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (27, 1795833405883834, 1000001, 1000037, 'create_team', 'newbie', '', 'b7f3218c-303d-4ba1-bf1f-d5594ecc8dd3', 'pass', 'its rule names a handle that Datadog does not have', NULL, 'done', NULL, NULL, 4);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (28, 1795833405911893, 1000001, 1000037, 'create', 'b7f3218c-303d-4ba1-bf1f-d5594ecc8dd3', '@acme/newbie', '95494a9b-349f-11f1-a392-da7ad0900002', 'pass', '@acme/newbie has no connection with this Datadog team', NULL, 'done', NULL, NULL, 5);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (29, 1795833406853573, 1000001, 1000009, 'pass_on', '9e5c796a-c603-4966-8a9e-ed1eeee5506c', '@acme/tools', '90ee344f-349f-11f1-adcd-da7ad0900002', 'pass', '@acme/tools is its handle now', NULL, 'done', NULL, NULL, 7);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (31, 1795833406853573, 1000001, 1000009, 'delete', '98718bc2-1b45-4531-88c6-9b188a3bb193', '@acme/beta', '910aa67f-349f-11f1-9412-da7ad0900002', 'pass', 'the GitHub team is @acme/tools now', 'its id reads back as @acme/tools', 'done', NULL, NULL, 7);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (30, 1795833406853573, 1000001, 1000014, 'forget', '766dd62d-dd2e-4064-a361-8e229d336932', '@acme/forgot', NULL, 'pass', 'somebody made the connection anew; it is no longer ours', NULL, 'done', NULL, NULL, 7);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (32, 1795833409994833, 1000001, 1000012, 'delete', '2d65eeed-0490-4356-a848-bfe6f9044ef4', '@acme/gone', '92c279d4-349f-11f1-b8f2-da7ad0900002', 'pass', 'the GitHub team is gone', '404 by id at 2026-11-28T02:36:46Z and at 2026-11-28T02:36:49Z, while its org and the org''s list answered', 'done', NULL, NULL, 9);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (33, 1795833411449172, 1000001, 1000038, 'create', 'd443b994-532d-4f46-9fe1-b19962c448dd', '@acme/lost', NULL, 'pass', '@acme/lost has no connection with this Datadog team', NULL, 'unknown', 'failed to create 1 team connection: error sending request: client error (SendRequest): connection error: Connection reset by peer (os error 104)', NULL, 12);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (34, 1795833411579516, 1000001, 1000038, 'create', 'd443b994-532d-4f46-9fe1-b19962c448dd', '@acme/lost', '966206ae-349f-11f1-b860-da7ad0900002', 'pass', 'an interrupted create of ours had been carried out', NULL, 'already', NULL, NULL, 13);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (35, 1795833412932911, -1, 0, 'remove_entry', 'integration:github', '127.0.0.1/acme/shop', NULL, 'person', 'no linked team has acme/Shop', NULL, 'done', NULL, NULL, 13);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (36, 1795833412986013, 1000001, 1000039, 'create', '95de0486-9de6-487c-a662-0702dc613c09', '@acme/refused', NULL, 'pass', '@acme/refused has no connection with this Datadog team', NULL, 'parked', 'failed to create 1 team connection: Datadog answered 400 Bad Request: Bad Request', NULL, 17);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (37, 1795833415874528, 1000001, 1000015, 'delete', '9b9e836e-22c0-4413-8f00-f1cf59da71bd', '@acme/undeletable', '94187330-349f-11f1-b740-da7ad0900002', 'pass', 'the GitHub team is gone', NULL, 'parked', 'failed to delete 1 team connection: Datadog answered 400 Bad Request: Bad Request', NULL, 18);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (38, 1795833415929107, 1000001, 1000039, 'create', '95de0486-9de6-487c-a662-0702dc613c09', '@acme/refused', NULL, 'pass', '@acme/refused has no connection with this Datadog team', NULL, 'parked', 'failed to create 1 team connection: Datadog answered 400 Bad Request: Bad Request', NULL, 19);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (39, 1795833415929107, 1000001, 1000015, 'delete', '9b9e836e-22c0-4413-8f00-f1cf59da71bd', '@acme/undeletable', '94187330-349f-11f1-b740-da7ad0900002', 'pass', 'the GitHub team is gone', NULL, 'parked', 'failed to delete 1 team connection: Datadog answered 400 Bad Request: Bad Request', NULL, 19);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (40, 1795833416726364, 1000001, 1000039, 'create', '95de0486-9de6-487c-a662-0702dc613c09', '@acme/refused', NULL, 'pass', '@acme/refused has no connection with this Datadog team', NULL, 'parked', 'failed to create 1 team connection: Datadog answered 400 Bad Request: Bad Request', NULL, 21);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (41, 1795833416726364, 1000001, 1000015, 'delete', '9b9e836e-22c0-4413-8f00-f1cf59da71bd', '@acme/undeletable', '94187330-349f-11f1-b740-da7ad0900002', 'pass', 'the GitHub team is gone', NULL, 'parked', 'failed to delete 1 team connection: Datadog answered 400 Bad Request: Bad Request', NULL, 21);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (42, 1795833418715279, 1000001, 1000039, 'create', '95de0486-9de6-487c-a662-0702dc613c09', '@acme/refused', NULL, 'pass', '@acme/refused has no connection with this Datadog team', NULL, 'parked', 'failed to create 1 team connection: Datadog answered 400 Bad Request: Bad Request', NULL, 24);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (43, 1795833418715279, 1000001, 1000015, 'delete', '9b9e836e-22c0-4413-8f00-f1cf59da71bd', '@acme/undeletable', '94187330-349f-11f1-b740-da7ad0900002', 'pass', 'the GitHub team is gone', NULL, 'parked', 'failed to delete 1 team connection: Datadog answered 400 Bad Request: Bad Request', NULL, 24);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (44, 1795833419752348, 1000001, 1000041, 'create', '0f77654c-689c-4946-8ee8-26c9904eb254', '@acme/unread', '97a75a7d-349f-11f1-9d31-da7ad0900002', 'event', '@acme/unread has no connection with this Datadog team', NULL, 'done', NULL, 1795833417755375, 25);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (45, 1795833426953293, 1000026, 1000028, 'approve', '8880a795-da1f-4653-88e3-ac77104c6c9a', '@globex/alpha', NULL, 'person', 'alpha may begin, CHANGE-1', NULL, 'done', 'create approved as part of 1a1b78ed7821', NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (46, 1795833427792186, 1000026, 1000028, 'create', '8880a795-da1f-4653-88e3-ac77104c6c9a', '@globex/alpha', '9801c0ff-349f-11f1-81e1-da7ad0900002', 'person', '@globex/alpha has no connection with this Datadog team', NULL, 'done', NULL, NULL, 3);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (47, 1795833428251517, 1000001, 1000020, 'pause', '', '', NULL, 'person', 're-organisation, CHANGE-2', NULL, 'done', NULL, NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (48, 1795833428759288, 1000001, 1000006, 'pause', '', '', NULL, 'person', '', NULL, 'done', NULL, NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (49, 1795833429305630, 1000001, 1000006, 'resume', '', '', NULL, 'person', 'not needed', NULL, 'done', NULL, NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (50, 1795833429880099, 1000026, 0, 'pause', '', '', NULL, 'person', 'waits for its owner', NULL, 'done', NULL, NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (51, 1795833431042191, 1000026, 1000029, 'approve', '98718bc2-1b45-4531-88c6-9b188a3bb193', '@globex/beta', NULL, 'person', 'beta may begin, CHANGE-3', NULL, 'done', 'create approved as part of 335ef2c3faad', NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (52, 1795833432298817, 1000001, 1000011, 'approve', '6dc6d0b7-0b63-479d-b2a7-6f0f3ccad053', '@acme/vault', NULL, 'person', 'a short approval', NULL, 'done', 'delete approved as part of 8fc8d0a83e1c', NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (53, 1795833433123353, 0, 0, 'discard', '', '', NULL, 'person', 'a scanner', NULL, 'done', 'delivery 11111111-0000-4000-8000-000000000005: failed to decode a `team` event: not JSON: key must be a string at line 1 column 22', NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (54, 1795833433687480, 0, 0, 'replay', '', '', NULL, 'person', 'secret corrected', NULL, 'parked', 'delivery 11111111-0000-4000-8000-000000000006: its signature matches none of the webhook secrets set here', NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (55, 1795833434349117, 1000001, 1000039, 'replay', '', '', NULL, 'person', 'once more', NULL, 'done', 'action create @acme/refused = 95de0486-9de6-487c-a662-0702dc613c09: failed to create 1 team connection: Datadog answered 400 Bad Request: Bad Request', NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (56, 1795833435233921, 1000001, 1000016, 'adopt', '7bf65c3f-b860-46bd-a9fc-d8639f6e17dc', '@acme/taken', '8cdbea53-349f-11f1-874b-da7ad0900002', 'person', 'taken over from terraform', NULL, 'begun', 'deleted to be made again: 8cdbea53-349f-11f1-874b-da7ad0900002, managed by terraform', NULL, 29);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (57, 1795833435265814, 1000001, 1000016, 'create', '7bf65c3f-b860-46bd-a9fc-d8639f6e17dc', '@acme/taken', '98814a64-349f-11f1-a930-da7ad0900002', 'person', '@acme/taken has no connection with this Datadog team', NULL, 'done', NULL, NULL, 29);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (58, 1795833436217883, 1000001, 1000018, 'adopt', '60cb5db7-bb2b-482d-9602-fc978b94941f', '@acme/failing', '8dbbd5ad-349f-11f1-bcfc-da7ad0900002', 'person', 'taken over from terraform', NULL, 'begun', 'deleted to be made again: 8dbbd5ad-349f-11f1-bcfc-da7ad0900002, managed by terraform', NULL, 30);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (59, 1795833436235746, 1000001, 1000018, 'adopt', '60cb5db7-bb2b-482d-9602-fc978b94941f', '@acme/failing', '8dbbd5ad-349f-11f1-bcfc-da7ad0900002', 'person', 'taken over from terraform', NULL, 'failed', 'failed to delete 1 team connection: Datadog answered 400 Bad Request: Bad Request', NULL, 30);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (60, 1795833437241817, 1000001, 1000039, 'create', '95de0486-9de6-487c-a662-0702dc613c09', '@acme/refused', NULL, 'person', '@acme/refused has no connection with this Datadog team', NULL, 'parked', 'failed to create 1 team connection: Datadog answered 400 Bad Request: Bad Request', NULL, 31);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (61, 1795833446405555, 1000001, 1000010, 'approve', '44c9383a-bb1d-4d4b-be8e-a45567df762e', '@acme/legacy', NULL, 'person', 'legacy goes, CHANGE-4', NULL, 'done', 'delete approved as part of 8c2472392053', NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (62, 1795833446838693, 1000001, 0, 'approve', '1b4b63c8-eca0-4883-aa6e-991ef487d749', '@acme/ghost', NULL, 'person', 'the ghost goes, CHANGE-5', NULL, 'done', 'delete approved as part of 5efef4ec3ea2', NULL, 0);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (63, 1795833475242231, 1000001, 1000017, 'adopt', 'a2b487b0-36ba-4bf7-aa55-657a940c64c5', '@acme/takeover', '8d12ef8d-349f-11f1-9397-da7ad0900002', 'person', 'taken over from terraform', NULL, 'begun', 'deleted to be made again: 8d12ef8d-349f-11f1-9397-da7ad0900002, managed by terraform', NULL, 37);
INSERT INTO audit OVERRIDING SYSTEM VALUE VALUES (64, 1795833476669338, 0, 0, 'pause', '', '', NULL, 'person', 'migration, CHANGE-6', NULL, 'done', NULL, NULL, 0);

INSERT INTO connections VALUES ('1b4b63c8-eca0-4883-aa6e-991ef487d749', '@acme/core', '8eeac9fe-349f-11f1-a158-da7ad0900002', 1000001, 1000003, 1795833404293004, NULL);
INSERT INTO connections VALUES ('281fc2a5-821b-4f1e-9f8b-35f76fcbe4ee', '@acme/payments', '8f300a65-349f-11f1-8d55-da7ad0900002', 1000001, 1000004, 1795833404293004, NULL);
INSERT INTO connections VALUES ('3ec3fea7-5650-4839-a01f-8102f9d5de50', '@acme/search', '8f9dfa42-349f-11f1-8aa0-da7ad0900002', 1000001, 1000005, 1795833404293004, NULL);
INSERT INTO connections VALUES ('44c9383a-bb1d-4d4b-be8e-a45567df762e', '@acme/legacy', '91158de4-349f-11f1-a08b-da7ad0900002', 1000001, 1000010, 1795833404293004, NULL);
INSERT INTO connections VALUES ('6dc6d0b7-0b63-479d-b2a7-6f0f3ccad053', '@acme/vault', '92126e89-349f-11f1-8c66-da7ad0900002', 1000001, 1000011, 1795833404293004, NULL);
INSERT INTO connections VALUES ('8fed3431-8863-4d7c-9123-4fd15b2598c8', '@acme/suspect', '9310e124-349f-11f1-8899-da7ad0900002', 1000001, 1000013, 1795833404293004, NULL);
INSERT INTO connections VALUES ('9b9e836e-22c0-4413-8f00-f1cf59da71bd', '@acme/undeletable', '94187330-349f-11f1-b740-da7ad0900002', 1000001, 1000015, 1795833404293004, NULL);
INSERT INTO connections VALUES ('9fb5f17d-1dfc-4d0f-a04f-16374ed3fe65', '@acme/platform', '94d404c1-349f-11f1-a3a6-da7ad0900002', 1000001, 1000021, 1795833404293004, NULL);
INSERT INTO connections VALUES ('9fb5f17d-1dfc-4d0f-a04f-16374ed3fe65', '@acme/platform-api', '94d8b40a-349f-11f1-b8e4-da7ad0900002', 1000001, 1000022, 1795833404293004, NULL);
INSERT INTO connections VALUES ('c484d432-cdb7-4ebe-b814-a1c4705199e1', '@acme/web', '8fe09903-349f-11f1-8d7a-da7ad0900002', 1000001, 1000006, 1795833404293004, NULL);
INSERT INTO connections VALUES ('ca6b6a97-2981-4746-a01d-3834b1942c9c', '@acme/platform-api', '94f4a42f-349f-11f1-bee4-da7ad0900002', 1000001, 1000022, 1795833404293004, NULL);
INSERT INTO connections VALUES ('e7e2a038-bfac-48f9-b9dd-eea9ab349cd2', '@acme/frozen', '9443ac12-349f-11f1-8724-da7ad0900002', 1000001, 1000020, 1795833404293004, NULL);
INSERT INTO connections VALUES ('020ee81c-ec83-497d-9e22-3c34975a3c5b', '@initech/dev', '95193e93-349f-11f1-ad11-da7ad0900002', 1000033, 1000036, 1795833404984710, NULL);
INSERT INTO connections VALUES ('7e5aa2d8-3396-4cfa-a098-2a30d5eb232a', '@initech/ops', '9511af0e-349f-11f1-bcb9-da7ad0900002', 1000033, 1000035, 1795833404984710, NULL);
INSERT INTO connections VALUES ('b7f3218c-303d-4ba1-bf1f-d5594ecc8dd3', '@acme/newbie', '95494a9b-349f-11f1-a392-da7ad0900002', 1000001, 1000037, 1795833405911893, NULL);
INSERT INTO connections VALUES ('9e5c796a-c603-4966-8a9e-ed1eeee5506c', '@acme/tools', '90ee344f-349f-11f1-adcd-da7ad0900002', 1000001, 1000009, 1795833404293004, NULL);
INSERT INTO connections VALUES ('d443b994-532d-4f46-9fe1-b19962c448dd', '@acme/lost', '966206ae-349f-11f1-b860-da7ad0900002', 1000001, 1000038, 1795833411579516, NULL);
INSERT INTO connections VALUES ('0191d044-97e0-47d8-bc6e-63f940299543', '@acme/mobile', '904d906a-349f-11f1-9060-da7ad0900002', 1000001, 1000007, 1795833404293004, 1795833416678990);
INSERT INTO connections VALUES ('0f77654c-689c-4946-8ee8-26c9904eb254', '@acme/unread', '97a75a7d-349f-11f1-9d31-da7ad0900002', 1000001, 1000041, 1795833419752348, NULL);
INSERT INTO connections VALUES ('8880a795-da1f-4653-88e3-ac77104c6c9a', '@globex/alpha', '9801c0ff-349f-11f1-81e1-da7ad0900002', 1000026, 1000028, 1795833427792186, NULL);
INSERT INTO connections VALUES ('7bf65c3f-b860-46bd-a9fc-d8639f6e17dc', '@acme/taken', '98814a64-349f-11f1-a930-da7ad0900002', 1000001, 1000016, 1795833435265814, NULL);

INSERT INTO deleted_events VALUES (1000001, 1000005, 1795833419926665);

INSERT INTO deliveries VALUES ('4ed3fe65-74ca-4b6a-9729-816746601d38', 'team', 'created', 1000001, 1000041, 1795833417755375, 1795833417755503, 1, 'stored');
INSERT INTO deliveries VALUES ('11111111-0000-4000-8000-000000000001', 'team', 'edited', 1000001, 1000003, 1795833419815502, 1795833419832417, 2, 'stored');
INSERT INTO deliveries VALUES ('11111111-0000-4000-8000-000000000002', 'star', 'created', NULL, NULL, 1795833419850537, 1795833419850655, 1, 'ignored');
INSERT INTO deliveries VALUES ('11111111-0000-4000-8000-000000000003', 'team', 'created', 6, 5, 1795833419865719, 1795833419865857, 1, 'ignored');
INSERT INTO deliveries VALUES ('11111111-0000-4000-8000-000000000004', 'team', '', NULL, NULL, 1795833419882470, 1795833419882614, 1, 'parked');
INSERT INTO deliveries VALUES ('11111111-0000-4000-8000-000000000005', 'team', '', NULL, NULL, 1795833419900336, 1795833419900452, 1, 'parked');
INSERT INTO deliveries VALUES ('34b1942c-9c03-45de-8486-9de6687ca662', 'team', 'deleted', 1000001, 1000005, 1795833419926665, 1795833419926738, 1, 'stored');
INSERT INTO deliveries VALUES ('0702dc61-3c09-4dd4-83b9-94532dbf465f', 'membership', 'added', 1000001, NULL, 1795833419943033, 1795833419943088, 1, 'ignored');
INSERT INTO deliveries VALUES ('e1b19962-c448-4d4c-8f77-654c689c5946', 'team', 'edited', 1000001, 1000041, 1795833419977681, 1795833419977783, 1, 'stored');
INSERT INTO deliveries VALUES ('4ee826c9-904e-4254-900b-a82a15fbddef', 'team', 'edited', 1000001, 1000003, 1795833419987977, 1795833419989002, 1, 'stored');
INSERT INTO deliveries VALUES ('ab0c30a6-21fc-479e-9b6f-8880a795da1f', 'team', 'edited', 1000001, 1000041, 1795833423045584, 1795833423045727, 1, 'stored');
INSERT INTO deliveries VALUES ('765388e3-ac77-404c-ac9a-d30162a0b6fa', 'team', 'edited', 1000001, 1000003, 1795833423050475, 1795833423050535, 1, 'stored');
INSERT INTO deliveries VALUES ('ea791a39-4cba-46ec-aa1a-90fd14d111ba', 'repository', 'archived', 1000001, NULL, 1795833426134757, 1795833426134854, 1, 'stored');
INSERT INTO deliveries VALUES ('11111111-0000-4000-8000-000000000006', 'team', '', NULL, NULL, 1795833419915189, 1795833433684339, 2, 'parked');
INSERT INTO deliveries VALUES ('bc6fb928-1cd7-4818-866d-001cf482e21f', 'team', 'edited', 1000001, 1000006, 1795833437059331, 1795833437059468, 1, 'stored');
INSERT INTO deliveries VALUES ('e8a3f904-f053-4d03-9308-47517bbf7e5a', 'team', 'edited', 1000001, 1000004, 1795833437077435, 1795833437077555, 1, 'stored');
INSERT INTO deliveries VALUES ('a2d83396-ccfa-4098-aa30-d5eb232a2aae', 'team', 'edited', 1000001, 1000006, 1795833440141771, 1795833440141873, 1, 'stored');
INSERT INTO deliveries VALUES ('41bbbafa-b7df-4c69-a905-bbbedcd4cfd7', 'team', 'edited', 1000001, 1000004, 1795833440156184, 1795833440156264, 1, 'stored');
INSERT INTO deliveries VALUES ('020ee81c-ec83-497d-9e22-3c34975a3c5b', 'repository', 'unarchived', 1000001, NULL, 1795833443289615, 1795833443289781, 1, 'stored');
INSERT INTO deliveries VALUES ('ccebba4b-a5cc-4709-a1fc-05896862b4cc', 'team', 'created', 1000001, 1000042, 1795833443370650, 1795833443370773, 1, 'stored');
INSERT INTO deliveries VALUES ('e837dfa8-e286-4f1c-aa52-9979afd4f7e2', 'team', 'edited', 1000001, 1000003, 1795833444500679, 1795833444500883, 1, 'stored');
INSERT INTO deliveries VALUES ('22222222-0000-4000-8000-000000000007', 'team', '', NULL, NULL, 1795833476792301, 1795833476793201, 1, 'parked');
INSERT INTO deliveries VALUES ('22222222-0000-4000-8000-000000000008', 'team', '', NULL, NULL, 1795833476792301, 1795833476793201, 1, 'parked');
INSERT INTO deliveries VALUES ('22222222-0000-4000-8000-000000000009', 'team', '', NULL, NULL, 1795833476792301, 1795833476793201, 1, 'parked');

INSERT INTO documents VALUES ('jira', 321813);
INSERT INTO documents VALUES ('pagerduty', 321813);
INSERT INTO documents VALUES ('github', 321813);

INSERT INTO entries VALUES ('pagerduty', 'acme', NULL, NULL, NULL, NULL, 1795833404129417);
INSERT INTO entries VALUES ('pagerduty', 'acme-us', NULL, NULL, NULL, NULL, 1795833404129417);
INSERT INTO entries VALUES ('jira', 'acme.atlassian.net/Account-7/eng', NULL, NULL, NULL, NULL, 1795833404125754);
INSERT INTO entries VALUES ('jira', 'acme.atlassian.net/Account-7/ops', NULL, NULL, NULL, NULL, 1795833404125754);
INSERT INTO entries VALUES ('github', '127.0.0.1/acme/app', 1000001, 1000023, 'core', NULL, 1795833404325909);
INSERT INTO entries VALUES ('github', '127.0.0.1/acme/doomed', 1000001, 1000024, 'core', 1795833416587262, 1795833404325909);

INSERT INTO held VALUES (1000001, 'delete', '1b4b63c8-eca0-4883-aa6e-991ef487d749', '@acme/ghost', 0, 'it has our mark, but this ledger does not know it', 1795833404259094);
INSERT INTO held VALUES (1000001, 'delete', '281fc2a5-821b-4f1e-9f8b-35f76fcbe4ee', '@acme/phantom', 0, 'it has our mark, but this ledger does not know it', 1795833416555941);
INSERT INTO held VALUES (1000026, 'create', '0162a0b6-faea-491a-b94c-ba86ec6a1a90', '@globex/gamma', 1000030, 'the 5 creates of the org''s first pass exceed `guard.first_creates` (3)', 1795833417620881);
INSERT INTO held VALUES (1000026, 'create', '14d111ba-bc6f-4928-9cd7-5818466d001c', '@globex/delta', 1000031, 'the 5 creates of the org''s first pass exceed `guard.first_creates` (3)', 1795833417620881);
INSERT INTO held VALUES (1000026, 'create', '82e21fe8-a3f9-44f0-936d-03d30847517b', '@globex/epsilon', 1000032, 'the 5 creates of the org''s first pass exceed `guard.first_creates` (3)', 1795833417620881);
INSERT INTO held VALUES (1000026, 'create', '98718bc2-1b45-4531-88c6-9b188a3bb193', '@globex/beta', 1000029, 'the 5 creates of the org''s first pass exceed `guard.first_creates` (3)', 1795833417620881);
INSERT INTO held VALUES (1000001, 'delete', '44c9383a-bb1d-4d4b-be8e-a45567df762e', '@acme/legacy', 1000010, 'no change in GitHub caused it', 1795833416726364);
INSERT INTO held VALUES (1000001, 'delete', '6dc6d0b7-0b63-479d-b2a7-6f0f3ccad053', '@acme/vault', 1000011, '@acme/vault is protected by `policy.protected`', 1795833415874528);
INSERT INTO held VALUES (-2, 'delete', 'integration:jira', 'acme.atlassian.net/Account-7/eng', 0, 'it would leave the list empty, which may mean all', 1795833416719813);
INSERT INTO held VALUES (-2, 'delete', 'integration:jira', 'acme.atlassian.net/Account-7/ops', 0, 'it would leave the list empty, which may mean all', 1795833416719813);

INSERT INTO held_sets VALUES ('37157e1ec7b8', -2, 'delete', 'integration:jira', 'acme.atlassian.net/Account-7/eng', 0, 1795833448026470);
INSERT INTO held_sets VALUES ('37157e1ec7b8', -2, 'delete', 'integration:jira', 'acme.atlassian.net/Account-7/ops', 0, 1795833448026470);
INSERT INTO held_sets VALUES ('ad9df9d0e236', 1000001, 'delete', '1b4b63c8-eca0-4883-aa6e-991ef487d749', '@acme/ghost', 0, 1795833415947761);
INSERT INTO held_sets VALUES ('ad9df9d0e236', 1000001, 'delete', '6dc6d0b7-0b63-479d-b2a7-6f0f3ccad053', '@acme/vault', 1000011, 1795833415947761);
INSERT INTO held_sets VALUES ('afbdbe44405b', 1000001, 'delete', '1b4b63c8-eca0-4883-aa6e-991ef487d749', '@acme/ghost', 0, 1795833416564973);
INSERT INTO held_sets VALUES ('afbdbe44405b', 1000001, 'delete', '281fc2a5-821b-4f1e-9f8b-35f76fcbe4ee', '@acme/phantom', 0, 1795833416564973);
INSERT INTO held_sets VALUES ('afbdbe44405b', 1000001, 'delete', '6dc6d0b7-0b63-479d-b2a7-6f0f3ccad053', '@acme/vault', 1000011, 1795833416564973);
INSERT INTO held_sets VALUES ('f58376dc48d9', 1000026, 'create', '0162a0b6-faea-491a-b94c-ba86ec6a1a90', '@globex/gamma', 1000030, 1795833418679747);
INSERT INTO held_sets VALUES ('f58376dc48d9', 1000026, 'create', '14d111ba-bc6f-4928-9cd7-5818466d001c', '@globex/delta', 1000031, 1795833418679747);
INSERT INTO held_sets VALUES ('f58376dc48d9', 1000026, 'create', '82e21fe8-a3f9-44f0-936d-03d30847517b', '@globex/epsilon', 1000032, 1795833418679747);
INSERT INTO held_sets VALUES ('f58376dc48d9', 1000026, 'create', '8880a795-da1f-4653-88e3-ac77104c6c9a', '@globex/alpha', 1000028, 1795833418679747);
INSERT INTO held_sets VALUES ('f58376dc48d9', 1000026, 'create', '98718bc2-1b45-4531-88c6-9b188a3bb193', '@globex/beta', 1000029, 1795833418679747);
INSERT INTO held_sets VALUES ('74859f3ec52d', 1000001, 'delete', '1b4b63c8-eca0-4883-aa6e-991ef487d749', '@acme/ghost', 0, 1795833437269301);
INSERT INTO held_sets VALUES ('74859f3ec52d', 1000001, 'delete', '281fc2a5-821b-4f1e-9f8b-35f76fcbe4ee', '@acme/phantom', 0, 1795833437269301);
INSERT INTO held_sets VALUES ('74859f3ec52d', 1000001, 'delete', '44c9383a-bb1d-4d4b-be8e-a45567df762e', '@acme/legacy', 1000010, 1795833437269301);
INSERT INTO held_sets VALUES ('74859f3ec52d', 1000001, 'delete', '6dc6d0b7-0b63-479d-b2a7-6f0f3ccad053', '@acme/vault', 1000011, 1795833437269301);

INSERT INTO intents VALUES (1000001, '0ba82a15-fbdd-4fab-8c30-a621fcb79e5b', '@acme/late', 'create', 1000042, 36, 1795833444399252);
INSERT INTO intents VALUES (1000033, 'ae41bbba-fab7-4f2c-a9e9-05bbbedcd4cf', '@initech/operations', 'create', 1000035, 6, 1795833448066575);
INSERT INTO intents VALUES (1000033, '7e5aa2d8-3396-4cfa-a098-2a30d5eb232a', '@initech/ops', 'delete', 1000035, 6, 1795833448075066);
INSERT INTO intents VALUES (1000001, 'a2b487b0-36ba-4bf7-aa55-657a940c64c5', '@acme/takeover', 'adopt', 1000017, 37, 1795833475242231);

INSERT INTO leases VALUES (1000001, 'command:0d636ec6-6e86-46ac-9dcd-07ff4767e2c4', 37, 1795833505230529, true);
INSERT INTO leases VALUES (1000026, 'daemon:b740db77-72c8-4a6b-9237-ff2711f6153e', 4, 0, false);
INSERT INTO leases VALUES (-3, 'command:2036358b-68ae-4292-83ed-098fae2c7f95', 12, 0, false);
INSERT INTO leases VALUES (-2, 'command:2036358b-68ae-4292-83ed-098fae2c7f95', 12, 0, false);
INSERT INTO leases VALUES (1000033, 'command:2036358b-68ae-4292-83ed-098fae2c7f95', 6, 1795833478053952, false);
INSERT INTO leases VALUES (-1, 'command:2036358b-68ae-4292-83ed-098fae2c7f95', 21, 0, false);

INSERT INTO marks VALUES ('team', 1000001, 1000042, 2, 1, 1795833443370773, 1795833443370773, 1795833443370773, 1795833443370650, 0, 0, 0, NULL, NULL, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000017, 3, 0, 1795833475242231, 1795833475242231, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000012, 3, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833410074915, 1795833410074915, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000014, 4, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000041, 3, 1, NULL, NULL, 1795833423045727, NULL, 0, 1, 0, 1795833424071243, 1795833424071243, NULL, NULL, NULL);
INSERT INTO marks VALUES ('org', 1000026, 0, 1, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833417620881, 1795833417620881, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000033, 1000036, 2, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418657549, 1795833418657549, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000026, 1000030, 1, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418674365, 1795833418674365, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000026, 1000031, 1, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418674365, 1795833418674365, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000026, 1000032, 1, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418674365, 1795833418674365, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000007, 3, 2, 1795837016678990, NULL, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000008, 3, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000009, 3, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000013, 3, 2, 1795837016685792, NULL, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000015, 5, 2, NULL, NULL, NULL, NULL, 0, 4, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000019, 2, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000020, 2, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000021, 2, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000022, 2, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000037, 3, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000038, 3, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000005, 3, 1, 1795833449926738, NULL, 1795833419926738, NULL, 0, 0, 0, 1795833425089982, 1795833425089982, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000026, 1000028, 2, 0, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833427792186, 1795833427792186, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000011, 6, 0, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833437241817, 1795833437241817, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000039, 5, 0, NULL, NULL, NULL, NULL, 0, 6, 0, 1795833437241817, 1795833437241817, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000018, 3, 0, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833437241817, 1795833437241817, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000016, 4, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833437241817, 1795833437241817, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000040, 3, 2, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833437241817, 1795833437241817, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000026, 1000029, 2, 0, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833437417878, 1795833437417878, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000004, 4, 1, 1795833445156264, NULL, 1795833440156264, NULL, 0, 0, 0, 1795833441178743, 1795833441178743, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000006, 5, 1, 1795833443525156, 1795833440141873, 1795833440141873, 1795833440141771, 1795833443349339, 1, 3, 1795833443249426, 1795833437241817, 'failed to read team 1000006 of organisation 1000001: GitHub answered 500 Internal Server Error: Internal Server Error', 'transient', 'github:teams:read');
INSERT INTO marks VALUES ('team', 1000001, 1000003, 7, 1, 1795833445500883, 1795833444500883, 1795833444500883, 1795833444500679, 0, 0, 0, 1795833437241817, 1795833437241817, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000001, 1000010, 4, 0, 1795833446405555, 1795833446405555, NULL, NULL, 0, 0, 0, 1795833418715279, 1795833418715279, NULL, NULL, NULL);
INSERT INTO marks VALUES ('org', 1000001, 0, 10, 2, 1795833446838693, 1795833446838693, NULL, NULL, 0, 0, 0, 1795833417610500, 1795833417610500, NULL, NULL, NULL);
INSERT INTO marks VALUES ('document', -3, 0, 13, 0, NULL, NULL, NULL, NULL, 0, 4, 0, 1795833447840772, 1795833447840772, NULL, NULL, NULL);
INSERT INTO marks VALUES ('document', -2, 0, 13, 0, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833448021064, 1795833448021064, NULL, NULL, NULL);
INSERT INTO marks VALUES ('org', 1000033, 0, 3, 0, NULL, NULL, NULL, NULL, 0, 0, 0, 1795833448035816, 1795833448035816, NULL, NULL, NULL);
INSERT INTO marks VALUES ('team', 1000033, 1000035, 3, 2, 1795833448035816, 1795833448035816, NULL, NULL, 0, 0, 0, 1795833418657549, 1795833418657549, NULL, NULL, NULL);
INSERT INTO marks VALUES ('document', -1, 0, 24, 0, 1795833449852360, 1795833419752348, 1795833443289781, 1795833426134757, 1795833449210776, 0, 4, 1795833449110826, 1795833419713375, 'failed to read the configuration of entity integration github: Datadog answered 503 Service Unavailable: Service Unavailable', 'transient', 'datadog:integrations:read');

INSERT INTO meta VALUES ('fingerprint', 'b5307ff3f9f8b5f9f3ed371c3fb3fcbfe45514a17a1cf34d62b4767a1e106502');
INSERT INTO meta VALUES ('removal_slots', '');

INSERT INTO orgs VALUES (1000026, 'globex', 'globex', 1795833418674365, 1795833417620881, 0, 0);
INSERT INTO orgs VALUES (1000001, 'acme', 'acme', 1795833437241817, 1795833404259094, 2, 5);
INSERT INTO orgs VALUES (1000033, 'initech', 'initech', 1795833448035816, 1795833404957782, 0, 0);

INSERT INTO parked OVERRIDING SYSTEM VALUE VALUES (2, 'action', 'delete @acme/undeletable = 9b9e836e-22c0-4413-8f00-f1cf59da71bd', 'delete', 'permanent', 4, 'failed to delete 1 team connection: Datadog answered 400 Bad Request: Bad Request', 1795833415874528, 'failed to delete 1 team connection: Datadog answered 400 Bad Request: Bad Request', 1795833418715279, 1000001, 1000015, NULL, NULL, NULL, NULL, NULL, NULL, false);
INSERT INTO parked OVERRIDING SYSTEM VALUE VALUES (12, 'delivery', '11111111-0000-4000-8000-000000000004', 'decode', 'invalid', 1, 'failed to decode a `team` event: not JSON: key must be a string at line 1 column 22', 1795833419882614, 'failed to decode a `team` event: not JSON: key must be a string at line 1 column 22', 1795833419882614, NULL, NULL, '11111111-0000-4000-8000-000000000004', 'team', NULL, 'sha256=4ef3c1e77d4cff096b5c9434a4c3230e6558cfa9a36ee233b8feb7e9ff21b836', 1795833419882470, '\x7b22616374696f6e223a2022656469746564222c2034', false);
INSERT INTO parked OVERRIDING SYSTEM VALUE VALUES (15, 'action', 'look at team 1000041', 'look', 'transient', 1, 'failed to read team 1000041 of organisation 1000001: GitHub answered 500 Internal Server Error: Internal Server Error', 1795833424071243, 'failed to read team 1000041 of organisation 1000001: GitHub answered 500 Internal Server Error: Internal Server Error', 1795833424071243, 1000001, 1000041, NULL, NULL, NULL, NULL, NULL, NULL, false);
INSERT INTO parked OVERRIDING SYSTEM VALUE VALUES (14, 'delivery', '11111111-0000-4000-8000-000000000006', 'signature', 'invalid', 2, 'failed to decode a `team` event: not JSON: key must be a string at line 1 column 22', 1795833419915292, 'its signature matches none of the webhook secrets set here', 1795833433684339, NULL, NULL, '11111111-0000-4000-8000-000000000006', 'team', NULL, 'sha256=d953e06bdb47753f8f74c0f155eff44631d738ece45f19b1fdff461a04e170dd', 1795833419915189, '\x7b22616374696f6e223a2022656469746564222c2036', false);
INSERT INTO parked OVERRIDING SYSTEM VALUE VALUES (1, 'action', 'create @acme/refused = 95de0486-9de6-487c-a662-0702dc613c09', 'create', 'permanent', 6, 'failed to create 1 team connection: Datadog answered 400 Bad Request: Bad Request', 1795833412986013, 'failed to create 1 team connection: Datadog answered 400 Bad Request: Bad Request', 1795833437241817, 1000001, 1000039, NULL, NULL, NULL, NULL, NULL, NULL, false);
INSERT INTO parked OVERRIDING SYSTEM VALUE VALUES (5, 'action', 'replace the document of pagerduty', 'replace', 'permanent', 4, 'failed to replace the configuration of entity integration pagerduty: Datadog answered 400 Bad Request: Bad Request', 1795833416606200, 'failed to replace the configuration of entity integration pagerduty: Datadog answered 400 Bad Request: Bad Request', 1795833447840772, -3, 0, NULL, NULL, NULL, NULL, NULL, NULL, false);
INSERT INTO parked OVERRIDING SYSTEM VALUE VALUES (19, 'delivery', '22222222-0000-4000-8000-000000000007', 'dead_queue', 'transient', 1, 'RabbitMQ gave up delivering it from "teamlink.events": delivery_limit', 1795833476793201, 'RabbitMQ gave up delivering it from "teamlink.events": delivery_limit', 1795833476793201, NULL, NULL, '22222222-0000-4000-8000-000000000007', 'team', 'github.acme.example', 'sha256=00', 1795833476792301, '\x7b22616374696f6e223a2022656469746564222c20227465616d223a207b226964223a20313030303030332c2022736c7567223a2022636f7265222c0a2020202020202020226e616d65223a2022436f7265227d2c20226f7267616e697a6174696f6e223a207b226964223a20313030303030312c20226c6f67696e223a202261636d65227d7d', true);
INSERT INTO parked OVERRIDING SYSTEM VALUE VALUES (20, 'delivery', '22222222-0000-4000-8000-000000000008', 'dead_queue', 'transient', 1, 'RabbitMQ gave up delivering it from "teamlink.events": delivery_limit', 1795833476793201, 'RabbitMQ gave up delivering it from "teamlink.events": delivery_limit', 1795833476793201, NULL, NULL, '22222222-0000-4000-8000-000000000008', 'team', 'github.acme.example', 'sha256=00', 1795833476792301, '\x7b22616374696f6e223a2022656469746564222c20227465616d223a207b226964223a20313030303030332c2022736c7567223a2022636f7265222c0a2020202020202020226e616d65223a2022436f7265227d2c20226f7267616e697a6174696f6e223a207b226964223a20313030303030312c20226c6f67696e223a202261636d65227d7d', false);
INSERT INTO parked OVERRIDING SYSTEM VALUE VALUES (21, 'delivery', '22222222-0000-4000-8000-000000000009', 'store', 'invalid', 1, 'the ledger refused it: error returned from database: (code: 18) string or blob too big', 1795833476793201, 'the ledger refused it: error returned from database: (code: 18) string or blob too big', 1795833476793201, NULL, NULL, '22222222-0000-4000-8000-000000000009', 'team', 'github.acme.example', 'sha256=00', 1795833476792301, '\x7b22616374696f6e223a2022656469746564222c20227465616d223a207b226964223a20313030303030332c2022736c7567223a2022636f7265222c0a2020202020202020226e616d65223a2022436f7265227d2c20226f7267616e697a6174696f6e223a207b226964223a20313030303030312c20226c6f67696e223a202261636d65227d7d', false);

INSERT INTO paused VALUES (1000001, 1000020, 1795833428251517, 're-organisation, CHANGE-2');
INSERT INTO paused VALUES (1000026, 0, 1795833429880099, 'waits for its owner');
INSERT INTO paused VALUES (0, 0, 1795833476669338, 'migration, CHANGE-6');

INSERT INTO removal_slots VALUES ('2d65eeed-0490-4356-a848-bfe6f9044ef4', '@acme/gone', 1795833409925647);
INSERT INTO removal_slots VALUES ('integration:github', '127.0.0.1/acme/shop', 1795833412927464);
INSERT INTO removal_slots VALUES ('9b9e836e-22c0-4413-8f00-f1cf59da71bd', '@acme/undeletable', 1795833418693977);
INSERT INTO removal_slots VALUES ('integration:pagerduty', 'acme-us', 1795833447807166);

INSERT INTO team_lists VALUES (1000001, 1000008, '', NULL, 0);
INSERT INTO team_lists VALUES (1000001, 1000012, '', NULL, 0);
INSERT INTO team_lists VALUES (1000001, 1000011, '', NULL, 0);
INSERT INTO team_lists VALUES (1000001, 1000015, '', NULL, 0);
INSERT INTO team_lists VALUES (1000001, 1000013, '', NULL, 0);
INSERT INTO team_lists VALUES (1000001, 1000005, '', NULL, 0);
INSERT INTO team_lists VALUES (1000001, 1000003, '1000023', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000004, '1000023', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000006, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000007, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000009, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000010, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000014, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000016, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000017, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000037, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000038, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000041, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000042, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000033, 1000035, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000033, 1000036, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000018, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000019, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000020, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000021, '', 1795833447844974, 0);
INSERT INTO team_lists VALUES (1000001, 1000022, '', 1795833447844974, 0);

INSERT INTO teams VALUES (1000001, 1000041, 'unread', 'Unread', NULL, NULL, NULL, 1795833421002865, false, false);
INSERT INTO teams VALUES (1000001, 1000005, 'search', 'Search', NULL, 1795833421006929, NULL, 1795833418693977, false, false);
INSERT INTO teams VALUES (1000026, 1000028, 'alpha', 'Alpha', NULL, NULL, NULL, 1795833427778525, true, false);
INSERT INTO teams VALUES (1000033, 1000036, 'dev', 'Dev', NULL, NULL, NULL, 1795833418652407, true, false);
INSERT INTO teams VALUES (1000026, 1000030, 'gamma', 'Gamma', NULL, NULL, NULL, 1795833418668525, false, false);
INSERT INTO teams VALUES (1000026, 1000031, 'delta', 'Delta', NULL, NULL, NULL, 1795833418668525, false, false);
INSERT INTO teams VALUES (1000026, 1000032, 'epsilon', 'Epsilon', NULL, NULL, NULL, 1795833418668525, false, false);
INSERT INTO teams VALUES (1000001, 1000007, 'old-mobile', 'Old mobile', NULL, NULL, NULL, 1795833418693977, false, false);
INSERT INTO teams VALUES (1000001, 1000008, 'old-tools', 'Old tools', NULL, NULL, NULL, 1795833418693977, true, false);
INSERT INTO teams VALUES (1000001, 1000003, 'core', 'Core', NULL, NULL, NULL, 1795833437212666, true, false);
INSERT INTO teams VALUES (1000001, 1000011, 'vault', 'Vault', NULL, 1795833412776597, 1795833415859522, 1795833404280279, false, false);
INSERT INTO teams VALUES (1000001, 1000009, 'tools', 'Tools', NULL, NULL, NULL, 1795833418693977, true, false);
INSERT INTO teams VALUES (1000001, 1000016, 'taken', 'Taken', NULL, NULL, NULL, 1795833437212666, true, false);
INSERT INTO teams VALUES (1000001, 1000018, 'failing', 'Failing', NULL, NULL, NULL, 1795833437212666, true, false);
INSERT INTO teams VALUES (1000001, 1000039, 'refused', 'Refused', NULL, NULL, NULL, 1795833437212666, false, false);
INSERT INTO teams VALUES (1000001, 1000040, 'nohandle', 'Nohandle', NULL, NULL, NULL, 1795833437212666, true, true);
INSERT INTO teams VALUES (1000026, 1000029, 'beta', 'Beta', NULL, NULL, NULL, 1795833437406149, false, false);
INSERT INTO teams VALUES (1000001, 1000004, 'payments', 'Payments', NULL, NULL, NULL, 1795833441174631, true, false);
INSERT INTO teams VALUES (1000001, 1000006, 'web', 'Web', NULL, NULL, NULL, 1795833437212666, false, false);
INSERT INTO teams VALUES (1000001, 1000013, 'suspect', 'Suspect', NULL, 1795833416685792, NULL, 1795833404280279, false, false);
INSERT INTO teams VALUES (1000001, 1000014, 'forgot', 'Forgot', NULL, NULL, NULL, 1795833418693977, true, false);
INSERT INTO teams VALUES (1000001, 1000010, 'legacy', 'Legacy', NULL, NULL, NULL, 1795833418693977, false, false);
INSERT INTO teams VALUES (1000001, 1000015, 'undeletable', 'Undeletable', NULL, 1795833412776597, 1795833415859522, 1795833404280279, false, false);
INSERT INTO teams VALUES (1000033, 1000035, 'ops', 'Ops', NULL, NULL, NULL, 1795833418652407, false, false);
INSERT INTO teams VALUES (1000001, 1000042, 'late', 'late', NULL, NULL, NULL, 1795833444399252, false, false);
INSERT INTO teams VALUES (1000001, 1000017, 'takeover', 'Takeover', NULL, NULL, NULL, 1795833418693977, false, false);
INSERT INTO teams VALUES (1000001, 1000012, 'gone', 'Gone', NULL, 1795833406845384, 1795833409925647, 1795833404280279, false, false);
INSERT INTO teams VALUES (1000001, 1000019, 'foreign', 'Foreign', NULL, NULL, NULL, 1795833418693977, true, false);
INSERT INTO teams VALUES (1000001, 1000020, 'frozen', 'Frozen', NULL, NULL, NULL, 1795833418693977, true, false);
INSERT INTO teams VALUES (1000001, 1000021, 'platform', 'Platform', NULL, NULL, NULL, 1795833418693977, true, false);
INSERT INTO teams VALUES (1000001, 1000022, 'platform-api', 'Platform API', 1000021, NULL, NULL, 1795833418693977, true, false);
INSERT INTO teams VALUES (1000001, 1000037, 'newbie', 'Newbie', NULL, NULL, NULL, 1795833418693977, true, false);
INSERT INTO teams VALUES (1000001, 1000038, 'lost', 'Lost', NULL, NULL, NULL, 1795833418693977, true, false);

SELECT pg_catalog.setval('audit_id_seq', 64, true);

SELECT pg_catalog.setval('parked_id_seq', 21, true);

ALTER TABLE ONLY _sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY approvals
    ADD CONSTRAINT approvals_pkey PRIMARY KEY (org_id, kind, datadog_team_id, github);

ALTER TABLE ONLY audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);

ALTER TABLE ONLY connections
    ADD CONSTRAINT connections_pkey PRIMARY KEY (datadog_team_id, github);

ALTER TABLE ONLY deleted_events
    ADD CONSTRAINT deleted_events_pkey PRIMARY KEY (org_id, team_id);

ALTER TABLE ONLY deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (guid);

ALTER TABLE ONLY documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (integration);

ALTER TABLE ONLY entries
    ADD CONSTRAINT entries_pkey PRIMARY KEY (integration, entry);

ALTER TABLE ONLY held
    ADD CONSTRAINT held_pkey PRIMARY KEY (org_id, kind, datadog_team_id, github);

ALTER TABLE ONLY held_sets
    ADD CONSTRAINT held_sets_pkey PRIMARY KEY (hash, kind, datadog_team_id, github);

ALTER TABLE ONLY intents
    ADD CONSTRAINT intents_pkey PRIMARY KEY (datadog_team_id, github);

ALTER TABLE ONLY leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (org_id);

ALTER TABLE ONLY marks
    ADD CONSTRAINT marks_pkey PRIMARY KEY (kind, org_id, team_id);

ALTER TABLE ONLY meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (name);

ALTER TABLE ONLY orgs
    ADD CONSTRAINT orgs_pkey PRIMARY KEY (org_id);

ALTER TABLE ONLY parked
    ADD CONSTRAINT parked_pkey PRIMARY KEY (id);

ALTER TABLE ONLY paused
    ADD CONSTRAINT paused_pkey PRIMARY KEY (org_id, team_id);

ALTER TABLE ONLY team_lists
    ADD CONSTRAINT team_lists_pkey PRIMARY KEY (org_id, team_id);

ALTER TABLE ONLY teams
    ADD CONSTRAINT teams_pkey PRIMARY KEY (org_id, team_id);

CREATE INDEX audit_at ON audit USING btree (at);

CREATE INDEX audit_team ON audit USING btree (org_id, team_id, at);

CREATE INDEX connections_org ON connections USING btree (org_id, team_id);

CREATE INDEX deliveries_stored_at ON deliveries USING btree (stored_at);

CREATE INDEX intents_org ON intents USING btree (org_id);

CREATE INDEX marks_due ON marks USING btree (due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX marks_due_of_org ON marks USING btree (org_id, kind, cause, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX orgs_bound_login ON orgs USING btree (bound_login);

CREATE UNIQUE INDEX parked_action ON parked USING btree (org_id, subject) WHERE (kind = 'action'::text);

CREATE UNIQUE INDEX parked_delivery ON parked USING btree (guid) WHERE (kind = 'delivery'::text);

CREATE INDEX removal_slots_at ON removal_slots USING btree (at);

CREATE INDEX teams_parent ON teams USING btree (parent_id);

