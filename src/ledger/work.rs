//! What is due, and the leases under which it is worked on.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{
    Ledger, LedgerError,
    rows::{self, Flag},
};
use crate::model::{Asks, Cause, ConnectionKey, Lane, OrgId, TeamId, TeamKey, Time};

/// A lane that has something due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueLane {
    /// The lane.
    pub lane: Lane,
    /// The cause of its most urgent marks: people come first, then events, then passes.
    pub cause: Cause,
    /// Since when the longest waiting of these marks has been due.
    pub since: Time,
    /// Whether an event is among the causes.
    pub event: bool,
    /// Whether a due mark may use the reserve of the rate limits.
    pub urgent: bool,
    /// Whether a due mark may not.
    pub passes: bool,
    /// Whether the organisation is due as a whole.
    pub whole: bool,
    /// Whether a due mark skips the lane's rest.
    pub at_once: bool,
}

/// Returns the query for the first due mark of each lane, kind and cause that is free to be worked on. It reads one entry of
/// an index for each of them, however many marks are due: a pass makes thousands of them due at once, and the worker asks
/// after each chunk.
///
/// An organisation that was never bound waits for that, whatever a person approved for it.
pub(super) fn first_due() -> String {
    format!(
        "WITH RECURSIVE waiting (org_id) AS (
             SELECT MIN(org_id) FROM marks WHERE due_at IS NOT NULL
             UNION ALL
             SELECT (SELECT MIN(org_id) FROM marks WHERE due_at IS NOT NULL AND marks.org_id > waiting.org_id)
             FROM waiting WHERE waiting.org_id IS NOT NULL
         ),
         asked (kind, cause) AS ({}),
         first AS MATERIALIZED (
             SELECT waiting.org_id, asked.kind,
                    (SELECT team_id FROM marks
                     WHERE marks.org_id = waiting.org_id AND marks.kind = asked.kind
                         AND marks.cause = asked.cause AND due_at <= $1 AND not_before <= $1
                     ORDER BY due_at LIMIT 1) AS team_id
             FROM waiting CROSS JOIN asked
             WHERE waiting.org_id IS NOT NULL
                 AND (asked.kind = 'document'
                      OR EXISTS (SELECT 1 FROM orgs WHERE orgs.org_id = waiting.org_id))
                 AND NOT EXISTS (SELECT 1 FROM leases
                                 WHERE leases.org_id = waiting.org_id AND expires_at > $2)
         )
         SELECT marks.org_id, marks.kind, cause, due_at, asks_datadog, asks_reserve, asks_at_once, lifts_creates,
             answers_event
         FROM first JOIN marks
             ON marks.kind = first.kind AND marks.org_id = first.org_id AND marks.team_id = first.team_id
         ORDER BY cause, due_at, marks.org_id",
        rows::KINDS_AND_CAUSES
    )
}

/// A mark as it was when the lease holder took it. Settling clears only this generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedMark {
    /// The team; `None` when the mark is on the organisation as a whole, or on a document.
    pub team: Option<TeamId>,
    /// The generation that this look answers.
    pub generation: i64,
    /// Who asked: for the audit and the log.
    pub cause: Cause,
    /// What was asked for besides the look.
    pub asks: Asks,
    /// The last event about it, if any.
    pub event_at: Option<Time>,
    /// When a door took the first event that no look has answered yet.
    pub received_at: Option<Time>,
    /// How many looks in a row have failed while others worked.
    pub attempts: u32,
    /// How many looks in a row have failed, for whatever reason.
    pub failures: u32,
}

/// How many events of a team there are since a time.
pub(super) const EVENTS_SINCE: &str =
    "SELECT COUNT(*) FROM deliveries WHERE org_id = $1 AND team_id = $2 AND received_at >= $3";

impl Ledger {
    /// The lanes that have something due and no live lease: by the most urgent cause of each, then those first that have
    /// waited longest.
    pub async fn due_lanes(&self, now: Time) -> sqlx::Result<Vec<DueLane>> {
        let rows = sqlx::query(AssertSqlSafe(first_due()))
            .bind(now.0)
            .bind(self.ended_by(self.time(now).await?).0)
            .fetch_all(&self.read)
            .await?;
        let mut due: Vec<DueLane> = Vec::new();
        let mut places = HashMap::new();
        for row in rows {
            let lane = rows::lane(row.try_get("org_id")?);
            let (cause, asks) = (rows::cause(&row)?, rows::asks(&row)?);
            let place = *places.entry(lane).or_insert(due.len());
            if place == due.len() {
                let since = Time(row.try_get("due_at")?);
                let (event, urgent, passes, whole, at_once) = (false, false, false, false, false);
                due.push(DueLane { lane, cause, since, event, urgent, passes, whole, at_once });
            }
            if let Some(due) = due.get_mut(place) {
                due.event |= cause == Cause::Event;
                due.urgent |= asks.reserve;
                due.passes |= !asks.reserve;
                due.whole |= row.try_get::<String, _>("kind")? == "org";
                due.at_once |= asks.at_once;
            }
        }
        Ok(due)
    }

    /// When the next mark falls due that isn't due now. Reads all marks that are to be looked at some time.
    pub async fn next_due(&self, now: Time) -> sqlx::Result<Option<Time>> {
        let at: Option<i64> = sqlx::query_scalar(
            "SELECT MIN(CASE WHEN due_at < not_before THEN not_before ELSE due_at END)
             FROM marks
             WHERE due_at IS NOT NULL AND (due_at > $1 OR not_before > $1)
                 AND (kind = 'document' OR org_id IN (SELECT org_id FROM orgs))",
        )
        .bind(now.0)
        .fetch_one(&self.read)
        .await?;
        Ok(at.map(Time))
    }

    /// The same, but of marks that no backoff puts off beyond that. Reads one entry of an index, however many are due.
    pub async fn next_after(&self, now: Time) -> sqlx::Result<Option<Time>> {
        let at: Option<i64> = sqlx::query_scalar(
            "SELECT due_at FROM marks
             WHERE due_at > $1
                 AND (kind = 'document' OR EXISTS (SELECT 1 FROM orgs WHERE orgs.org_id = marks.org_id))
             ORDER BY due_at LIMIT 1",
        )
        .bind(now.0)
        .fetch_optional(&self.read)
        .await?;
        Ok(at.map(Time))
    }

    /// Takes the lease on a lane. Returns its fence, or `None` while another holds it, and for a worker whose settings
    /// are outdated. If the last holder crashed, this also marks the teams whose writes it left open: no other mark may exist
    /// for them.
    pub async fn lease(
        &self,
        lane: Lane,
        holder: &str,
        now: Time,
        ttl: Duration,
    ) -> sqlx::Result<Option<i64>> {
        let (at, org_id) = (self.time(now).await?, rows::lane_number(lane));
        if !self.may_lease(at).await? {
            return Ok(None);
        }
        let free = format!(
            "UPDATE leases SET
                 holder = $2, fence = fence + 1, expires_at = $3, renewed_at = $5, taken_over = (expires_at > 0)
             WHERE org_id = (SELECT org_id FROM leases WHERE org_id = $1 AND expires_at <= $4 {})
             RETURNING fence, taken_over",
            self.skipping_locked()
        );
        let taken: Option<(i64, Flag)> = sqlx::query_as(AssertSqlSafe(free))
            .bind(org_id)
            .bind(holder)
            .bind((at + ttl).0)
            .bind(self.ended_by(at).0)
            .bind(at.0)
            .fetch_optional(&self.write)
            .await?;
        if let Some((fence, Flag(taken_over))) = taken {
            if taken_over {
                self.mark_interrupted(Some(lane), now).await?;
            }
            return Ok(Some(fence));
        }
        sqlx::query_scalar(
            "INSERT INTO leases (org_id, holder, fence, expires_at, renewed_at) VALUES ($1, $2, 1, $3, $4)
             ON CONFLICT (org_id) DO NOTHING RETURNING fence",
        )
        .bind(org_id)
        .bind(holder)
        .bind((at + ttl).0)
        .bind(at.0)
        .fetch_optional(&self.write)
        .await
    }

    /// Extends a lease that is still ours, even one that ran out while nobody took it.
    pub async fn renew(&self, lane: Lane, fence: i64, now: Time, ttl: Duration) -> Result<(), LedgerError> {
        let now = self.time(now).await?;
        let renewed = "UPDATE leases SET expires_at = $1, renewed_at = $4 WHERE org_id = $2 AND fence = $3";
        let renewed = sqlx::query(renewed)
            .bind((now + ttl).0)
            .bind(rows::lane_number(lane))
            .bind(fence)
            .bind(now.0)
            .execute(&self.write)
            .await?;
        if renewed.rows_affected() == 0 { Err(LedgerError::LeaseLost(lane)) } else { Ok(()) }
    }

    /// Gives a lease back. One that is no longer ours is left alone.
    pub async fn release(&self, lane: Lane, fence: i64) -> sqlx::Result<()> {
        sqlx::query("UPDATE leases SET expires_at = 0 WHERE org_id = $1 AND fence = $2")
            .bind(rows::lane_number(lane))
            .bind(fence)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Ends the leases of daemons that are gone, and deletes their rows in `processes`. Only the holder of the daemon lock may call it: on a shared ledger the
    /// others may live.
    pub async fn end_daemon_leases(&self) -> sqlx::Result<()> {
        sqlx::query("UPDATE leases SET expires_at = 0 WHERE holder LIKE 'daemon:%'")
            .execute(&self.write)
            .await?;
        sqlx::query("DELETE FROM processes").execute(&self.write).await?;
        Ok(())
    }

    /// Due teams of a leased organisation, at most `limit`, the most urgent causes first. They are all of one urgency:
    /// while a team that may use the reserve of the rate limits is due, none that may not comes with it.
    pub async fn due_teams(&self, org: OrgId, now: Time, limit: usize) -> sqlx::Result<Vec<LeasedMark>> {
        let mut marks: Vec<LeasedMark> = Vec::new();
        for cause in [Cause::Person, Cause::Event, Cause::Pass] {
            let rows = sqlx::query(
                "SELECT team_id, generation, cause, asks_datadog, asks_reserve, asks_at_once, lifts_creates,
                     answers_event, event_at, received_at, attempts, failures FROM marks
                 WHERE org_id = $1 AND kind = 'team' AND cause = $2 AND due_at <= $3 AND not_before <= $3
                 ORDER BY due_at LIMIT $4",
            )
            .bind(org.0)
            .bind(rows::cause_column(cause))
            .bind(now.0)
            .bind(i64::try_from(limit.saturating_sub(marks.len())).unwrap_or(i64::MAX))
            .fetch_all(&self.read)
            .await?;
            for row in &rows {
                let mark = mark(row, Some(TeamId(row.try_get("team_id")?)))?;
                if marks.first().is_some_and(|first| first.asks.reserve != mark.asks.reserve) {
                    return Ok(marks);
                }
                marks.push(mark);
            }
        }
        Ok(marks)
    }

    /// The marks on these teams, due or not, as if a person had asked for a look; one that was never marked has
    /// generation 0.
    pub async fn marks_of(&self, org: OrgId, teams: &[TeamId]) -> sqlx::Result<Vec<LeasedMark>> {
        let mut marks = Vec::new();
        for team in teams {
            let row = sqlx::query(
                "SELECT generation, cause, asks_datadog, asks_reserve, asks_at_once, lifts_creates,
                     answers_event, event_at, received_at, attempts, failures FROM marks
                 WHERE org_id = $1 AND kind = 'team' AND team_id = $2",
            )
            .bind(org.0)
            .bind(team.0)
            .fetch_optional(&self.read)
            .await?;
            let known = row.map(|row| mark(&row, Some(*team))).transpose()?;
            let mark = known.unwrap_or(LeasedMark {
                team: Some(*team),
                generation: 0,
                cause: Cause::Person,
                asks: Asks::PERSON,
                event_at: None,
                received_at: None,
                attempts: 0,
                failures: 0,
            });
            marks.push(LeasedMark { cause: Cause::Person, asks: Asks::PERSON, ..mark });
        }
        Ok(marks)
    }

    /// The teams that something has marked and no look has answered yet.
    pub async fn unanswered_teams(&self, org: OrgId) -> sqlx::Result<BTreeSet<TeamId>> {
        let teams: Vec<i64> = sqlx::query_scalar(
            "SELECT team_id FROM marks WHERE org_id = $1 AND kind = 'team' AND first_at IS NOT NULL",
        )
        .bind(org.0)
        .fetch_all(&self.read)
        .await?;
        Ok(teams.into_iter().map(TeamId).collect())
    }

    /// Teams of an organisation that a look has answered since then, or that wait for one; and the connections that are
    /// ours now, are being written, or were written since then.
    pub async fn moving(
        &self,
        org: OrgId,
        since: Time,
    ) -> sqlx::Result<(BTreeSet<TeamId>, BTreeSet<ConnectionKey>)> {
        let teams: Vec<i64> = sqlx::query_scalar(
            "SELECT team_id FROM marks
             WHERE org_id = $1 AND kind = 'team' AND (first_at IS NOT NULL OR last_attempt_at >= $2)",
        )
        .bind(org.0)
        .bind(since.0)
        .fetch_all(&self.read)
        .await?;
        let keys: Vec<(String, String)> = sqlx::query_as(
            "SELECT datadog_team_id, github FROM connections WHERE org_id = $1
             UNION SELECT datadog_team_id, github FROM intents WHERE org_id = $1
             UNION SELECT datadog_team_id, github FROM audit WHERE org_id = $1 AND at >= $2",
        )
        .bind(org.0)
        .bind(since.0)
        .fetch_all(&self.read)
        .await?;
        let key = |(team, github): (String, _)| ConnectionKey { datadog_team: team.into(), github };
        Ok((teams.into_iter().map(TeamId).collect(), keys.into_iter().map(key).collect()))
    }

    /// How many events of a team have been received since then.
    pub async fn events_since(&self, key: TeamKey, since: Time) -> sqlx::Result<i64> {
        sqlx::query_scalar(EVENTS_SINCE)
            .bind(key.org.0)
            .bind(key.team.0)
            .bind(since.0)
            .fetch_one(&self.read)
            .await
    }

    /// The mark on an organisation as a whole, or on a document, when it is due.
    pub async fn due_whole(&self, lane: Lane, now: Time) -> sqlx::Result<Option<LeasedMark>> {
        let row = sqlx::query(
            "SELECT generation, cause, asks_datadog, asks_reserve, asks_at_once, lifts_creates,
                 answers_event, event_at, received_at, attempts, failures FROM marks
             WHERE org_id = $1 AND kind <> 'team' AND due_at <= $2 AND not_before <= $2",
        )
        .bind(rows::lane_number(lane))
        .bind(now.0)
        .fetch_optional(&self.read)
        .await?;
        row.map(|row| mark(&row, None)).transpose()
    }

    /// Makes what waits for a scope of an upstream due at once, because it works again.
    pub async fn lift(&self, scope: &str, now: Time) -> sqlx::Result<()> {
        self.retried(move || async move {
            let lifted = "UPDATE marks SET due_at = $2, not_before = $2
                 WHERE blocked_by = $1 AND due_at IS NOT NULL AND (due_at > $2 OR not_before > $2)";
            sqlx::query(lifted).bind(scope).bind(now.0).execute(&self.write).await.map(drop)
        })
        .await
    }
}

fn mark(row: &AnyRow, team: Option<TeamId>) -> sqlx::Result<LeasedMark> {
    let count = |name| Ok::<_, sqlx::Error>(u32::try_from(row.try_get::<i64, _>(name)?).unwrap_or(u32::MAX));
    Ok(LeasedMark {
        team,
        generation: row.try_get("generation")?,
        cause: rows::cause(row)?,
        asks: rows::asks(row)?,
        event_at: row.try_get::<Option<i64>, _>("event_at")?.map(Time),
        received_at: row.try_get::<Option<i64>, _>("received_at")?.map(Time),
        attempts: count("attempts")?,
        failures: count("failures")?,
    })
}
