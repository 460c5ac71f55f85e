-- Logins under which an organisation was heard of that is not bound. Only GitHub's own answer binds one.
CREATE TABLE strangers (
    login    TEXT   PRIMARY KEY NOT NULL,  -- lower-cased
    org_id   BIGINT,                       -- as an event said; none where only the settings name the login
    met_at   BIGINT,                       -- when GitHub was last asked
    wait     BIGINT,                       -- how long it is not asked after that; none: there is nobody to bind
    failures BIGINT NOT NULL
);
