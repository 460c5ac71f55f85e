-- The bodies of parked deliveries, each once, however many deliveries have it. `parked.body` is that of an older version.
CREATE TABLE payloads (
    hash      TEXT   PRIMARY KEY NOT NULL,  -- SHA-256 of the body
    size      BIGINT NOT NULL,              -- what it counts as towards the bounds
    stored_at BIGINT NOT NULL,
    body      BYTES  NOT NULL
);
CREATE INDEX payloads_stored_at ON payloads (stored_at, size);

ALTER TABLE parked ADD COLUMN payload TEXT;  -- of a delivery; none where its body is in `body`, or was not kept
CREATE INDEX parked_payload ON parked (payload) WHERE payload IS NOT NULL;
