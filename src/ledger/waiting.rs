//! Teams that wait for a Datadog handle.

use std::collections::BTreeMap;

use sqlx::Row as _;

use super::{Ledger, OrgRow, rows::Flag, state};
use crate::model::{OrgId, TeamFacts};

impl Ledger {
    /// Returns whether any team waits for a Datadog handle.
    pub async fn any_waiting(&self) -> sqlx::Result<bool> {
        let any: Flag = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM teams WHERE waiting)")
            .fetch_one(&self.read)
            .await?;
        Ok(any.0)
    }

    /// Returns the teams that wait for a Datadog handle, by organisation.
    pub async fn waiting_teams(&self) -> sqlx::Result<Vec<(OrgRow, Vec<TeamFacts>)>> {
        let rows = sqlx::query(
            "SELECT org_id, team_id, slug, name, parent_id, team_type FROM teams WHERE waiting ORDER BY team_id",
        )
        .fetch_all(&self.read)
        .await?;
        let mut teams: BTreeMap<OrgId, Vec<TeamFacts>> = BTreeMap::new();
        for row in &rows {
            teams.entry(OrgId(row.try_get("org_id")?)).or_default().push(state::facts(row)?);
        }
        let orgs = self.orgs().await?.into_iter();
        Ok(orgs
            .filter_map(|org| Some((teams.remove(&org.facts.id)?, org)))
            .map(|(teams, org)| (org, teams))
            .collect())
    }
}
