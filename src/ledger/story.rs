//! What the ledger remembers of one team beside the mirror: its events, its looks, what waits or was given up on.

use sqlx::Row;

use super::{Held, Ledger, Parked, held};
use crate::model::{Lane, TeamKey, Time};

/// How many of a team's last deliveries are told.
const EVENTS: i64 = 5;

/// What is remembered of one team.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TeamStory {
    /// Its last deliveries, newest first.
    pub events: Vec<EventLine>,
    /// Its looks; `None` when nothing has ever asked for one.
    pub looks: Option<Looks>,
    /// Its actions that wait for a person.
    pub held: Vec<Held>,
    /// Its actions that were given up on.
    pub parked: Vec<Parked>,
}

/// A delivery that was about the team.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EventLine {
    /// Its GUID.
    pub guid: String,
    /// `event.action`.
    pub event: String,
    /// When our first door took it.
    pub received_at: Time,
    /// How often it came.
    pub times: i64,
}

/// How the looks at the team went.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Looks {
    /// The last one.
    pub last_attempt_at: Option<Time>,
    /// The last one that was settled.
    pub last_success_at: Option<Time>,
    /// Why the last one failed, if it did.
    pub last_error: Option<String>,
    /// The class of that error.
    pub last_class: Option<String>,
    /// What of an upstream it waits for, such as `datadog:connections:write`; when that works again, it is looked at
    /// at once.
    pub blocked_by: Option<String>,
    /// Looks in a row that failed while others worked.
    pub attempts: i64,
    /// The next one, if one is to come without anybody asking.
    pub next_at: Option<Time>,
}

impl Ledger {
    /// What is remembered of a team.
    pub async fn story(&self, key: TeamKey) -> sqlx::Result<TeamStory> {
        let events = sqlx::query(
            "SELECT guid, event, action, received_at, times FROM deliveries
             WHERE org_id = $1 AND team_id = $2 ORDER BY received_at DESC, guid LIMIT $3",
        )
        .bind(key.org.0)
        .bind(key.team.0)
        .bind(EVENTS)
        .fetch_all(&self.read)
        .await?;
        let looks = sqlx::query(
            "SELECT last_attempt_at, last_success_at, last_error, last_class, blocked_by, attempts,
                    CASE WHEN due_at < not_before THEN not_before ELSE due_at END AS next_at
             FROM marks WHERE kind = 'team' AND org_id = $1 AND team_id = $2",
        )
        .bind(key.org.0)
        .bind(key.team.0)
        .fetch_optional(&self.read)
        .await?;
        let held = held::held_of(&mut *self.read.acquire().await?, Lane::Org(key.org)).await?;
        let parked = self.parked().await?;
        Ok(TeamStory {
            events: events
                .iter()
                .map(|row| {
                    let (event, action): (&str, &str) = (row.try_get("event")?, row.try_get("action")?);
                    Ok(EventLine {
                        guid: row.try_get("guid")?,
                        event: if action.is_empty() { event.to_owned() } else { format!("{event}.{action}") },
                        received_at: Time(row.try_get("received_at")?),
                        times: row.try_get("times")?,
                    })
                })
                .collect::<sqlx::Result<_>>()?,
            looks: looks
                .map(|row| {
                    let time = |name| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(name)?.map(Time));
                    Ok::<_, sqlx::Error>(Looks {
                        last_attempt_at: time("last_attempt_at")?,
                        last_success_at: time("last_success_at")?,
                        last_error: row.try_get("last_error")?,
                        last_class: row.try_get("last_class")?,
                        blocked_by: row.try_get("blocked_by")?,
                        attempts: row.try_get("attempts")?,
                        next_at: time("next_at")?,
                    })
                })
                .transpose()?,
            held: held.into_iter().filter(|held| held.team == Some(key.team)).collect(),
            parked: parked
                .into_iter()
                .filter(|parked| parked.owner == Some((Lane::Org(key.org), Some(key.team))))
                .collect(),
        })
    }
}
