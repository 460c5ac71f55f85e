-- A slot of the guard's window: whose it is, and whether its removal was carried out. The guard counts the removals done
-- within the window for each organisation and for each document.
ALTER TABLE removal_slots ADD COLUMN org_id BIGINT;  -- of a document as everywhere
ALTER TABLE removal_slots ADD COLUMN done BOOLEAN;   -- null or false: reserved, not known to be done
-- The audit trail knows both of the slots that a version before this one took.
UPDATE removal_slots SET
    org_id = (SELECT MAX(audit.org_id) FROM audit
              WHERE audit.at >= removal_slots.at AND audit.datadog_team_id = removal_slots.datadog_team_id
                  AND audit.github = removal_slots.github AND audit.action IN ('delete', 'remove_entry')),
    done = EXISTS (SELECT 1 FROM audit
                   WHERE audit.at >= removal_slots.at AND audit.datadog_team_id = removal_slots.datadog_team_id
                       AND audit.github = removal_slots.github AND audit.action IN ('delete', 'remove_entry')
                       AND audit.outcome IN ('done', 'already'));
-- Which rule of the guard holds the action. Null in rows of a version before this one: its reason tells.
ALTER TABLE held ADD COLUMN rule TEXT;
