-- The end of the binding of a login to an organisation.
ALTER TABLE orgs ADD COLUMN deleted_event_at BIGINT;  -- the last `organization.deleted` event about it
ALTER TABLE orgs ADD COLUMN absent_since BIGINT;      -- the first look whose question for its id was answered with 404
ALTER TABLE orgs ADD COLUMN released_at BIGINT;       -- a person released its login: nothing is done for it any more
