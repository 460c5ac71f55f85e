//! What was done, by whom, why, and how it ended.

use std::collections::HashMap;

use sqlx::Row;

use super::{Ledger, rows};
use crate::model::{Lane, TeamId, TeamKey, Time, team_or_zero};

/// One line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AuditLine {
    /// When, in microseconds since 1970.
    pub at: Time,
    /// The lane; none for what concerns everything. JSON shows its number, 0 for everything.
    #[serde(rename = "org", serialize_with = "rows::serialize_lane")]
    pub lane: Option<Lane>,
    /// The GitHub team; none for what concerns its lane. JSON shows 0 in its place.
    #[serde(with = "team_or_zero")]
    pub team: Option<TeamId>,
    /// The organisation and the team as they are called now.
    pub github: String,
    /// `create`, `delete`, `pass_on`, `forget`, `create_team`, `approve`, `end_hold`,
    /// `removed_by_others`, `pause`, `resume`.
    pub action: String,
    /// The connection's handle in GitHub, lower-cased; empty for what is no connection.
    pub connected_team: String,
    /// The connection's Datadog team, its handle while that is all there is; empty for what is no connection.
    pub datadog_team: String,
    /// The connection's id in Datadog, when known.
    pub connection: Option<String>,
    /// `event`, `pass` or `person`: who asked for the look.
    pub cause: String,
    /// Why.
    pub reason: String,
    /// What proves that it may be done.
    pub proof: Option<String>,
    /// `done`, `already`, `parked` or `failed`; `unknown` for a write whose answer was lost.
    pub outcome: String,
    /// What Datadog answered, when that says more.
    pub detail: Option<String>,
    /// The fence of the lease under which it was done, which each request to Datadog carried; `0` without a lease.
    pub fence: i64,
    /// GUIDs of the team's deliveries that the look answered, oldest first; those that are still kept.
    pub deliveries: Vec<String>,
}

impl Ledger {
    /// The audit trail since a time, of one team or of all, newest last.
    pub async fn audit(&self, team: Option<TeamKey>, since: Time) -> sqlx::Result<Vec<AuditLine>> {
        let (org, id) = team.map_or((None, None), |key| (Some(key.org.0), Some(key.team.0)));
        // Deliveries that came after the look began are answered by the next one, but may be listed with this one
        // when they came before it ended.
        let deliveries: Vec<(i64, String)> = sqlx::query_as(
            "SELECT audit.id, guid FROM audit JOIN deliveries
                 ON deliveries.org_id = audit.org_id AND deliveries.team_id = audit.team_id
                 AND deliveries.stored_at BETWEEN audit.events_since AND audit.at
             WHERE audit.at >= $1 AND ($2 IS NULL OR (audit.org_id = $2 AND audit.team_id = $3))
             ORDER BY received_at, guid",
        )
        .bind(since.0)
        .bind(org)
        .bind(id)
        .fetch_all(&self.read)
        .await?;
        let mut of_line: HashMap<i64, Vec<String>> = HashMap::new();
        for (line, guid) in deliveries {
            of_line.entry(line).or_default().push(guid);
        }
        let rows = sqlx::query(
            "SELECT audit.*, login, slug FROM audit
                 LEFT JOIN orgs ON orgs.org_id = audit.org_id
                 LEFT JOIN teams ON teams.org_id = audit.org_id AND teams.team_id = audit.team_id
             WHERE audit.at >= $1 AND ($2 IS NULL OR (audit.org_id = $2 AND audit.team_id = $3))
             ORDER BY audit.at, audit.id",
        )
        .bind(since.0)
        .bind(org)
        .bind(id)
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|row| {
                let (lane, team) =
                    (rows::any_lane(row.try_get("org_id")?), rows::team(row.try_get("team_id")?));
                let login: Option<String> = row.try_get("login")?;
                let slug: Option<String> = row.try_get("slug")?;
                let named = |lane: Lane| match (login, lane) {
                    (Some(login), _) => login,
                    (None, Lane::Org(org)) => org.to_string(),
                    (None, Lane::Document(_) | Lane::Recovery) => lane.to_string(),
                };
                Ok(AuditLine {
                    at: Time(row.try_get("at")?),
                    lane,
                    team,
                    github: match (lane, team) {
                        (None, _) => "all".to_owned(),
                        (Some(lane), None) => named(lane),
                        (Some(lane), Some(team)) => {
                            format!("{}/{}", named(lane), slug.unwrap_or_else(|| team.to_string()))
                        }
                    },
                    action: row.try_get("action")?,
                    connected_team: row.try_get("github")?,
                    datadog_team: row.try_get("datadog_team_id")?,
                    connection: row.try_get("connection_id")?,
                    cause: row.try_get("cause")?,
                    reason: row.try_get("reason")?,
                    proof: row.try_get("proof")?,
                    outcome: row.try_get("outcome")?,
                    detail: row.try_get("detail")?,
                    fence: row.try_get("fence")?,
                    deliveries: of_line.remove(&row.try_get("id")?).unwrap_or_default(),
                })
            })
            .collect()
    }
}
