//! From the names that people type to the ids that everything is kept under.

use super::{Ledger, OrgRow, rows};
use crate::model::{Lane, Pause, PauseScope, TeamId};

impl Ledger {
    /// The organisation with this login, now or when it was bound, or with this id. One whose login was released comes
    /// last.
    pub async fn find_org(&self, name: &str) -> sqlx::Result<Option<OrgRow>> {
        let id = name.parse::<i64>().ok();
        let named = |org: &OrgRow| org.is_called(name) || Some(org.facts.id.0) == id;
        let bound = self.orgs().await?.into_iter().find(named);
        if bound.is_some() {
            return Ok(bound);
        }
        Ok(self.released_orgs().await?.into_iter().rfind(named))
    }

    /// What a lane or a team is called: `org` or `org/slug`, with ids where no name is known.
    pub async fn name_of(&self, lane: Lane, team: Option<TeamId>) -> sqlx::Result<String> {
        let org_id = rows::lane_number(lane);
        let login: Option<String> = sqlx::query_scalar("SELECT login FROM orgs WHERE org_id = $1")
            .bind(org_id)
            .fetch_optional(&self.read)
            .await?;
        let login = login.unwrap_or_else(|| org_id.to_string());
        let Some(team) = team else { return Ok(login) };
        let slug: Option<String> =
            sqlx::query_scalar("SELECT slug FROM teams WHERE org_id = $1 AND team_id = $2")
                .bind(org_id)
                .bind(team.0)
                .fetch_optional(&self.read)
                .await?;
        Ok(format!("{login}/{}", slug.unwrap_or_else(|| team.to_string())))
    }

    /// What a pause is called, as `teamlink resume` takes it.
    pub async fn name_of_pause(&self, pause: &Pause) -> sqlx::Result<String> {
        match pause.scope {
            PauseScope::All => Ok("all".to_owned()),
            PauseScope::Org(org) => self.name_of(Lane::Org(org), None).await,
            PauseScope::Team(key) => self.name_of(Lane::Org(key.org), Some(key.team)).await,
            PauseScope::Document(integration) => Ok(Lane::Document(integration).to_string()),
        }
    }

    /// The team of an organisation with this slug, or with this id, or that is known to have had this slug:
    /// connections and the audit trail remember the handles that a team was connected under.
    pub async fn find_team(&self, org: &OrgRow, name: &str) -> sqlx::Result<Option<TeamId>> {
        let slug = name.to_lowercase();
        let id = org.facts.id.0;
        let known: Option<i64> = sqlx::query_scalar(
            "SELECT team_id FROM teams WHERE org_id = $1 AND (slug = $2 OR team_id = $3)
             ORDER BY slug <> $2, gone_at IS NOT NULL, suspected_at IS NOT NULL, seen_at DESC LIMIT 1",
        )
        .bind(id)
        .bind(&slug)
        .bind(name.parse::<i64>().ok())
        .fetch_optional(&self.read)
        .await?;
        if known.is_some() {
            return Ok(known.map(TeamId));
        }
        let now = format!("@{}/{slug}", org.facts.login.to_lowercase());
        let bound = format!("@{}/{slug}", org.bound_login.to_lowercase());
        let former: Option<i64> = sqlx::query_scalar(
            "SELECT team_id FROM
                 (SELECT team_id, 9223372036854775807 AS newest FROM connections
                  WHERE org_id = $1 AND github IN ($2, $3)
                  UNION ALL
                  SELECT team_id, id FROM audit WHERE org_id = $1 AND github IN ($2, $3)) AS former
             ORDER BY newest DESC LIMIT 1",
        )
        .bind(id)
        .bind(now)
        .bind(bound)
        .fetch_optional(&self.read)
        .await?;
        Ok(former.map(TeamId))
    }
}
