-- How many PUTs in a row have added an entry of ours without a read that shows it.
ALTER TABLE entries ADD COLUMN unseen_puts BIGINT;

-- Entries that we removed a short while ago: one that somebody puts back at once is removed once more.
CREATE TABLE removed_entries (
    integration TEXT   NOT NULL,
    entry       TEXT   NOT NULL,
    removed_at  BIGINT NOT NULL,  -- the last PUT that removed it
    removals    BIGINT NOT NULL,  -- how many PUTs have
    PRIMARY KEY (integration, entry)
);

-- The last look at a document: another that nobody asked for reads the document alone.
CREATE TABLE document_looks (
    integration TEXT   PRIMARY KEY NOT NULL,
    generation  BIGINT NOT NULL,  -- of the mark that it answered
    full_at     BIGINT,           -- when GitHub is asked again even so
    put_at      BIGINT            -- the last PUT
);
