//! What a person has paused. A pause is a row, so it survives restarts; a look reads it with everything else.

use sqlx::{AnyConnection, Row, any::AnyRow};

use super::{AuditAction, AuditOutcome, Ledger, accept, rows};
use crate::model::{Asks, Cause, Integration, Lane, OrgId, Pause, PauseScope, Paused, Target, Time};

impl Ledger {
    /// The pauses that concern a lane.
    pub async fn paused(&self, lane: Lane) -> sqlx::Result<Paused> {
        let mut paused = Paused::default();
        for pause in self.pauses().await? {
            match pause.scope {
                PauseScope::All => paused.whole = Some(pause),
                PauseScope::Org(of) if lane == Lane::Org(of) => {
                    paused.whole.get_or_insert(pause);
                }
                PauseScope::Team(key) if lane == Lane::Org(key.org) => {
                    drop(paused.teams.insert(key.team, pause))
                }
                PauseScope::Document(of) if lane == Lane::Document(of) => {
                    paused.whole.get_or_insert(pause);
                }
                PauseScope::Org(_) | PauseScope::Team(_) | PauseScope::Document(_) => {}
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
            let (org, team) = rows::pause_columns(scope);
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
                audit(&mut transaction, AuditAction::Pause, scope, reason, now).await?;
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
            let (org, team) = rows::pause_columns(scope);
            let rules = self.rules.in_step_for.as_str();
            let mut transaction = self.begin().await?;
            let ended: Vec<Pause> = sqlx::query(
                "DELETE FROM paused WHERE $3 OR (org_id = $1 AND ($4 OR team_id = $2))
                 RETURNING org_id, team_id, since, reason",
            )
            .bind(org)
            .bind(team)
            .bind(scope == PauseScope::All)
            .bind(matches!(scope, PauseScope::Org(_)))
            .fetch_all(&mut *transaction)
            .await?
            .iter()
            .map(pause)
            .collect::<sqlx::Result<_>>()?;
            for pause in &ended {
                audit(&mut transaction, AuditAction::Resume, pause.scope, reason, now).await?;
                let (targets, cause, asks) = match pause.scope {
                    PauseScope::Team(key) => (vec![Target::Team(key)], Cause::Person, Asks::PERSON),
                    // A first pass's creates stay limited: this is not a person's `sync`.
                    PauseScope::Org(org) => {
                        (behind(&mut transaction, Some(org), rules).await?, Cause::Pass, Asks::PASS)
                    }
                    PauseScope::All => {
                        (behind(&mut transaction, None, rules).await?, Cause::Pass, Asks::PASS)
                    }
                    PauseScope::Document(integration) => {
                        (vec![Target::Document(integration)], Cause::Pass, Asks::PASS)
                    }
                };
                accept::mark_in(&mut transaction, &targets, cause, asks, now).await?;
            }
            transaction.commit().await?;
            Ok(ended)
        })
        .await
    }
}

/// The organisation as a whole (or each of them), its teams that aren't known to be in step by these rules, and the
/// documents that depend on it.
async fn behind(db: &mut AnyConnection, org: Option<OrgId>, rules: &str) -> sqlx::Result<Vec<Target>> {
    let org = org.map(|org| org.0);
    let orgs: Vec<i64> = sqlx::query_scalar("SELECT org_id FROM orgs WHERE org_id = COALESCE($1, org_id)")
        .bind(org)
        .fetch_all(&mut *db)
        .await?;
    let teams: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT org_id, team_id FROM teams
         WHERE org_id = COALESCE($1, org_id) AND gone_at IS NULL
             AND NOT (in_step AND COALESCE(in_step_for, '') = $2)
         UNION SELECT connections.org_id, connections.team_id FROM connections JOIN teams
             ON teams.org_id = connections.org_id AND teams.team_id = connections.team_id
         WHERE connections.org_id = COALESCE($1, connections.org_id) AND gone_at IS NOT NULL
         UNION SELECT org_id, team_id FROM intents WHERE org_id = COALESCE($1, org_id)",
    )
    .bind(org)
    .bind(rules)
    .fetch_all(db)
    .await?;
    let orgs = orgs.into_iter().map(|org| Target::Org(OrgId(org)));
    let documents = Integration::ALL.into_iter().filter(|it| org.is_none() || *it == Integration::Github);
    let teams = teams.into_iter().filter_map(|(org, team)| rows::target(org, team));
    Ok(orgs.chain(documents.map(Target::Document)).chain(teams).collect())
}

async fn audit(
    db: &mut AnyConnection,
    action: AuditAction,
    scope: PauseScope,
    reason: &str,
    now: Time,
) -> sqlx::Result<()> {
    let (org, team) = rows::pause_columns(scope);
    sqlx::query(
        "INSERT INTO audit (at, org_id, team_id, action, datadog_team_id, github, cause, reason, outcome, fence)
         VALUES ($1, $2, $3, $4, '', '', 'person', $5, $6, 0)",
    )
    .bind(now.0)
    .bind(org)
    .bind(team)
    .bind(action.as_str())
    .bind(rows::clean(reason))
    .bind(AuditOutcome::Done.as_str())
    .execute(db)
    .await?;
    Ok(())
}

fn pause(row: &AnyRow) -> sqlx::Result<Pause> {
    let scope = rows::pause_scope(row.try_get("org_id")?, row.try_get("team_id")?);
    Ok(Pause { scope, since: Time(row.try_get("since")?), reason: row.try_get("reason")? })
}
