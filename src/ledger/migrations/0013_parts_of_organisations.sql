-- A look loads the part of an organisation that its teams concern: by slug, by handle, and what waits for a second look.
CREATE INDEX teams_slug ON teams (org_id, (LOWER(slug)));
CREATE INDEX teams_suspected ON teams (org_id, team_id)
    WHERE unlisted_at IS NULL AND (suspected_at IS NOT NULL OR gone_at IS NOT NULL);
CREATE INDEX teams_of_enterprises ON teams (org_id, team_id)
    WHERE team_type IS NULL OR team_type <> 'organization';
CREATE INDEX connections_of_org ON connections (org_id, github);
CREATE INDEX held_team ON held (org_id, team_id);
CREATE INDEX connections_unwanted ON connections (org_id, team_id) WHERE unwanted_since IS NOT NULL;
