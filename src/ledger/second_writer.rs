//! Connections of ours that somebody else removed, each noted once.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AnyConnection, Row};

use super::{AuditAction, AuditOutcome, Ledger, rows};
use crate::model::{ConnectionId, ConnectionKey, Lane, RemovedByOthers, Subject, Time};

impl Ledger {
    /// Returns the connections of a lane that somebody else removed within a day.
    pub async fn removed_by_others(
        &self,
        lane: Lane,
        now: Time,
    ) -> sqlx::Result<BTreeMap<ConnectionKey, RemovedByOthers>> {
        let found = sqlx::query(
            "SELECT datadog_team_id, github, connection_id, at FROM removed_by_others
             WHERE org_id = $1 AND at > $2",
        )
        .bind(rows::lane_number(lane))
        .bind((now - RemovedByOthers::WITHIN).0)
        .fetch_all(&self.read)
        .await?;
        let mut removed: BTreeMap<ConnectionKey, RemovedByOthers> = BTreeMap::new();
        for row in &found {
            let Some(key) = rows::subject(row)?.connection().cloned() else { continue };
            let id = ConnectionId::from(row.try_get::<&str, _>("connection_id")?);
            let at = Time(row.try_get("at")?);
            removed.entry(key).or_default().connections.insert(id, at);
        }
        Ok(removed)
    }

    /// Returns the connections of a lane that teamlink deleted since then.
    pub async fn deleted_since(&self, lane: Lane, since: Time) -> sqlx::Result<BTreeSet<ConnectionKey>> {
        let deleted = sqlx::query(
            "SELECT DISTINCT datadog_team_id, github FROM audit
             WHERE at > $2 AND org_id = $1 AND action = $3 AND outcome IN ($4, $5)",
        )
        .bind(rows::lane_number(lane))
        .bind(since.0)
        .bind(AuditAction::Delete.as_str())
        .bind(AuditOutcome::Done.as_str())
        .bind(AuditOutcome::Already.as_str())
        .fetch_all(&self.read)
        .await?;
        let subjects = deleted.iter().map(rows::subject).collect::<sqlx::Result<Vec<_>>>()?;
        Ok(subjects.iter().filter_map(Subject::connection).cloned().collect())
    }
}

/// Notes that somebody removed these connections, forgets what is too long ago to count, and begins the count again for
/// what was made because a person approved it.
pub(super) async fn note(
    db: &mut AnyConnection,
    lane: Lane,
    removed: &[(ConnectionKey, ConnectionId)],
    made: impl Iterator<Item = &ConnectionKey>,
    now: Time,
) -> sqlx::Result<()> {
    for key in made {
        sqlx::query(
            "DELETE FROM removed_by_others WHERE datadog_team_id = $1 AND github = $2 AND EXISTS (
                 SELECT 1 FROM approvals
                 WHERE approvals.kind = 'create' AND approvals.datadog_team_id = $1 AND approvals.github = $2)",
        )
        .bind(key.datadog_team.as_str())
        .bind(&key.github)
        .execute(&mut *db)
        .await?;
    }
    if removed.is_empty() {
        return Ok(());
    }
    sqlx::query("DELETE FROM removed_by_others WHERE at <= $1")
        .bind((now - RemovedByOthers::WITHIN).0)
        .execute(&mut *db)
        .await?;
    rows::insert(
        db,
        "INSERT INTO removed_by_others (datadog_team_id, github, connection_id, org_id, at) ",
        " ON CONFLICT (datadog_team_id, github, connection_id) DO NOTHING",
        &rows::sorted(removed, |removed| (&removed.0, &removed.1)),
        |row, (key, id)| {
            row.bind(key.datadog_team.as_str()).bind(key.github.as_str()).bind(id.as_str());
            row.bind(rows::lane_number(lane)).bind(now.0);
        },
    )
    .await?;
    Ok(())
}
