//! What a person has paused. A pause is a row, so it survives restarts; a look reads it with everything else.

use sqlx::{AnyConnection, Row, any::AnyRow};

use super::{Ledger, accept, rows};
use crate::model::{Cause, OrgId, Pause, PauseScope, Paused, Target, TeamId, TeamKey, Time};

impl Ledger {
    /// The pauses that concern an organisation.
    pub async fn paused(&self, org: OrgId) -> sqlx::Result<Paused> {
        let mut paused = Paused::default();
        for pause in self.pauses().await? {
            match pause.scope {
                PauseScope::All => paused.whole = Some(pause),
                PauseScope::Org(of) if of == org => {
                    paused.whole.get_or_insert(pause);
                }
                PauseScope::Team(key) if key.org == org => drop(paused.teams.insert(key.team, pause)),
                PauseScope::Org(_) | PauseScope::Team(_) => {}
            }
        }
        Ok(paused)
    }

    /// Every pause, the widest first.
    pub async fn pauses(&self) -> sqlx::Result<Vec<Pause>> {
        let sql = "SELECT org_id, team_id, since, reason FROM paused ORDER BY org_id, team_id";
        sqlx::query(sql).fetch_all(&self.read).await?.iter().map(pause).collect()
    }

    /// Pauses. What is paused already stays as it was; says whether it was not.
    pub async fn pause(&self, scope: PauseScope, reason: &str, now: Time) -> sqlx::Result<bool> {
        self.retried(move || async move {
            let (org, team) = columns(scope);
            let mut transaction = self.begin().await?;
            let done = sqlx::query(
                "INSERT INTO paused (org_id, team_id, since, reason) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (org_id, team_id) DO NOTHING",
            )
            .bind(org)
            .bind(team)
            .bind(now.0)
            .bind(rows::clean(reason))
            .execute(&mut *transaction)
            .await?;
            let new = done.rows_affected() > 0;
            if new {
                audit(&mut transaction, "pause", scope, reason, now).await?;
            }
            transaction.commit().await?;
            Ok(new)
        })
        .await
    }

    /// Ends the pause of this scope and those within it, and has what was paused looked at. Answers the pauses
    /// that were ended.
    pub async fn resume(&self, scope: PauseScope, reason: &str, now: Time) -> sqlx::Result<Vec<Pause>> {
        self.retried(move || async move {
            let (org, team) = columns(scope);
            let mut transaction = self.begin().await?;
            let ended: Vec<Pause> = sqlx::query(
                "DELETE FROM paused WHERE $1 = 0 OR (org_id = $1 AND ($2 = 0 OR team_id = $2))
                 RETURNING org_id, team_id, since, reason",
            )
            .bind(org)
            .bind(team)
            .fetch_all(&mut *transaction)
            .await?
            .iter()
            .map(pause)
            .collect::<sqlx::Result<_>>()?;
            for pause in &ended {
                audit(&mut transaction, "resume", pause.scope, reason, now).await?;
                let (targets, cause) = match pause.scope {
                    PauseScope::Team(key) => (vec![Target::Team(key)], Cause::Person),
                    // Not as a person's pass, which would lift the bound on a first pass's creates.
                    PauseScope::All | PauseScope::Org(_) => {
                        (behind(&mut transaction, columns(pause.scope).0).await?, Cause::Pass)
                    }
                };
                accept::mark_in(&mut transaction, &targets, cause, now).await?;
            }
            transaction.commit().await?;
            Ok(ended)
        })
        .await
    }
}

/// The organisation as a whole (or each, for 0), and its teams that are known to be out of step.
async fn behind(db: &mut AnyConnection, org: i64) -> sqlx::Result<Vec<Target>> {
    let orgs: Vec<i64> = sqlx::query_scalar("SELECT org_id FROM orgs WHERE $1 = 0 OR org_id = $1")
        .bind(org)
        .fetch_all(&mut *db)
        .await?;
    let teams: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT org_id, team_id FROM teams
         WHERE ($1 = 0 OR org_id = $1) AND gone_at IS NULL AND NOT in_step
         UNION SELECT connections.org_id, connections.team_id FROM connections JOIN teams
             ON teams.org_id = connections.org_id AND teams.team_id = connections.team_id
         WHERE ($1 = 0 OR connections.org_id = $1) AND gone_at IS NOT NULL
         UNION SELECT org_id, team_id FROM intents WHERE $1 = 0 OR org_id = $1",
    )
    .bind(org)
    .fetch_all(db)
    .await?;
    let orgs = orgs.into_iter().map(|org| Target::Org(OrgId(org)));
    Ok(orgs.chain(teams.into_iter().map(|(org, team)| rows::team(org, team))).collect())
}

async fn audit(
    db: &mut AnyConnection,
    action: &'static str,
    scope: PauseScope,
    reason: &str,
    now: Time,
) -> sqlx::Result<()> {
    let (org, team) = columns(scope);
    sqlx::query(
        "INSERT INTO audit (at, org_id, team_id, action, datadog_team_id, github, cause, reason, outcome, fence)
         VALUES ($1, $2, $3, $4, '', '', 'person', $5, 'done', 0)",
    )
    .bind(now.0)
    .bind(org)
    .bind(team)
    .bind(action)
    .bind(rows::clean(reason))
    .execute(db)
    .await?;
    Ok(())
}

/// `paused.org_id` and `paused.team_id`.
fn columns(scope: PauseScope) -> (i64, i64) {
    match scope {
        PauseScope::All => (0, 0),
        PauseScope::Org(org) => (org.0, 0),
        PauseScope::Team(key) => (key.org.0, key.team.0),
    }
}

fn pause(row: &AnyRow) -> sqlx::Result<Pause> {
    let scope = match (row.try_get("org_id")?, row.try_get("team_id")?) {
        (0, _) => PauseScope::All,
        (org, 0) => PauseScope::Org(OrgId(org)),
        (org, team) => PauseScope::Team(TeamKey { org: OrgId(org), team: TeamId(team) }),
    };
    Ok(Pause { scope, since: Time(row.try_get("since")?), reason: row.try_get("reason")? })
}
