-- What each document had when it was last accepted: a read that lacks some of it is confirmed by a later one.
CREATE TABLE document_contents (
    integration TEXT NOT NULL,
    field       TEXT NOT NULL,  -- empty in the row that says that it was accepted
    entry       TEXT NOT NULL,  -- of its list, each entry has a row of its own; else empty
    PRIMARY KEY (integration, field, entry)
);

-- A read that lacked some of it.
CREATE TABLE document_suspicions (
    integration TEXT   PRIMARY KEY NOT NULL,
    since       BIGINT NOT NULL,
    lacks       TEXT   NOT NULL  -- what it lacked, as a hash
);
