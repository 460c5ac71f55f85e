//! The part of an organisation that a look at some of its teams concerns, so that a look costs the same however large the
//! organisation is.
//!
//! A plan for some teams depends on others in four ways, and all of these are here:
//! - One team owns a key, though several may want it: the rows under the handles of these teams, and the teams whose
//!   names stand in the keys of the rows that are here.
//! - A Datadog team has one fate: the rows on the Datadog teams of these teams.
//! - The guard's limits count what waits for a second look in the whole organisation: the teams that are suspected gone,
//!   and the rows whose grace has begun.
//! - One list completes the proof for all teams that wait for it: again those that are suspected.

use std::collections::BTreeSet;

use sqlx::{AnyConnection, Row, any::AnyRow};

use super::{
    Ledger, OrgState,
    rows::{self, Flag},
    state::{Size, owned_row},
};
use crate::model::{ConnectionKey, DatadogTeamId, OrgId, TeamId, Time};

/// Teams by their ids, as `state::TEAMS` has them.
const TEAMS: &str = "
    SELECT teams.team_id, slug, name, parent_id, team_type, suspected_at, gone_at, unlisted_at, seen_at, waiting, at,
        listed_at, CASE WHEN in_step_for = asked.rules THEN in_step ELSE FALSE END AS in_step
    FROM asked CROSS JOIN teams LEFT JOIN deleted_events
        ON deleted_events.org_id = teams.org_id AND deleted_events.team_id = teams.team_id
    WHERE teams.org_id = asked.org_id AND teams.team_id = asked.team_id";

/// The ids of the teams with these slugs that are not gone.
const CALLED: &str = "
    SELECT team_id FROM asked CROSS JOIN teams
    WHERE teams.org_id = asked.org_id AND LOWER(slug) = asked.name AND gone_at IS NULL";

/// The ids of the teams right below these that are not gone. The plus keeps SQLite from reading all teams of the
/// organisation.
const BELOW: &str = "
    SELECT team_id FROM asked CROSS JOIN teams
    WHERE +teams.org_id = asked.org_id AND parent_id = asked.parent AND +gone_at IS NULL";

/// The ids of the teams of organisation $1 that wait for a second look or for the list after it. Of those with two looks,
/// only those that own a connection do.
const SUSPECTED: &str = "
    SELECT team_id FROM teams
    WHERE org_id = $1 AND unlisted_at IS NULL AND (suspected_at IS NOT NULL OR gone_at IS NOT NULL)
        AND (gone_at IS NULL OR EXISTS (SELECT 1 FROM connections
                                        WHERE connections.org_id = $1 AND connections.team_id = teams.team_id))";

/// Our connections of organisation $1 whose grace has begun.
const UNWANTED: &str = "
    SELECT datadog_team_id, github, connection_id, team_id, managed_by, unwanted_since, created_at FROM connections
    WHERE org_id = $1 AND unwanted_since IS NOT NULL";

/// How large organisation $1 is, and whether a connection of ours is for an enterprise team.
const SIZE: &str = "
    SELECT (SELECT COUNT(*) FROM teams WHERE org_id = $1 AND gone_at IS NULL),
        (SELECT COUNT(*) FROM connections WHERE org_id = $1),
        EXISTS (SELECT 1 FROM teams
                WHERE org_id = $1 AND (team_type IS NULL OR team_type <> 'organization')
                    AND (team_type IS NOT NULL OR slug LIKE 'ent:%')
                    AND EXISTS (SELECT 1 FROM connections
                                WHERE connections.org_id = $1 AND connections.team_id = teams.team_id))";

/// Returns the query for our connections that have one of the asked values in this column. The plus keeps SQLite from
/// reading all rows of the organisation to find those of a Datadog team.
fn owned_by(column: &str) -> String {
    let plus = if column == "datadog_team_id" { "+" } else { "" };
    format!(
        "SELECT connections.datadog_team_id, connections.github, connection_id, connections.team_id, managed_by,
             unwanted_since, created_at
         FROM asked CROSS JOIN connections
         WHERE {plus}connections.org_id = asked.org_id AND connections.{column} = asked.{column}"
    )
}

impl Ledger {
    /// What is known of an organisation, as far as it concerns these teams; `None` when it was never bound. What GitHub
    /// shows of them may concern others: see [`Ledger::take_in_handles`].
    pub async fn org_part(&self, org: OrgId, teams: &BTreeSet<TeamId>) -> sqlx::Result<Option<OrgState>> {
        let Some(mut state) = self.bare_org(org).await? else { return Ok(None) };
        let db = &mut *self.read.acquire().await?;
        let (of_github, owned, for_enterprise): (i64, i64, Flag) =
            sqlx::query_as(SIZE).bind(org.0).fetch_one(&mut *db).await?;
        let size = |count| usize::try_from(count).unwrap_or(0);
        state.size = Size { teams: size(of_github), owned: size(owned) };
        state.has_enterprise_teams = for_enterprise.0;
        let unwanted = sqlx::query(UNWANTED).bind(org.0).fetch_all(&mut *db).await?;
        take_in_owned(&mut state, &unwanted)?;
        let suspected: Vec<i64> = sqlx::query_scalar(SUSPECTED).bind(org.0).fetch_all(&mut *db).await?;
        let interrupted = state.intents.iter().filter_map(|intent| intent.team);
        let teams =
            teams.iter().copied().chain(suspected.into_iter().map(TeamId)).chain(interrupted).collect();
        self.take_in(db, &mut state, &teams).await?;
        Ok(Some(state))
    }

    /// Takes in more teams with what is ours of them.
    pub async fn take_in_teams(&self, state: &mut OrgState, teams: &BTreeSet<TeamId>) -> sqlx::Result<()> {
        if state.whole {
            return Ok(());
        }
        let db = &mut *self.read.acquire().await?;
        self.take_in(db, state, teams).await
    }

    /// Takes in who has, or had, these handles as they stand in keys: the rows under them, and the teams with these slugs.
    pub async fn take_in_handles(
        &self,
        state: &mut OrgState,
        handles: &BTreeSet<String>,
    ) -> sqlx::Result<()> {
        if state.whole {
            return Ok(());
        }
        let db = &mut *self.read.acquire().await?;
        let org = state.org.facts.id.0;
        let handles: Vec<&String> = handles.iter().collect();
        let query = owned_by("github");
        let rows = rows::select(db, "org_id, github", &query, &handles, |row, handle| {
            row.bind(org).bind(handle.as_str());
        });
        let rows = rows.await?;
        take_in_owned(state, &rows)?;
        let slug = |handle: &&String| Some(handle.split_once('/')?.1.to_owned());
        let slugs: Vec<String> =
            handles.iter().filter_map(slug).collect::<BTreeSet<_>>().into_iter().collect();
        let called = rows::select(db, "org_id, name", CALLED, &slugs, |row, slug| {
            row.bind(org).bind(slug.as_str());
        });
        let called = called.await?;
        let teams = rows.iter().chain(&called).map(|row| Ok(TeamId(row.try_get("team_id")?)));
        let teams = teams.collect::<sqlx::Result<_>>()?;
        self.take_in(db, state, &teams).await
    }

    /// The teams right below these that are not gone.
    pub async fn teams_below(&self, org: OrgId, teams: &[TeamId]) -> sqlx::Result<Vec<TeamId>> {
        let db = &mut *self.read.acquire().await?;
        let below = rows::select(db, "org_id, parent", BELOW, teams, |row, team| {
            row.bind(org.0).bind(team.0);
        });
        below.await?.iter().map(|row| Ok(TeamId(row.try_get("team_id")?))).collect()
    }

    /// All teams of an organisation that are neither gone nor suspected to be.
    pub async fn present_teams(&self, org: OrgId) -> sqlx::Result<Vec<TeamId>> {
        let present =
            "SELECT team_id FROM teams WHERE org_id = $1 AND gone_at IS NULL AND suspected_at IS NULL";
        let teams: Vec<i64> = sqlx::query_scalar(present).bind(org.0).fetch_all(&self.read).await?;
        Ok(teams.into_iter().map(TeamId).collect())
    }

    /// All teams of an organisation that own a connection, gone or not.
    pub async fn owners(&self, org: OrgId) -> sqlx::Result<Vec<TeamId>> {
        let owners = "SELECT DISTINCT team_id FROM connections WHERE org_id = $1";
        let teams: Vec<i64> = sqlx::query_scalar(owners).bind(org.0).fetch_all(&self.read).await?;
        Ok(teams.into_iter().map(TeamId).collect())
    }

    /// The teams of an organisation that proved to be gone since then.
    pub async fn gone_since(&self, org: OrgId, since: Time) -> sqlx::Result<BTreeSet<TeamId>> {
        let gone = "SELECT team_id FROM teams WHERE org_id = $1 AND unlisted_at >= $2";
        let teams: Vec<i64> =
            sqlx::query_scalar(gone).bind(org.0).bind(since.0).fetch_all(&self.read).await?;
        Ok(teams.into_iter().map(TeamId).collect())
    }

    /// Takes in those of these teams that are not here yet: what is ours of them first, which decides how a team is read.
    async fn take_in(
        &self,
        db: &mut AnyConnection,
        state: &mut OrgState,
        teams: &BTreeSet<TeamId>,
    ) -> sqlx::Result<()> {
        let org = state.org.facts.id.0;
        let teams: Vec<TeamId> =
            teams.iter().copied().filter(|team| !state.teams.contains_key(team)).collect();
        let query = owned_by("team_id");
        let rows = rows::select(db, "org_id, team_id", &query, &teams, |row, team| {
            row.bind(org).bind(team.0);
        });
        let rows = rows.await?;
        let of_datadog = |row: &AnyRow| Ok(owned_row(row)?.key.datadog_team);
        let datadog = rows.iter().map(of_datadog).collect::<sqlx::Result<BTreeSet<DatadogTeamId>>>()?;
        take_in_owned(state, &rows)?;
        let (datadog, query): (Vec<_>, _) = (datadog.into_iter().collect(), owned_by("datadog_team_id"));
        let rows =
            rows::select(db, "org_id, datadog_team_id", &query, &datadog, |row, id: &DatadogTeamId| {
                row.bind(org).bind(id.as_str());
            });
        take_in_owned(state, &rows.await?)?;
        let rules = self.rules.in_step_for.as_str();
        let rows = rows::select(db, "org_id, team_id, rules", TEAMS, &teams, |row, team| {
            row.bind(org).bind(team.0).bind(rules);
        });
        let (rows, owning) = (rows.await?, state.owning());
        rows.iter().try_for_each(|row| state.add_team(row, &owning))
    }
}

/// Takes in the rows that are not here yet.
fn take_in_owned(state: &mut OrgState, rows: &[AnyRow]) -> sqlx::Result<()> {
    let mut here: BTreeSet<ConnectionKey> = state.owned.iter().map(|owned| owned.key.clone()).collect();
    for row in rows {
        if here.insert(owned_row(row)?.key) {
            state.add_owned(row)?;
        }
    }
    Ok(())
}

/// Each query for a part, for tests that ask how it is answered.
#[cfg(test)]
pub(super) fn queries() -> Vec<String> {
    let asked = |columns: &str, key: &str, query: &str| {
        format!("WITH asked ({columns}) AS (VALUES ({key}), ({key})) {query}")
    };
    let mut queries: Vec<String> =
        [SUSPECTED, UNWANTED].iter().map(|query| query.replace("$1", "1")).collect();
    queries.extend([
        asked("org_id, team_id, rules", "1, 1, 'r'", TEAMS),
        asked("org_id, name", "1, 's'", CALLED),
        asked("org_id, parent", "1, 1", BELOW),
        asked("org_id, github", "1, 's'", &owned_by("github")),
        asked("org_id, team_id", "1, 1", &owned_by("team_id")),
        asked("org_id, datadog_team_id", "1, 's'", &owned_by("datadog_team_id")),
    ]);
    queries
}
