//! Counting for metrics, and deleting what can no longer matter.
//!
//! How long each table keeps its rows, and why:
//!
//! - `deliveries` and `audit`: as the settings say (`ledger.keep_deliveries`, `ledger.keep_audit`).
//! - `teams`: while the team exists. The row of a gone team stays for [`GONE`], so that a late event or a redelivery
//!   (GitHub sends one for at most 7 days) still meets what is known of it. It stays longer while the team owns a
//!   connection, has an interrupted write, a held or parked action, an approval or a pause, or is due, and while a line of
//!   `audit` names it. After that its id is as one that was never seen: a look that doesn't find it in GitHub does
//!   nothing, and one that does finds a new team.
//! - `marks`: those of organisations, documents and existing teams for good, because a generation must not go back under
//!   a look. The mark of a team that is gone or was never seen stays for [`GONE`] after its last look, and as long as
//!   something is to be done for it. A look at it can't last that long, so the next one may begin at generation 1.
//! - `deleted_events`: they prove a team gone where the credential doesn't see secret teams, so they stay until the team
//!   is gone. One that is older than [`GONE`] goes if no look has ever seen its team, or if one has seen it more than a day
//!   after the event: GitHub never gives a deleted team back its id, so such an event was wrong, and would be half a false
//!   proof later.
//! - `team_lists`: with their team, since a team that comes back is read again.
//! - `printed_sets`, and `held_sets` of older versions: [`SHOWN`] after a person was last shown the set. The hash can't be
//!   approved after that. `held list` prints the set again, with the same hash.
//! - `approvals`: a day after they expired. A clock that is set back by less can't revive one that was deleted.
//! - `removal_slots`, `disowned`: the guard's window.
//! - `leases`: for good, because fences must not go back. One of an organisation that the ledger no longer has goes
//!   [`GONE`] after it ended.
//! - `processes`: a day after the process last said that it lives.
//! - `late_creates`: [`LATE`], in which the longest timeout ends.
//! - `strangers`: until they are bound, or a minute after GitHub answered that there is nobody to bind. Whoever asks about
//!   the next one deletes those.
//! - `connections`, `entries`, `documents`, `intents` and `held` say what is ours and what is under way. Only a look
//!   deletes them. `orgs` binds logins until a person releases them, and names what is left of a released organisation.
//!   What a person has to deal with (`parked`, `paused`) stays until they do, and `payloads` with what is parked. `meta` has a few rows.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row};

use super::{Ledger, held};
use crate::model::Time;

/// Rows deleted in one transaction of forgetting, so that writers never wait long for it.
const BATCH: i64 = 1_000;

const DAY: Duration = Duration::from_secs(86_400);

/// How long what is left of a gone team is kept.
const GONE: Duration = Duration::from_secs(30 * 86_400);

/// How long a printed hash can be approved.
const SHOWN: Duration = Duration::from_secs(30 * 86_400);

/// How long a create that may still arrive is remembered.
const LATE: Duration = Duration::from_secs(3_600);

/// How long rows are kept, as far as the settings say it.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Deliveries: how long a GUID is known.
    pub deliveries: Duration,
    /// Lines of the audit trail.
    pub audit: Duration,
    /// Slots of removals: the guard's window.
    pub window: Duration,
}

const DELIVERIES: &str = "DELETE FROM deliveries WHERE guid IN
    (SELECT guid FROM deliveries WHERE stored_at < $1 ORDER BY stored_at LIMIT $2)";

const AUDIT: &str = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)";

/// The teams of organisation $3 that are gone since before $1 and that nothing names any more.
const GONE_TEAMS: &str = "DELETE FROM teams WHERE org_id = $3 AND team_id IN
    (SELECT team_id FROM teams AS gone WHERE org_id = $3 AND gone_at < $1
        AND NOT EXISTS (SELECT 1 FROM connections AS it WHERE it.org_id = $3 AND it.team_id = gone.team_id)
        AND NOT EXISTS (SELECT 1 FROM intents AS it WHERE it.org_id = $3 AND it.team_id = gone.team_id)
        AND NOT EXISTS (SELECT 1 FROM held AS it WHERE it.org_id = $3 AND it.team_id = gone.team_id)
        AND NOT EXISTS (SELECT 1 FROM parked AS it WHERE it.org_id = $3 AND it.team_id = gone.team_id)
        AND NOT EXISTS (SELECT 1 FROM paused AS it WHERE it.org_id = $3 AND it.team_id = gone.team_id)
        AND NOT EXISTS (SELECT 1 FROM audit AS it WHERE it.org_id = $3 AND it.team_id = gone.team_id)
        AND NOT EXISTS (SELECT 1 FROM approvals AS it WHERE it.org_id = $3 AND it.github LIKE '@%/' || gone.slug)
        AND NOT EXISTS (SELECT 1 FROM marks AS it WHERE it.kind = 'team' AND it.org_id = $3
                            AND it.team_id = gone.team_id AND (due_at IS NOT NULL OR first_at IS NOT NULL))
     LIMIT $2)";

/// Idle marks of teams that are gone since before $1 or were never seen. The first line judges the row as it is when it is
/// deleted, also if an event has just marked it.
const MARKS: &str = "DELETE FROM marks WHERE kind = 'team' AND due_at IS NULL AND first_at IS NULL
    AND (org_id, team_id) IN
    (SELECT org_id, team_id FROM marks AS idle
     WHERE kind = 'team' AND due_at IS NULL AND first_at IS NULL AND COALESCE(last_attempt_at, event_at, 0) < $1
        AND NOT EXISTS (SELECT 1 FROM teams AS it WHERE it.org_id = idle.org_id AND it.team_id = idle.team_id
                            AND (gone_at IS NULL OR gone_at >= $1))
        AND NOT EXISTS (SELECT 1 FROM connections AS it WHERE it.org_id = idle.org_id AND it.team_id = idle.team_id)
        AND NOT EXISTS (SELECT 1 FROM intents AS it WHERE it.org_id = idle.org_id AND it.team_id = idle.team_id)
        AND NOT EXISTS (SELECT 1 FROM held AS it WHERE it.org_id = idle.org_id AND it.team_id = idle.team_id)
        AND NOT EXISTS (SELECT 1 FROM parked AS it WHERE it.org_id = idle.org_id AND it.team_id = idle.team_id)
     LIMIT $2)";

/// Events from before $1 of teams that are gone, that no look has seen, or that one has seen more than a day later.
const DELETED_EVENTS: &str = "DELETE FROM deleted_events WHERE at < $1 AND (org_id, team_id) IN
    (SELECT org_id, team_id FROM deleted_events AS event WHERE at < $1
        AND NOT EXISTS (SELECT 1 FROM teams AS it WHERE it.org_id = event.org_id AND it.team_id = event.team_id
                            AND gone_at IS NULL AND seen_at <= event.at + 86400000000)
        AND NOT EXISTS (SELECT 1 FROM marks AS it WHERE it.kind = 'team' AND it.org_id = event.org_id
                            AND it.team_id = event.team_id AND (due_at IS NOT NULL OR first_at IS NOT NULL))
     LIMIT $2)";

const TEAM_LISTS: &str = "DELETE FROM team_lists WHERE (org_id, team_id) IN
    (SELECT org_id, team_id FROM team_lists AS list WHERE changed_at < $1 AND COALESCE(read_at, 0) < $1
        AND NOT EXISTS (SELECT 1 FROM teams AS it WHERE it.org_id = list.org_id AND it.team_id = list.team_id
                            AND (gone_at IS NULL OR gone_at >= $1))
     LIMIT $2)";

const PRINTED_SETS: &str = "DELETE FROM printed_sets WHERE shown_at < $1 AND (hash, org_id) IN
    (SELECT hash, org_id FROM printed_sets WHERE shown_at < $1 ORDER BY shown_at LIMIT $2)";

const SETS_OF_OLDER_VERSIONS: &str = "DELETE FROM held_sets WHERE (hash, kind, datadog_team_id, github) IN
    (SELECT hash, kind, datadog_team_id, github FROM held_sets WHERE shown_at < $1 LIMIT $2)";

const APPROVALS: &str = "DELETE FROM approvals WHERE expires_at < $1
    AND (org_id, kind, datadog_team_id, github) IN
    (SELECT org_id, kind, datadog_team_id, github FROM approvals WHERE expires_at < $1 LIMIT $2)";

const REMOVAL_SLOTS: &str = "DELETE FROM removal_slots WHERE at <= $1 AND (datadog_team_id, github, at) IN
    (SELECT datadog_team_id, github, at FROM removal_slots WHERE at <= $1 LIMIT $2)";

const DISOWNED: &str = "DELETE FROM disowned WHERE at <= $1 AND (datadog_team_id, github) IN
    (SELECT datadog_team_id, github FROM disowned WHERE at <= $1 LIMIT $2)";

const LATE_CREATES: &str = "DELETE FROM late_creates WHERE sent_at < $1 AND (datadog_team_id, github) IN
    (SELECT datadog_team_id, github FROM late_creates WHERE sent_at < $1 LIMIT $2)";

const PROCESSES: &str = "DELETE FROM processes WHERE seen_at < $1 AND id IN
    (SELECT id FROM processes WHERE seen_at < $1 LIMIT $2)";

/// Leases that ended before $1, of organisations that the ledger doesn't have. Those that are no organisation's have
/// numbers below 0.
const LEASES: &str = "DELETE FROM leases WHERE expires_at < $1 AND org_id IN
    (SELECT org_id FROM leases WHERE expires_at < $1 AND org_id > 0 AND org_id NOT IN (SELECT org_id FROM orgs)
     LIMIT $2)";

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
        let waits = held::waits_at("$1");
        let query = format!(
            "SELECT (SELECT COUNT(*) FROM marks WHERE due_at <= $1) AS due,
                    (SELECT MIN(due_at) FROM marks WHERE due_at <= $1) AS oldest,
                    (SELECT COUNT(*) FROM held WHERE {waits}) AS held,
                    (SELECT COUNT(*) FROM parked) AS parked,
                    (SELECT COUNT(*) FROM paused) AS paused,
                    (SELECT COUNT(*) FROM connections) AS owned,
                    (SELECT CAST(COALESCE(SUM(orphans), 0) AS BIGINT) FROM orgs) AS orphans,
                    (SELECT CAST(COALESCE(SUM(foreigners), 0) AS BIGINT) FROM orgs) AS foreigners,
                    (SELECT COUNT(*) FROM intents) AS intents",
        );
        let row = sqlx::query(AssertSqlSafe(query)).bind(now.0).fetch_one(&self.read).await?;
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

    /// Deletes what can no longer matter, in small transactions. Returns how many rows that were.
    pub async fn forget_old(&self, keep: Keep, now: Time) -> sqlx::Result<u64> {
        let at = self.time(now).await?;
        let mut forgotten = self.forget_gone_teams(now - GONE).await?;
        for (sql, before) in [
            (DELIVERIES, now - keep.deliveries),
            (AUDIT, now - keep.audit),
            (MARKS, now - GONE),
            (DELETED_EVENTS, now - GONE),
            (TEAM_LISTS, now - GONE),
            (PRINTED_SETS, now - SHOWN),
            (SETS_OF_OLDER_VERSIONS, now - SHOWN),
            (APPROVALS, now - DAY),
            (REMOVAL_SLOTS, now - keep.window),
            (DISOWNED, now - keep.window),
            (LATE_CREATES, now - LATE),
            (LEASES, at - GONE),
            (PROCESSES, at - DAY),
        ] {
            loop {
                let done = sqlx::query(sql).bind(before.0).bind(BATCH).execute(&self.write).await?;
                forgotten += done.rows_affected();
                if done.rows_affected() < BATCH.unsigned_abs() {
                    break;
                }
            }
        }
        self.forget_payloads().await?;
        Ok(forgotten)
    }

    /// Deletes gone teams from the mirror. Each batch holds the lock of the organisation's lease, under which looks store
    /// what they are about to write: a team that a look finds again must not lose its row at that moment.
    async fn forget_gone_teams(&self, before: Time) -> sqlx::Result<u64> {
        let orgs: Vec<i64> = sqlx::query_scalar("SELECT DISTINCT org_id FROM teams WHERE gone_at < $1")
            .bind(before.0)
            .fetch_all(&self.read)
            .await?;
        let mut forgotten = 0;
        for org in orgs {
            loop {
                let done = self
                    .retried(move || async move {
                        let mut transaction = self.begin().await?;
                        sqlx::query("UPDATE leases SET fence = fence WHERE org_id = $1")
                            .bind(org)
                            .execute(&mut *transaction)
                            .await?;
                        let done = sqlx::query(GONE_TEAMS)
                            .bind(before.0)
                            .bind(BATCH)
                            .bind(org)
                            .execute(&mut *transaction)
                            .await?;
                        transaction.commit().await?;
                        Ok::<_, sqlx::Error>(done.rows_affected())
                    })
                    .await?;
                forgotten += done;
                if done < BATCH.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(forgotten)
    }
}
