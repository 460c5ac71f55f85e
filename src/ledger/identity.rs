//! Which Datadog organisation this ledger belongs to. What is ours there is known by ids that mean nothing in another.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AnyConnection, AssertSqlSafe};

use super::{AuditAction, AuditOutcome, Ledger, rows};
use crate::model::{DatadogOrg, DatadogTeamId, Time};

/// What a ledger knows of its Datadog organisation.
#[derive(Clone, Debug, Default)]
pub struct DatadogHome {
    /// The organisation, once it is bound.
    pub org: Option<DatadogOrg>,
    /// Teams of it: those with connections of ours.
    pub teams: BTreeSet<DatadogTeamId>,
}

impl Ledger {
    /// What is known of the Datadog organisation that this ledger belongs to.
    pub async fn datadog_home(&self) -> sqlx::Result<DatadogHome> {
        let org: Option<(String, Option<String>)> =
            sqlx::query_as("SELECT id, name FROM datadog_identity").fetch_optional(&self.read).await?;
        let teams: Vec<String> = sqlx::query_scalar("SELECT DISTINCT datadog_team_id FROM connections")
            .fetch_all(&self.read)
            .await?;
        Ok(DatadogHome {
            org: org.map(|(id, name)| DatadogOrg { id, name }),
            teams: teams.into_iter().map(DatadogTeamId::from).collect(),
        })
    }

    /// Binds this ledger to a Datadog organisation, unless it is bound.
    pub async fn bind_datadog(&self, org: &DatadogOrg, now: Time) -> sqlx::Result<()> {
        bind(&mut *self.write.acquire().await?, org, now).await
    }
}

/// What a rebinding keeps and restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebound {
    /// Connections of ours in the organisation that the ledger leaves: their rows are kept aside.
    pub kept: u64,
    /// Connections of ours in the one that it belongs to now.
    pub restored: u64,
}

/// The tables of what is ours, each with its columns.
const OURS: [(&str, &str); 2] = [
    (
        "connections",
        "datadog_team_id, github, connection_id, org_id, team_id, created_at, unwanted_since, managed_by",
    ),
    (
        "intents",
        "org_id, datadog_team_id, github, kind, team_id, fence, at, managed_by, written, connection_id, answered_at,
         missed_at",
    ),
];

/// What ends with a rebinding: decisions about, and knowledge of, the organisation that the ledger leaves.
const ENDS: [&str; 9] = [
    "held",
    "approvals",
    "printed_sets",
    "entries",
    "documents",
    "document_contents",
    "document_suspicions",
    "document_looks",
    "removed_entries",
];

impl Ledger {
    /// What is kept of other organisations: the teams by the organisation's id, which is empty where it was never known.
    pub async fn elsewhere(&self) -> sqlx::Result<BTreeMap<String, BTreeSet<DatadogTeamId>>> {
        let sql = "SELECT DISTINCT datadog_org, datadog_team_id FROM connections_elsewhere";
        let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&self.read).await?;
        let mut teams: BTreeMap<String, BTreeSet<DatadogTeamId>> = BTreeMap::new();
        for (org, team) in rows {
            teams.entry(org).or_default().insert(DatadogTeamId::from(team));
        }
        Ok(teams)
    }

    /// Has the ledger belong `to` another organisation, or to one that is not known yet. What is ours in the one that it
    /// leaves is kept, and what is kept under `restores` is ours again.
    pub async fn rebind_datadog(
        &self,
        to: Option<&DatadogOrg>,
        restores: Option<&str>,
        reason: &str,
        now: Time,
    ) -> sqlx::Result<Rebound> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            let db = &mut *transaction;
            let from: Option<String> =
                sqlx::query_scalar("SELECT id FROM datadog_identity").fetch_optional(&mut *db).await?;
            let from = from.unwrap_or_default();
            let mut rebound = Rebound { kept: 0, restored: 0 };
            for (table, columns) in OURS {
                let keeps = format!(
                    "INSERT INTO {table}_elsewhere (datadog_org, {columns}) SELECT $1, {columns} FROM {table} WHERE TRUE
                     ON CONFLICT (datadog_org, datadog_team_id, github) DO NOTHING"
                );
                let kept = sqlx::query(AssertSqlSafe(keeps)).bind(&from).execute(&mut *db).await?;
                sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&mut *db).await?;
                let mut restored = 0;
                if let Some(org) = restores {
                    let restore = format!(
                        "INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}_elsewhere WHERE datadog_org = $1"
                    );
                    restored = sqlx::query(AssertSqlSafe(restore)).bind(org).execute(&mut *db).await?.rows_affected();
                    let gone = format!("DELETE FROM {table}_elsewhere WHERE datadog_org = $1");
                    sqlx::query(AssertSqlSafe(gone)).bind(org).execute(&mut *db).await?;
                }
                if table == "connections" {
                    rebound = Rebound { kept: kept.rows_affected(), restored };
                }
            }
            for table in ENDS {
                sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&mut *db).await?;
            }
            sqlx::query("UPDATE teams SET in_step = FALSE").execute(&mut *db).await?;
            sqlx::query("DELETE FROM datadog_identity").execute(&mut *db).await?;
            if let Some(org) = to {
                bind(&mut *db, org, now).await?;
            }
            let place = |org: &str| if org.is_empty() { "an unknown one".to_owned() } else { org.to_owned() };
            let detail = format!("from {} to {}", place(&from), place(to.map_or("", |org| &org.id)));
            sqlx::query(
                "INSERT INTO audit (at, org_id, team_id, action, datadog_team_id, github, cause, reason, outcome,
                     detail, fence)
                 VALUES ($1, $2, $3, $4, '', '', 'person', $5, $6, $7, 0)",
            )
            .bind(now.0)
            .bind(rows::EVERYTHING)
            .bind(rows::NO_TEAM)
            .bind(AuditAction::Rebind.as_str())
            .bind(rows::clean(reason))
            .bind(AuditOutcome::Done.as_str())
            .bind(rows::clean(&detail))
            .execute(&mut *db)
            .await?;
            transaction.commit().await?;
            Ok(rebound)
        })
        .await
    }
}

async fn bind(db: &mut AnyConnection, org: &DatadogOrg, now: Time) -> sqlx::Result<()> {
    let sql = "INSERT INTO datadog_identity (id, name, bound_at)
               SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT 1 FROM datadog_identity)";
    sqlx::query(sql)
        .bind(rows::clean(&org.id))
        .bind(org.name.as_deref().map(rows::clean))
        .bind(now.0)
        .execute(db)
        .await?;
    Ok(())
}
