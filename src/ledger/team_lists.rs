//! Which repositories a team has, as GitHub last listed them, so that an event about one team does not make teamlink
//! read the lists of all.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sqlx::AnyConnection;

use super::{
    Ledger, Settled,
    rows::{self, Flag},
};
use crate::model::{ConnectionKey, DatadogTeamId, Lane, OrgId, RepositoryId, TeamId, TeamKey, Time};

impl Ledger {
    /// The lists of an organisation's teams that are good: read at least `lag` after the last event that told of a
    /// change, since an event can beat GitHub's own replicas.
    pub async fn team_lists(
        &self,
        org: OrgId,
        lag: Duration,
    ) -> sqlx::Result<BTreeMap<TeamId, BTreeSet<RepositoryId>>> {
        let lag = i64::try_from(lag.as_micros()).unwrap_or(i64::MAX / 2);
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT team_id, repositories FROM team_lists WHERE org_id = $1 AND read_at >= changed_at + $2",
        )
        .bind(org.0)
        .bind(lag)
        .fetch_all(&self.read)
        .await?;
        let ids = |text: &str| text.split(' ').filter_map(|id| id.parse().ok().map(RepositoryId)).collect();
        Ok(rows.iter().map(|(team, list)| (TeamId(*team), ids(list))).collect())
    }

    /// Has every list read again, because a full pass takes nothing for granted.
    pub async fn distrust_team_lists(&self) -> sqlx::Result<()> {
        sqlx::query("UPDATE team_lists SET read_at = NULL").execute(&self.write).await?;
        Ok(())
    }

    /// Every connection that is ours or is just being written, and whether it stands for sure: nothing is being done
    /// to it.
    pub async fn owned_keys(&self) -> sqlx::Result<BTreeMap<ConnectionKey, bool>> {
        let rows: Vec<(String, String, Flag)> = sqlx::query_as(
            "SELECT datadog_team_id, github, TRUE FROM connections
             UNION ALL SELECT datadog_team_id, github, FALSE FROM intents",
        )
        .fetch_all(&self.read)
        .await?;
        let mut keys = BTreeMap::new();
        for (team, github, stands) in rows {
            let key = ConnectionKey { datadog_team: DatadogTeamId::from(team), github };
            *keys.entry(key).or_insert(true) &= stands.0;
        }
        Ok(keys)
    }
}

/// Stores lists that a look has read, at the time when it began.
pub(super) async fn store(
    db: &mut AnyConnection,
    lists: &BTreeMap<TeamKey, BTreeSet<RepositoryId>>,
    read_at: Time,
) -> sqlx::Result<()> {
    let lists: Vec<_> = lists.iter().collect();
    rows::insert(
        db,
        "INSERT INTO team_lists (org_id, team_id, repositories, read_at) ",
        " ON CONFLICT (org_id, team_id) DO UPDATE SET
             repositories = excluded.repositories, read_at = excluded.read_at",
        &lists,
        |row, (key, repositories)| {
            let ids: Vec<String> = repositories.iter().map(ToString::to_string).collect();
            row.bind(key.org.0).bind(key.team.0).bind(ids.join(" ")).bind(read_at.0);
        },
    )
    .await?;
    Ok(())
}

/// An event told that the lists of these teams changed.
pub(super) async fn note_change(
    db: &mut AnyConnection,
    teams: &BTreeSet<TeamKey>,
    now: Time,
) -> sqlx::Result<()> {
    let teams: Vec<_> = teams.iter().collect();
    rows::insert(
        db,
        "INSERT INTO team_lists (org_id, team_id, changed_at) ",
        " ON CONFLICT (org_id, team_id) DO UPDATE SET changed_at = excluded.changed_at",
        &teams,
        |row, key| {
            row.bind(key.org.0).bind(key.team.0).bind(now.0);
        },
    )
    .await?;
    Ok(())
}

/// Notes, for teams that a look is about to store, that the lists of those with another parent than before changed, and
/// with them those of all teams below: a team has its ancestors' repositories too. GitHub has no event that tells so.
/// Returns whether there are any.
pub(super) async fn note_new_parents(
    db: &mut AnyConnection,
    lane: Lane,
    teams: &[Settled],
    now: Time,
) -> sqlx::Result<bool> {
    let noted = rows::insert(
        db,
        "INSERT INTO team_lists (org_id, team_id, changed_at)
         WITH RECURSIVE seen (org_id, team_id, parent_id, at) AS (",
        "), below (org_id, team_id, at) AS (
             SELECT teams.org_id, teams.team_id, seen.at
             FROM seen JOIN teams ON teams.org_id = seen.org_id AND teams.team_id = seen.team_id
             WHERE COALESCE(teams.parent_id, 0) <> seen.parent_id
             UNION
             SELECT teams.org_id, teams.team_id, below.at
             FROM teams JOIN below ON teams.org_id = below.org_id AND teams.parent_id = below.team_id
         )
         SELECT org_id, team_id, at FROM below WHERE TRUE ORDER BY org_id, team_id
         ON CONFLICT (org_id, team_id) DO UPDATE SET changed_at = excluded.changed_at",
        &rows::sorted(teams, |settled| settled.team.facts.id),
        |row, settled| {
            let facts = &settled.team.facts;
            row.bind(rows::lane_number(lane)).bind(facts.id.0);
            row.bind(facts.parent.map_or(0, |parent| parent.0)).bind(now.0);
        },
    )
    .await?;
    Ok(noted > 0)
}

/// An event told that teamlink may see other repositories of an organisation than before.
pub(super) async fn note_change_of_org(db: &mut AnyConnection, org: OrgId, now: Time) -> sqlx::Result<()> {
    sqlx::query("UPDATE team_lists SET changed_at = $2 WHERE org_id = $1")
        .bind(org.0)
        .bind(now.0)
        .execute(db)
        .await?;
    Ok(())
}
