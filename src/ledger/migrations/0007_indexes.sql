-- Looks load an organisation's teams without those that are gone, and upkeep finds those that are gone for long.
CREATE INDEX teams_gone ON teams (org_id, gone_at);
-- Upkeep finds old sets.
CREATE INDEX printed_sets_shown_at ON printed_sets (shown_at);
-- A look counts a team's events, and explain and audit name its deliveries.
CREATE INDEX deliveries_team ON deliveries (org_id, team_id, received_at);
