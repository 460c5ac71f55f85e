//! What was given up on until a person, a newer event or a full pass tries it again.
//!
//! A delivery is parked with its body, its payload. Whoever captured one delivery can send it under new GUIDs for ever, so
//! equal payloads are stored once, and all of them together are bounded. Beyond the bounds a delivery is parked without its
//! payload. If it can be read and is believed, the organisation that it names is then looked at as a whole.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::{AnyConnection, Row};

use super::{Accepting, AuditAction, AuditOutcome, Ledger, accept, rows};
use crate::model::{Asks, Cause, Class, Delivery, Lane, TeamId, TeamKey, Time};

/// What kind of thing is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkedKind {
    /// A delivery that cannot be decoded or believed, that the ledger would not store, or that the broker gave up.
    Delivery,
    /// A write that Datadog refuses for good, or a look that always fails.
    Action,
}

/// Where a delivery was given up on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkedPlace {
    /// No event could be read from it.
    Decode,
    /// It has no signature where one is asked for, or a wrong one.
    Signature,
    /// The ledger would not store what it says.
    Store,
    /// The broker gave up delivering it.
    DeadQueue,
    /// The ledger would not even park it: nothing but its hash is kept.
    Stub,
}

impl ParkedPlace {
    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Signature => "signature",
            Self::Store => "store",
            Self::DeadQueue => "dead_queue",
            Self::Stub => "stub",
        }
    }

    /// The class of the error: what the broker gave up may be as good as any, and came at a bad time.
    fn class(self) -> Class {
        match self {
            Self::Decode | Self::Signature | Self::Store | Self::Stub => Class::Invalid,
            Self::DeadQueue => Class::Transient,
        }
    }
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
    /// Where it was given up on: a [`ParkedPlace`], or what the action would have done.
    pub place: String,
    /// The class of the last error.
    pub class: String,
    /// How often it was tried in vain.
    pub attempts: i64,
    /// Why it was parked the first time.
    pub first_error: String,
    /// When that was.
    pub first_at: Time,
    /// Why it was parked the last time.
    pub error: String,
    /// When that was.
    pub parked_at: Time,
    /// What an action belongs to: its lane, and its team if it has one. A delivery names neither, because it was not
    /// verified.
    #[serde(flatten, serialize_with = "rows::serialize_owner")]
    pub owner: Option<(Lane, Option<TeamId>)>,
    /// A delivery's event.
    pub event: Option<String>,
    /// The size of the kept payload in bytes; none for an action, and for a delivery whose payload was not kept.
    pub body_bytes: Option<i64>,
}

/// The most that payloads may take together, in bytes.
const PAYLOADS: i64 = 256 << 20;

/// The most that those of one [`DAY`] may take.
const PAYLOADS_A_DAY: i64 = 64 << 20;

const DAY: Duration = Duration::from_secs(86_400);

/// A payload counts as at least so many bytes, so that the number of their rows is bounded too.
const LEAST: usize = 4 << 10;

impl Ledger {
    /// Everything that is parked, oldest first.
    pub async fn parked(&self) -> sqlx::Result<Vec<Parked>> {
        let rows = sqlx::query(
            "SELECT id, kind, subject, place, class, attempts, first_error, first_at, error, parked_at, org_id,
                 team_id, event, COALESCE(LENGTH(body), (SELECT LENGTH(body) FROM payloads WHERE hash = payload)) AS body_bytes
             FROM parked ORDER BY id",
        )
        .fetch_all(&self.read)
        .await?;
        rows.into_iter()
            .map(|row| {
                let (org, team): (Option<i64>, Option<i64>) =
                    (row.try_get("org_id")?, row.try_get("team_id")?);
                Ok(Parked {
                    id: row.try_get("id")?,
                    kind: match row.try_get::<&str, _>("kind")? {
                        "delivery" => ParkedKind::Delivery,
                        _ => ParkedKind::Action,
                    },
                    subject: row.try_get("subject")?,
                    place: row.try_get("place")?,
                    class: row.try_get("class")?,
                    attempts: row.try_get("attempts")?,
                    first_error: row.try_get("first_error")?,
                    first_at: Time(row.try_get("first_at")?),
                    error: row.try_get("error")?,
                    parked_at: Time(row.try_get("parked_at")?),
                    owner: org.map(|org| (rows::lane(org), team.and_then(rows::team))),
                    event: row.try_get("event")?,
                    body_bytes: row.try_get("body_bytes")?,
                })
            })
            .collect()
    }

    /// A parked delivery as it came, byte for byte, without its body if that was not kept; `None` for an action, and for what
    /// is parked no more.
    pub async fn parked_delivery(&self, id: i64) -> sqlx::Result<Option<Delivery>> {
        let row = sqlx::query(
            "SELECT guid, event, host, signature, received_at,
                 COALESCE(body, (SELECT body FROM payloads WHERE hash = payload)) AS body
             FROM parked WHERE id = $1 AND kind = 'delivery'",
        )
        .bind(id)
        .fetch_optional(&self.read)
        .await?;
        row.map(|row| {
            Ok(Delivery {
                guid: row.try_get("guid")?,
                event: row.try_get("event")?,
                host: row.try_get("host")?,
                signature: row.try_get("signature")?,
                received_at: Time(row.try_get("received_at")?),
                body: row.try_get::<Option<Vec<u8>>, _>("body")?.unwrap_or_default().into(),
            })
        })
        .transpose()
    }

    /// GUIDs of the deliveries of a team that came until then, the newest first, as far as they are kept.
    pub async fn deliveries_until(&self, key: TeamKey, until: Time, limit: i64) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT guid FROM deliveries WHERE org_id = $1 AND team_id = $2 AND stored_at <= $3
             ORDER BY stored_at DESC, guid LIMIT $4",
        )
        .bind(key.org.0)
        .bind(key.team.0)
        .bind(until.0)
        .bind(limit)
        .fetch_all(&self.read)
        .await
    }

    /// Takes away what is parked, unless it was tried in vain more often than `attempts` times meanwhile. Either is
    /// noted in the audit trail as what `action` (`replay`, `discard`) became of. Says whether it was taken away.
    pub async fn unpark(
        &self,
        id: i64,
        attempts: i64,
        action: AuditAction,
        reason: &str,
        now: Time,
    ) -> sqlx::Result<bool> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            note(&mut transaction, id, action, reason, Some(attempts), now).await?;
            let payload: Option<Option<String>> =
                sqlx::query_scalar("SELECT payload FROM parked WHERE id = $1")
                    .bind(id)
                    .fetch_optional(&mut *transaction)
                    .await?;
            let payload = payload.flatten();
            let gone = sqlx::query("DELETE FROM parked WHERE id = $1 AND attempts = $2")
                .bind(id)
                .bind(attempts)
                .execute(&mut *transaction)
                .await?;
            if let Some(payload) = payload {
                forget_payload(&mut transaction, &payload).await?;
            }
            transaction.commit().await?;
            Ok(gone.rows_affected() > 0)
        })
        .await
    }

    /// Has the target of a parked action looked at once more. The action stays parked until that look has settled.
    /// Says whether it was still parked.
    pub async fn replay_action(&self, id: i64, reason: &str, now: Time) -> sqlx::Result<bool> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            let of: Option<(i64, i64)> =
                sqlx::query_as("SELECT org_id, team_id FROM parked WHERE id = $1 AND kind = 'action'")
                    .bind(id)
                    .fetch_optional(&mut *transaction)
                    .await?;
            let Some((org, team)) = of else { return Ok(false) };
            note(&mut transaction, id, AuditAction::Replay, reason, None, now).await?;
            let target = rows::target(org, team);
            accept::mark_in(&mut transaction, target.as_slice(), Cause::Person, Asks::PERSON, now).await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    /// The next delivery from the dead queue whose payload is kept and that was never accepted again, with its count of
    /// attempts. Each is given only once: were it to bring the process down, it must not do so again.
    pub async fn take_dead(&self) -> sqlx::Result<Option<(i64, i64)>> {
        sqlx::query_as(
            "UPDATE parked SET retried = TRUE WHERE id =
                 (SELECT MIN(id) FROM parked WHERE kind = 'delivery' AND place = 'dead_queue' AND NOT retried
                      AND (body IS NOT NULL OR payload IS NOT NULL))
                 AND NOT retried
             RETURNING id, attempts",
        )
        .fetch_optional(&self.write)
        .await
    }

    /// Takes away a delivery that was accepted again by itself.
    pub async fn revived(&self, id: i64, attempts: i64) -> sqlx::Result<bool> {
        let gone = sqlx::query("DELETE FROM parked WHERE id = $1 AND attempts = $2")
            .bind(id)
            .bind(attempts)
            .execute(&self.write)
            .await?;
        Ok(gone.rows_affected() > 0)
    }
}

/// Notes what a person did with what is parked. With `attempts`, it is done only as long as they are the same.
async fn note(
    db: &mut AnyConnection,
    id: i64,
    action: AuditAction,
    reason: &str,
    attempts: Option<i64>,
    now: Time,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO audit (at, org_id, team_id, action, datadog_team_id, github, cause, reason, outcome, detail,
             fence)
         SELECT $1, COALESCE(org_id, $6), COALESCE(team_id, $7), $2, '', '', 'person', $3,
             CASE WHEN attempts = COALESCE($4, attempts) THEN $8 ELSE $9 END,
             kind || ' ' || subject || ': ' || error, 0
         FROM parked WHERE id = $5",
    )
    .bind(now.0)
    .bind(action.as_str())
    .bind(rows::clean(reason))
    .bind(attempts)
    .bind(id)
    .bind(rows::EVERYTHING)
    .bind(rows::team_column(None))
    .bind(AuditOutcome::Done.as_str())
    .bind(AuditOutcome::Parked.as_str())
    .execute(db)
    .await?;
    Ok(())
}

impl Ledger {
    /// Deletes the payloads that no parked delivery has any more.
    pub(super) async fn forget_payloads(&self) -> sqlx::Result<()> {
        let unused: Vec<String> = sqlx::query_scalar(
            "SELECT hash FROM payloads WHERE NOT EXISTS (SELECT 1 FROM parked WHERE payload = hash) LIMIT 1000",
        )
        .fetch_all(&self.read)
        .await?;
        for hash in &unused {
            self.retried(move || async move {
                let mut transaction = self.begin().await?;
                forget_payload(&mut transaction, hash).await?;
                transaction.commit().await
            })
            .await?;
        }
        Ok(())
    }
}

/// Deletes a payload, unless a parked delivery has it.
async fn forget_payload(db: &mut AnyConnection, hash: &str) -> sqlx::Result<()> {
    lock_payload(db, hash).await?;
    sqlx::query(
        "DELETE FROM payloads WHERE hash = $1 AND NOT EXISTS (SELECT 1 FROM parked WHERE payload = $1)",
    )
    .bind(hash)
    .execute(db)
    .await?;
    Ok(())
}

/// Locks a payload until the transaction ends, so that no other process deletes it while this one parks a delivery with it.
/// Returns whether the ledger has it.
async fn lock_payload(db: &mut AnyConnection, hash: &str) -> sqlx::Result<bool> {
    let locked =
        sqlx::query("UPDATE payloads SET size = size WHERE hash = $1").bind(hash).execute(db).await?;
    Ok(locked.rows_affected() > 0)
}

/// Stores a payload, unless it is stored already or the payloads take up too much. Returns its hash if it is stored.
async fn store_payload(db: &mut AnyConnection, body: &[u8], now: Time) -> sqlx::Result<Option<String>> {
    let hash = hex::encode(Sha256::digest(body));
    if lock_payload(db, &hash).await? {
        return Ok(Some(hash));
    }
    let size = i64::try_from(body.len().max(LEAST)).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO payloads (hash, size, stored_at, body)
         SELECT $1, CAST($2 AS BIGINT), CAST($3 AS BIGINT), $4
         WHERE CAST((SELECT COALESCE(SUM(size), 0) FROM payloads) AS BIGINT) + $2 <= $5
           AND CAST((SELECT COALESCE(SUM(size), 0) FROM payloads WHERE stored_at > $6) AS BIGINT) + $2 <= $7
         ON CONFLICT (hash) DO NOTHING",
    )
    .bind(&hash)
    .bind(size)
    .bind(now.0)
    .bind(body)
    .bind(PAYLOADS)
    .bind((now - DAY).0)
    .bind(PAYLOADS_A_DAY)
    .execute(&mut *db)
    .await?;
    Ok(lock_payload(db, &hash).await?.then_some(hash))
}

/// Parks a delivery. Returns whether its payload is kept.
pub(super) async fn park_delivery(
    connection: &mut AnyConnection,
    entry: &Accepting,
    place: ParkedPlace,
    error: &str,
    now: Time,
) -> sqlx::Result<bool> {
    let payload = store_payload(connection, &entry.body, now).await?;
    let mut error = rows::clean(error);
    if payload.is_none() {
        error += &format!(
            "; its payload of {} bytes was not kept, since parked payloads may take {} MiB a day and {} MiB together",
            entry.body.len(),
            PAYLOADS_A_DAY >> 20,
            PAYLOADS >> 20
        );
    }
    sqlx::query(
        "INSERT INTO parked (kind, subject, guid, event, host, signature, received_at, payload, place, class, attempts,
             first_error, first_at, error, parked_at)
         VALUES ('delivery', $1, $1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $10, $9, $10)
         ON CONFLICT (guid) WHERE kind = 'delivery' DO UPDATE SET
             event = excluded.event, host = excluded.host, signature = excluded.signature,
             received_at = excluded.received_at,
             body = CASE WHEN excluded.payload IS NULL THEN parked.body END,
             payload = COALESCE(excluded.payload, parked.payload), place = excluded.place,
             class = excluded.class, attempts = parked.attempts + 1, error = excluded.error,
             parked_at = excluded.parked_at",
    )
    .bind(rows::clean(&entry.guid))
    .bind(rows::clean(&entry.event))
    .bind(entry.host.as_deref().map(rows::clean))
    .bind(entry.signature.as_deref().map(rows::clean))
    .bind(entry.received_at.0)
    .bind(&payload)
    .bind(place.as_str())
    .bind(place.class().as_str())
    .bind(error)
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(payload.is_some())
}
