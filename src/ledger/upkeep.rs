//! Counting for metrics, and forgetting what is old.

use std::time::Duration;

use sqlx::Row;

use super::Ledger;
use crate::model::Time;

/// Rows deleted in one transaction of forgetting, so that writers never wait long for it.
const BATCH: i64 = 1_000;

/// Gauges for `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Marks that are due now.
    pub due: i64,
    /// Since when the longest waiting one has been due.
    pub oldest_due: Option<Time>,
    /// Held removals.
    pub held: i64,
    /// Parked deliveries and actions.
    pub parked: i64,
    /// Pauses in force, each of a team, of an organisation or of everything.
    pub paused: i64,
    /// Connections that are ours.
    pub owned: i64,
    /// Connections with our mark that this ledger does not know.
    pub orphans: i64,
    /// Connections of others.
    pub foreigners: i64,
    /// Writes whose end is not known yet.
    pub intents: i64,
}

impl Ledger {
    /// Counts what the gauges show.
    pub async fn counts(&self, now: Time) -> sqlx::Result<Counts> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM marks WHERE due_at <= $1) AS due,
                    (SELECT MIN(due_at) FROM marks WHERE due_at <= $1) AS oldest,
                    (SELECT COUNT(*) FROM held) AS held,
                    (SELECT COUNT(*) FROM parked) AS parked,
                    (SELECT COUNT(*) FROM paused) AS paused,
                    (SELECT COUNT(*) FROM connections) AS owned,
                    (SELECT CAST(COALESCE(SUM(orphans), 0) AS BIGINT) FROM orgs) AS orphans,
                    (SELECT CAST(COALESCE(SUM(foreigners), 0) AS BIGINT) FROM orgs) AS foreigners,
                    (SELECT COUNT(*) FROM intents) AS intents",
        )
        .bind(now.0)
        .fetch_one(&self.read)
        .await?;
        Ok(Counts {
            due: row.try_get("due")?,
            oldest_due: row.try_get::<Option<i64>, _>("oldest")?.map(Time),
            held: row.try_get("held")?,
            parked: row.try_get("parked")?,
            paused: row.try_get("paused")?,
            owned: row.try_get("owned")?,
            orphans: row.try_get("orphans")?,
            foreigners: row.try_get("foreigners")?,
            intents: row.try_get("intents")?,
        })
    }

    /// Forgets deliveries and audit lines that are older than they are to be kept, in small transactions.
    pub async fn forget_old(&self, deliveries: Duration, audit: Duration, now: Time) -> sqlx::Result<u64> {
        let mut forgotten = 0;
        for (sql, before) in [
            (
                "DELETE FROM deliveries WHERE guid IN
                     (SELECT guid FROM deliveries WHERE stored_at < $1 ORDER BY stored_at LIMIT $2)",
                now - deliveries,
            ),
            (
                "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)",
                now - audit,
            ),
        ] {
            loop {
                let done = sqlx::query(sql).bind(before.0).bind(BATCH).execute(&self.write).await?;
                forgotten += done.rows_affected();
                if done.rows_affected() < BATCH.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(forgotten)
    }

    /// Compares a fingerprint of what decides desires (rules, owner's mark) with the one of the last run. When it
    /// differs, no team is taken to be in step any more.
    pub async fn note_fingerprint(&self, fingerprint: &str) -> sqlx::Result<bool> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            let known: Option<String> =
                sqlx::query_scalar("SELECT value FROM meta WHERE name = 'fingerprint'")
                    .fetch_optional(&mut *transaction)
                    .await?;
            let changed = known.as_deref() != Some(fingerprint);
            if changed {
                sqlx::query(
                    "INSERT INTO meta (name, value) VALUES ('fingerprint', $1)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )
                .bind(fingerprint)
                .execute(&mut *transaction)
                .await?;
                sqlx::query("UPDATE teams SET in_step = FALSE").execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            Ok(changed)
        })
        .await
    }
}
