//! How a lane stands: what of it is due, waits or was given up on. It counts, and decides nothing.

use sqlx::{AssertSqlSafe, Row};

use super::{Ledger, held, rows};
use crate::model::{Lane, RemovedByOthers, Time};

/// How an organisation, or a document, stands after a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// Marks that are due now.
    pub due: i64,
    /// Marks that no successful look has answered yet, due or not; later reads against lag are none.
    pub unanswered: i64,
    /// Targets whose last look failed.
    pub failing: i64,
    /// Those of them that another look may settle: by success, or by giving up on what is refused.
    pub passing: i64,
    /// Why the organisation as a whole could not be looked at, if it could not.
    pub unread: Option<String>,
    /// Teams and repositories that one look found gone, and connections that one look found unwanted: they wait for
    /// the second.
    pub suspected: i64,
    /// Teams that no look has found in step yet, and that are looked at again at a time to come, though none failed and
    /// nothing of them is given up on: what was read does not settle what they need.
    pub postponed: i64,
    /// When the first of them is looked at.
    pub postponed_until: Option<Time>,
    /// Removals that wait for a person.
    pub held: i64,
    /// Actions that were given up on.
    pub parked: i64,
    /// Pauses that concern it: of a team, of the organisation, of everything.
    pub paused: i64,
    /// Teams that wait for a handle that Datadog does not have.
    pub waiting: i64,
    /// Connections that are ours.
    pub owned: i64,
    /// Connections with our mark that this ledger does not know, as the last full pass found them.
    pub orphans: i64,
    /// Connections of ours that somebody else removed again and again within a day.
    pub removed_by_others: i64,
}

impl Ledger {
    /// How a lane stands.
    pub async fn progress(&self, lane: Lane, now: Time) -> sqlx::Result<Progress> {
        let document = match lane {
            Lane::Document(integration) => Some(integration.as_str()),
            Lane::Org(_) | Lane::Recovery => None,
        };
        let waits = held::waits_at("$2");
        let query = format!(
            "WITH postponed AS (
                 SELECT due_at FROM teams
                 JOIN marks ON kind = 'team' AND marks.org_id = teams.org_id AND marks.team_id = teams.team_id
                 WHERE teams.org_id = $1 AND gone_at IS NULL AND suspected_at IS NULL AND NOT waiting
                     AND NOT (in_step AND COALESCE(in_step_for, '') = $7)
                     AND due_at > $2 AND last_error IS NULL AND NOT EXISTS (
                         SELECT 1 FROM parked WHERE parked.kind = 'action'
                             AND parked.org_id = teams.org_id AND parked.team_id = teams.team_id))
             SELECT (SELECT COUNT(*) FROM marks WHERE org_id = $1 AND due_at <= $2 AND not_before <= $2) AS due,
                    (SELECT COUNT(*) FROM marks WHERE org_id = $1 AND first_at IS NOT NULL) AS unanswered,
                    (SELECT COUNT(*) FROM marks WHERE org_id = $1 AND due_at IS NOT NULL
                         AND last_error IS NOT NULL) AS failing,
                    (SELECT COUNT(*) FROM marks WHERE org_id = $1 AND due_at IS NOT NULL
                         AND (last_class IN ('transient', 'throttled')
                              OR kind = 'team' AND last_class = 'permanent')) AS passing,
                    (SELECT last_error FROM marks WHERE org_id = $1 AND kind <> 'team') AS unread,
                    (SELECT COUNT(*) FROM teams WHERE org_id = $1 AND suspected_at IS NOT NULL
                         AND gone_at IS NULL)
                        + (SELECT COUNT(*) FROM connections WHERE org_id = $1
                               AND unwanted_since IS NOT NULL)
                        + (SELECT COUNT(*) FROM entries WHERE integration = $3 AND suspected_at IS NOT NULL)
                        + (SELECT COUNT(*) FROM document_suspicions WHERE integration = $3) AS suspected,
                    (SELECT COUNT(*) FROM postponed) AS postponed,
                    (SELECT MIN(due_at) FROM postponed) AS postponed_until,
                    (SELECT COUNT(*) FROM held WHERE org_id = $1 AND {waits}) AS held,
                    (SELECT COUNT(*) FROM parked WHERE org_id = $1) AS parked,
                    (SELECT COUNT(*) FROM paused WHERE org_id IN ($4, $1)) AS paused,
                    (SELECT COUNT(*) FROM teams WHERE org_id = $1 AND waiting) AS waiting,
                    (SELECT COUNT(*) FROM connections WHERE org_id = $1) AS owned,
                    COALESCE((SELECT orphans FROM orgs WHERE org_id = $1), 0) AS orphans,
                    (SELECT COUNT(*) FROM (
                         SELECT 1 AS one FROM removed_by_others WHERE org_id = $1 AND at > $5
                         GROUP BY datadog_team_id, github HAVING COUNT(*) >= $6) AS fights) AS removed_by_others",
        );
        let row = sqlx::query(AssertSqlSafe(query))
            .bind(rows::lane_number(lane))
            .bind(now.0)
            .bind(document)
            .bind(rows::EVERYTHING)
            .bind((now - RemovedByOthers::WITHIN).0)
            .bind(i64::try_from(RemovedByOthers::FIGHT).unwrap_or(i64::MAX))
            .bind(self.rules.in_step_for.as_str())
            .fetch_one(&self.read)
            .await?;
        Ok(Progress {
            due: row.try_get("due")?,
            unanswered: row.try_get("unanswered")?,
            failing: row.try_get("failing")?,
            passing: row.try_get("passing")?,
            unread: row.try_get("unread")?,
            suspected: row.try_get("suspected")?,
            postponed: row.try_get("postponed")?,
            postponed_until: row.try_get::<Option<i64>, _>("postponed_until")?.map(Time),
            held: row.try_get("held")?,
            parked: row.try_get("parked")?,
            paused: row.try_get("paused")?,
            waiting: row.try_get("waiting")?,
            owned: row.try_get("owned")?,
            orphans: row.try_get("orphans")?,
            removed_by_others: row.try_get("removed_by_others")?,
        })
    }
}
