-- Logins under which an organisation was heard of that is not bound. Only GitHub's own answer binds one.
CREATE TABLE strangers (
    login    TEXT   PRIMARY KEY NOT NULL,  -- lower-cased
    org_id   BIGINT,                       -- as an event said; none where only the settings name the login
    due_at   BIGINT,                       -- none: GitHub answered that there is nobody to bind
    met_at   BIGINT,                       -- when GitHub was last asked
    failures BIGINT NOT NULL
);
