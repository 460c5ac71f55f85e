-- Logins under which an organisation was heard of that is not bound. Only GitHub's own answer binds one.
CREATE TABLE strangers (
    login    TEXT   PRIMARY KEY NOT NULL,  -- lower-cased
    org_id   BIGINT,                       -- as an event said; none where the settings name the login
    heard_at BIGINT NOT NULL,
    met_at   BIGINT,                       -- when GitHub was last asked
    wait     BIGINT,                       -- how long it is not asked after that; none: it need not be asked any more
    failures BIGINT NOT NULL
);
