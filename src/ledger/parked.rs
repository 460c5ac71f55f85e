//! What was given up on until a person, a newer event or a full pass tries it again.

use sqlx::{Row, SqliteConnection};

use super::{Entry, Ledger, rows};
use crate::model::{OrgId, TeamId, Time};

/// What kind of thing is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkedKind {
    /// A delivery that cannot be decoded, or that the ledger would not store.
    Delivery,
    /// A write that Datadog refuses for good.
    Action,
}

/// A parked row, without its body.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Parked {
    /// Its number, by which commands name it.
    pub id: i64,
    /// What it is.
    pub kind: ParkedKind,
    /// The delivery's GUID, or the action and its key.
    pub subject: String,
    /// The organisation it belongs to, when that is known.
    pub org: Option<OrgId>,
    /// The team it belongs to, when that is known.
    pub team: Option<TeamId>,
    /// Why it was parked.
    pub error: String,
    /// When it was parked.
    pub parked_at: Time,
    /// The size of the kept body in bytes; none for an action.
    pub body_bytes: Option<i64>,
}

impl Ledger {
    /// Everything that is parked, oldest first.
    pub async fn parked(&self) -> sqlx::Result<Vec<Parked>> {
        let rows = sqlx::query(
            "SELECT id, kind, subject, org_id, team_id, error, parked_at, LENGTH(body) AS body_bytes
             FROM parked ORDER BY id",
        )
        .fetch_all(&self.read)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Parked {
                    id: row.try_get("id")?,
                    kind: match row.try_get::<&str, _>("kind")? {
                        "delivery" => ParkedKind::Delivery,
                        _ => ParkedKind::Action,
                    },
                    subject: row.try_get("subject")?,
                    org: row.try_get::<Option<i64>, _>("org_id")?.map(OrgId),
                    team: row.try_get::<Option<i64>, _>("team_id")?.map(TeamId),
                    error: row.try_get("error")?,
                    parked_at: Time(row.try_get("parked_at")?),
                    body_bytes: row.try_get("body_bytes")?,
                })
            })
            .collect()
    }

    /// The body of a parked delivery, byte for byte.
    pub async fn parked_body(&self, id: i64) -> sqlx::Result<Option<Vec<u8>>> {
        sqlx::query_scalar("SELECT body FROM parked WHERE id = $1 AND body IS NOT NULL")
            .bind(id)
            .fetch_optional(&self.read)
            .await
    }
}

pub(super) async fn park_delivery(
    connection: &mut SqliteConnection,
    entry: &Entry,
    error: &str,
    now: Time,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO parked (kind, guid, event, host, body, subject, error, parked_at)
         VALUES ('delivery', $1, $2, $3, $4, $1, $5, $6)
         ON CONFLICT (guid) WHERE kind = 'delivery' DO UPDATE SET
             body = excluded.body, error = excluded.error, parked_at = excluded.parked_at",
    )
    .bind(rows::clean(&entry.guid))
    .bind(rows::clean(&entry.event))
    .bind(entry.host.as_deref().map(rows::clean))
    .bind(&*entry.body)
    .bind(rows::clean(error))
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(())
}
