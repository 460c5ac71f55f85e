-- A pass stores the teams that its list shows, so that the looks which it asks for don't read each of them again.
ALTER TABLE teams ADD COLUMN listed_at BIGINT;     -- when the list began that showed the team as it is here; null: a look has read it since
