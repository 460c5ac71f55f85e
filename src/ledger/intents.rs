//! Intents: what is about to be written is stored before it is sent, so that an interrupted write is known, and what
//! Datadog answered is stored with it until its lists show that. They carry the fence of the lease and store nothing when
//! another holder has the lease by then.
//!
//! A key is global, and two organisations can want one after a login moved. The lock of a key is its row: a delete is
//! begun only while the row belongs to the team that it is deleted for, and a create only while no other organisation
//! has an intent for the key.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AnyConnection;

use super::{IntentKind, Ledger, LedgerError, rows, settle::check_fence, slots};
use crate::model::{ConnectionId, ConnectionKey, GithubHandle, Lane, OrgId, Subject, TeamId, TeamKey, Time};

/// A write that is about to be sent.
#[derive(Clone, Debug)]
pub struct Intended {
    /// What it does.
    pub kind: IntentKind,
    /// The connection.
    pub key: ConnectionKey,
    /// The GitHub team that it is for; none for the removal of an orphan.
    pub team: Option<TeamId>,
    /// The GitHub team as a create writes it.
    pub written: Option<GithubHandle>,
}

impl Ledger {
    /// Stores what is about to be written, before it is sent: creates carry the mark `managed_by`. A team that is
    /// connected for the first time enters the mirror with it: were it gone by the time an interrupted write is looked
    /// at again, nothing else would know that it ever was, and the connection would stay for ever.
    ///
    /// Returns the keys that must not be written, because another organisation has a claim on them. Nothing is stored
    /// for those.
    pub async fn intend(
        &self,
        org: OrgId,
        fence: i64,
        intents: &[Intended],
        managed_by: &str,
        now: Time,
    ) -> Result<BTreeSet<ConnectionKey>, LedgerError> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            let db = &mut *transaction;
            check_fence(db, Lane::Org(org), fence).await?;
            let mut refused = BTreeSet::new();
            for intent in intents.iter().filter(|intent| intent.kind == IntentKind::Delete) {
                if !locks_row(db, org, intent).await? {
                    refused.insert(intent.key.clone());
                }
            }
            let deleted = intents.iter().filter(|intent| intent.kind == IntentKind::Delete);
            let named = claims_of(db, org, deleted.map(|intent| &intent.key)).await?;
            refused.extend(named.into_keys());
            let intents: Vec<Intended> =
                intents.iter().filter(|intent| !refused.contains(&intent.key)).cloned().collect();
            refused.extend(store_intents(db, org, fence, &intents, managed_by, now).await?);
            transaction.commit().await?;
            Ok(refused)
        })
        .await
    }

    /// Stores that Datadog answered these writes with success, and the ids that it named: its lists may lag behind.
    pub async fn note_answered(
        &self,
        org: OrgId,
        fence: i64,
        answered: &[(&ConnectionKey, &ConnectionId)],
        now: Time,
    ) -> Result<(), LedgerError> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            check_fence(&mut transaction, Lane::Org(org), fence).await?;
            for (key, id) in answered {
                sqlx::query(
                    "UPDATE intents SET connection_id = $3, answered_at = $4, missed_at = NULL
                     WHERE datadog_team_id = $1 AND github = $2 AND org_id = $5",
                )
                .bind(key.datadog_team.as_str())
                .bind(&key.github)
                .bind(id.as_str())
                .bind(now.0)
                .bind(org.0)
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    /// Ends what other organisations sent before `over` for these connections, which Datadog's lists lack. Their deletes
    /// were carried out; their creates and adoptions that nobody answered were not. This organisation may make the
    /// connections then. The others may be gone, and never look again.
    pub async fn end_writes_of_others(
        &self,
        org: OrgId,
        fence: i64,
        keys: &BTreeSet<ConnectionKey>,
        over: Time,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            check_fence(&mut transaction, Lane::Org(org), fence).await?;
            for key in keys {
                if end_writes_of_others(&mut transaction, org, key, over).await? {
                    slots::note_done(&mut transaction, &Subject::Connection(key.clone()), now).await?;
                }
            }
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    /// Returns the teams of other organisations that have the names in these keys today.
    pub async fn claims(
        &self,
        org: OrgId,
        keys: impl Iterator<Item = &ConnectionKey>,
    ) -> sqlx::Result<BTreeMap<ConnectionKey, TeamKey>> {
        claims_of(&mut *self.read.acquire().await?, org, keys).await
    }
}

/// Locks the row of a connection that is about to be deleted. Returns false if it belongs to another team by now. An
/// orphan has no row.
async fn locks_row(db: &mut AnyConnection, org: OrgId, intent: &Intended) -> sqlx::Result<bool> {
    let Intended { key, team, .. } = intent;
    let Some(team) = team else {
        let row: Option<i64> =
            sqlx::query_scalar("SELECT team_id FROM connections WHERE datadog_team_id = $1 AND github = $2")
                .bind(key.datadog_team.as_str())
                .bind(&key.github)
                .fetch_optional(db)
                .await?;
        return Ok(row.is_none());
    };
    let locked = sqlx::query(
        "UPDATE connections SET org_id = org_id
         WHERE datadog_team_id = $1 AND github = $2 AND org_id = $3 AND team_id = $4",
    )
    .bind(key.datadog_team.as_str())
    .bind(&key.github)
    .bind(org.0)
    .bind(team.0)
    .execute(db)
    .await?;
    Ok(locked.rows_affected() > 0)
}

/// The teams of other organisations that have the names in these keys today, whether or not their organisations are
/// served, paused or observed.
async fn claims_of(
    db: &mut AnyConnection,
    org: OrgId,
    keys: impl Iterator<Item = &ConnectionKey>,
) -> sqlx::Result<BTreeMap<ConnectionKey, TeamKey>> {
    // The mirror that was read last says who has a login, this organisation's own included. One whose id answers 404 has
    // none.
    let others: Vec<(i64, String)> = sqlx::query_as(
        "SELECT org_id, login FROM orgs WHERE org_id <> $1 AND released_at IS NULL AND absent_since IS NULL
             AND NOT EXISTS (SELECT 1 FROM orgs AS own WHERE own.org_id = $1
                             AND LOWER(own.login) = LOWER(orgs.login) AND own.seen_at >= orgs.seen_at)
         ORDER BY seen_at",
    )
    .bind(org.0)
    .fetch_all(&mut *db)
    .await?;
    let mut by_login: BTreeMap<String, Vec<(String, &ConnectionKey)>> =
        others.iter().map(|(_, login)| (login.to_lowercase(), Vec::new())).collect();
    for key in keys {
        let handle = GithubHandle::from_datadog(key.github.clone());
        let Some((login, slug)) = handle.parts() else { continue };
        if let Some(named) = by_login.get_mut(login) {
            named.push((slug.to_owned(), key));
        }
    }
    let mut claims = BTreeMap::new();
    for (other, login) in others {
        for (slug, key) in by_login.get(&login.to_lowercase()).into_iter().flatten() {
            let team: Option<i64> = sqlx::query_scalar(
                "SELECT team_id FROM teams WHERE org_id = $1 AND LOWER(slug) = $2 AND gone_at IS NULL
                 ORDER BY seen_at DESC LIMIT 1",
            )
            .bind(other)
            .bind(slug)
            .fetch_optional(&mut *db)
            .await?;
            claims
                .extend(team.map(|team| ((*key).clone(), TeamKey { org: OrgId(other), team: TeamId(team) })));
        }
    }
    Ok(claims)
}

/// Stores intents and returns the keys for which another organisation has an open one. The create of an adoption is a
/// part of it: the intent stays what it is until it is closed.
pub(super) async fn store_intents(
    db: &mut AnyConnection,
    org: OrgId,
    fence: i64,
    intents: &[Intended],
    managed_by: &str,
    now: Time,
) -> sqlx::Result<BTreeSet<ConnectionKey>> {
    keep_late_creates(db, org, intents.iter().map(|intent| &intent.key), Some(now)).await?;
    // What is made again was removed by an earlier write of ours, if that was to delete it.
    let made = intents.iter().filter(|intent| intent.kind == IntentKind::Create);
    let made: Vec<ConnectionKey> = made.map(|intent| intent.key.clone()).collect();
    slots::note_deleted(db, &made, now).await?;
    rows::insert(
        &mut *db,
        "INSERT INTO intents (org_id, datadog_team_id, github, kind, team_id, fence, at, managed_by, written) ",
        " ON CONFLICT (datadog_team_id, github) DO UPDATE SET
             kind = CASE WHEN intents.kind = 'adopt' THEN 'adopt' ELSE excluded.kind END, team_id = excluded.team_id,
             fence = excluded.fence, at = excluded.at, managed_by = excluded.managed_by, written = excluded.written,
             connection_id = CASE WHEN intents.kind = excluded.kind THEN intents.connection_id END,
             answered_at = CASE WHEN intents.kind = excluded.kind THEN intents.answered_at END,
             missed_at = CASE WHEN intents.kind = excluded.kind THEN intents.missed_at END
         WHERE intents.org_id = excluded.org_id",
        &rows::sorted(intents, |intent| &intent.key),
        |row, Intended { kind, key, team, written }| {
            row.bind(org.0).bind(key.datadog_team.as_str()).bind(key.github.as_str());
            row.bind(kind.as_str()).bind(rows::team_column(*team)).bind(fence).bind(now.0);
            row.bind((*kind != IntentKind::Delete).then_some(managed_by));
            row.bind(written.as_ref().map(GithubHandle::as_str));
        },
    )
    .await?;
    let others: Vec<(String, String)> =
        sqlx::query_as("SELECT datadog_team_id, github FROM intents WHERE org_id <> $1")
            .bind(org.0)
            .fetch_all(&mut *db)
            .await?;
    let others =
        others.into_iter().map(|(team, github)| ConnectionKey { datadog_team: team.as_str().into(), github });
    let refused = others.filter(|key| intents.iter().any(|intent| intent.key == *key)).collect();
    if intents.iter().any(|intent| intent.kind != IntentKind::Delete) {
        sqlx::query(
            "INSERT INTO own_marks (managed_by, since) VALUES ($1, $2) ON CONFLICT (managed_by) DO NOTHING",
        )
        .bind(managed_by)
        .bind(now.0)
        .execute(&mut *db)
        .await?;
    }
    let teams: Vec<(TeamId, &str)> = intents
        .iter()
        .filter_map(|intent| Some((intent.team?, intent.key.github.split_once('/')?.1)))
        .collect();
    rows::insert(
        &mut *db,
        "INSERT INTO teams (org_id, team_id, slug, name, seen_at, in_step, waiting) ",
        " ON CONFLICT (org_id, team_id) DO NOTHING",
        &rows::sorted(&teams, |(team, _)| *team),
        |row, (team, slug)| {
            row.bind(org.0).bind(team.0).bind(*slug).bind(*slug);
            row.bind(now.0).bind(false).bind(false);
        },
    )
    .await?;
    Ok(refused)
}

/// Deletes the intents of what other organisations sent for this connection before `over`, as far as Datadog's lists show
/// what became of it: deletes, and creates and adoptions that nobody answered. What was answered and would still be shown
/// stays: who sent it has the id. Returns whether a delete was among them.
pub(super) async fn end_writes_of_others(
    db: &mut AnyConnection,
    org: OrgId,
    key: &ConnectionKey,
    over: Time,
) -> sqlx::Result<bool> {
    let ended: Vec<String> = sqlx::query_scalar(
        "DELETE FROM intents WHERE datadog_team_id = $1 AND github = $2 AND org_id <> $3 AND at < $4
             AND (kind = 'delete' OR answered_at IS NULL)
         RETURNING kind",
    )
    .bind(key.datadog_team.as_str())
    .bind(&key.github)
    .bind(org.0)
    .bind(over.0)
    .fetch_all(db)
    .await?;
    Ok(ended.iter().any(|kind| kind == IntentKind::Delete.as_str()))
}

/// Stores the unanswered creates of these connections, whose intents are about to be replaced or to end. They may arrive
/// after that, also where a list shows the connection already: somebody else may have made that one under our mark. An
/// adoption has sent its create once its intent has `written`. `sent` is when the last of them was sent, at the latest; none:
/// when its intent was stored.
pub(super) async fn keep_late_creates<'k>(
    db: &mut AnyConnection,
    org: OrgId,
    keys: impl Iterator<Item = &'k ConnectionKey>,
    sent: Option<Time>,
) -> sqlx::Result<()> {
    let unanswered: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT datadog_team_id, github, at FROM intents
         WHERE org_id = $1 AND (kind = 'create' OR kind = 'adopt' AND written IS NOT NULL)
             AND (answered_at IS NULL OR answered_at < at)",
    )
    .bind(org.0)
    .fetch_all(&mut *db)
    .await?;
    let unanswered: BTreeMap<ConnectionKey, i64> = unanswered
        .into_iter()
        .map(|(team, github, at)| (ConnectionKey { datadog_team: team.as_str().into(), github }, at))
        .collect();
    let sent = sent.map(|sent| sent.0);
    let late: Vec<(&ConnectionKey, i64)> =
        keys.filter_map(|key| unanswered.get(key).map(|at| (key, sent.unwrap_or(*at)))).collect();
    rows::insert(
        db,
        "INSERT INTO late_creates (datadog_team_id, github, sent_at) ",
        " ON CONFLICT (datadog_team_id, github) DO UPDATE SET sent_at = excluded.sent_at",
        &rows::sorted(&late, |(key, _)| (*key).clone()),
        |row, (key, sent)| {
            row.bind(key.datadog_team.as_str()).bind(key.github.as_str()).bind(*sent);
        },
    )
    .await?;
    Ok(())
}

/// Notes that a look read these answered creates by their ids and did not find them. The first time counts.
pub(super) async fn note_missed(
    db: &mut AnyConnection,
    lane: Lane,
    missed: &[ConnectionKey],
    now: Time,
) -> sqlx::Result<()> {
    for key in missed {
        sqlx::query(
            "UPDATE intents SET missed_at = COALESCE(missed_at, $4)
             WHERE datadog_team_id = $1 AND github = $2 AND org_id = $3",
        )
        .bind(key.datadog_team.as_str())
        .bind(&key.github)
        .bind(rows::lane_number(lane))
        .bind(now.0)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}
