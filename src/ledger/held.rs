//! What waits for a person, the sets that were shown to one, and what was approved.

use std::{collections::BTreeSet, time::Duration};

use sqlx::{AnyConnection, Row, any::AnyRow};

use super::{
    AuditAction, AuditOutcome, Ledger,
    printed::{self, Printed},
    rows::{self, Flag},
};
use crate::model::{
    Asks, Cause, HeldKey, HeldKind, HoldReason, HoldRule, Lane, OrgId, Target, TeamId, Time, team_or_zero,
};

const END_HOLD: &str =
    "DELETE FROM held WHERE org_id = $1 AND kind = $2 AND datadog_team_id = $3 AND github = $4";

const END_APPROVAL: &str =
    "DELETE FROM approvals WHERE org_id = $1 AND kind = $2 AND datadog_team_id = $3 AND github = $4";

/// Returns the SQL condition for a row of `held` that waits: no approval of it is in force at the bind parameter `time`.
/// A release waits until it is carried out: under `observe` and in a pause, its approval alone ends nothing.
pub(super) fn waits_at(time: &str) -> String {
    format!(
        "(held.kind = 'release' OR NOT EXISTS (
             SELECT 1 FROM approvals AS it WHERE it.org_id = held.org_id AND it.kind = held.kind
                 AND it.datadog_team_id = held.datadog_team_id AND it.github = held.github
                 AND it.expires_at > {time}))"
    )
}

/// One held action.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Held {
    /// Its kind and connection.
    #[serde(flatten)]
    pub key: HeldKey,
    /// The team it belongs to; none for an orphan and for an entry.
    #[serde(with = "team_or_zero")]
    pub team: Option<TeamId>,
    /// Why it waits.
    pub reason: HoldReason,
}

/// A held set as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSet {
    /// The organisation, or the document.
    pub lane: Lane,
    /// What `teamlink approve` takes.
    pub hash: String,
    /// What is in it.
    pub items: Vec<Held>,
}

impl Ledger {
    /// Returns the held actions of a lane that are not approved, if there are any, and stores the set under its hash.
    pub async fn held_set(&self, lane: Lane, now: Time) -> sqlx::Result<Option<HeldSet>> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            let held = held_of(&mut transaction, lane).await?;
            let approved = approved_of(&mut transaction, lane, now).await?;
            let items: Vec<Held> = held.into_iter().filter(|item| !approved.contains(&item.key)).collect();
            if items.is_empty() {
                return Ok(None);
            }
            let hash = printed::store(&mut transaction, lane, &items, now).await?;
            transaction.commit().await?;
            Ok(Some(HeldSet { lane, hash, items }))
        })
        .await
    }

    /// Remembers a set that is shown to a person, and answers its hash.
    pub async fn remember_held(&self, lane: Lane, items: &[Held], now: Time) -> sqlx::Result<String> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            let hash = printed::store(&mut transaction, lane, items, now).await?;
            transaction.commit().await?;
            Ok(hash)
        })
        .await
    }

    /// Approves the actions of a set that was shown, each once, and has their teams looked at. Answers what was
    /// approved; `None` for a hash that was never shown.
    pub async fn approve(
        &self,
        hash: &str,
        reason: &str,
        expires: Duration,
        now: Time,
    ) -> sqlx::Result<Option<Vec<HeldKey>>> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            let Some(printed) = printed::take(&mut transaction, hash).await? else { return Ok(None) };
            let (mut approved, mut targets) = (Vec::new(), Vec::new());
            for Printed { org_id, team_id, key, .. } in printed {
                let of = (org_id, team_id);
                // What was printed of a release may be long ago, and what it would do depends on GitHub today.
                if key.kind == HeldKind::Release
                    && !held_of(&mut transaction, rows::lane(org_id))
                        .await?
                        .iter()
                        .any(|held| held.key == key)
                {
                    continue;
                }
                let lane = rows::lane(org_id);
                keep_held(&mut transaction, lane, rows::team(team_id), &key, now).await?;
                store_approval(&mut transaction, of, &key, hash, reason, now + expires, now).await?;
                targets.extend(rows::target(org_id, team_id));
                approved.push(key);
            }
            approved.dedup();
            // An organisation is looked at as a pass does: its creates are approved one by one.
            let (orgs, teams): (Vec<_>, Vec<_>) =
                targets.into_iter().partition(|target| matches!(target, Target::Org(_)));
            super::accept::mark_in(&mut transaction, &orgs, Cause::Pass, Asks::PASS, now).await?;
            super::accept::mark_in(&mut transaction, &teams, Cause::Person, Asks::PERSON, now).await?;
            transaction.commit().await?;
            Ok(Some(approved))
        })
        .await
    }

    /// What is held of an organisation's teams, and what is approved now. Held orphans are none of theirs, and count
    /// towards no limit.
    pub async fn held_and_approved(
        &self,
        org: OrgId,
        now: Time,
    ) -> sqlx::Result<(Vec<Held>, BTreeSet<HeldKey>)> {
        let mut connection = self.read.acquire().await?;
        let held = held_of(&mut connection, Lane::Org(org)).await?;
        let held = held.into_iter().filter(|item| item.team.is_some()).collect();
        Ok((held, approved_of(&mut connection, Lane::Org(org), now).await?))
    }

    /// The same as far as a look at these teams needs it: what is held of them, and every removal that is held of the
    /// organisation, because those count towards its limits. A first pass may hold a create of each team.
    pub async fn held_and_approved_for(
        &self,
        org: OrgId,
        teams: &BTreeSet<TeamId>,
        now: Time,
    ) -> sqlx::Result<(Vec<Held>, BTreeSet<HeldKey>)> {
        let mut connection = self.read.acquire().await?;
        let counts = |kind| matches!(kind, HeldKind::Delete | HeldKind::Disown);
        let removals = sqlx::query(
            "SELECT kind, datadog_team_id, github, team_id, reason, rule FROM held
             WHERE org_id = $1 AND kind IN ($2, $3)",
        )
        .bind(org.0)
        .bind(HeldKind::Delete.as_str())
        .bind(HeldKind::Disown.as_str())
        .fetch_all(&mut *connection)
        .await?;
        let mut held = held_rows(&removals)?;
        let of_teams =
            held_of_teams(&mut connection, Lane::Org(org), teams.iter().copied().map(Some)).await?;
        held.extend(of_teams.into_iter().filter(|item| !counts(item.key.kind)));
        held.retain(|item| item.team.is_some());
        Ok((held, approved_of(&mut connection, Lane::Org(org), now).await?))
    }

    /// What is held of one team.
    pub async fn held_of_team(&self, org: OrgId, team: TeamId) -> sqlx::Result<Vec<Held>> {
        held_of_teams(&mut *self.read.acquire().await?, Lane::Org(org), [Some(team)].into_iter()).await
    }

    /// For which team each held action of an organisation waits; orphans are no team's.
    pub async fn held_teams(&self, org: OrgId) -> sqlx::Result<Vec<(HeldKey, TeamId)>> {
        let held = held_of(&mut *self.read.acquire().await?, Lane::Org(org)).await?;
        Ok(held.into_iter().filter_map(|item| Some((item.key, item.team?))).collect())
    }
}

/// Stores the approval of one held action, and its line in the audit trail.
async fn store_approval(
    db: &mut AnyConnection,
    (org, team): (i64, i64),
    key: &HeldKey,
    hash: &str,
    reason: &str,
    expires_at: Time,
    now: Time,
) -> sqlx::Result<()> {
    let (datadog, github) = key.subject.names();
    sqlx::query(
        "INSERT INTO approvals (org_id, kind, datadog_team_id, github, hash, reason, approved_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (org_id, kind, datadog_team_id, github) DO UPDATE SET
             hash = excluded.hash, reason = excluded.reason,
             approved_at = excluded.approved_at, expires_at = excluded.expires_at",
    )
    .bind(org)
    .bind(key.kind.as_str())
    .bind(&datadog)
    .bind(&github)
    .bind(hash)
    .bind(rows::clean(reason))
    .bind(now.0)
    .bind(expires_at.0)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "INSERT INTO audit (at, org_id, team_id, action, datadog_team_id, github, cause, reason, outcome, detail,
             fence)
         VALUES ($1, $2, $3, $8, $4, $5, 'person', $6, $9, $7, 0)",
    )
    .bind(now.0)
    .bind(org)
    .bind(team)
    .bind(&datadog)
    .bind(&github)
    .bind(rows::clean(reason))
    .bind(format!("{} approved as part of {hash}", key.kind.as_str()))
    .bind(AuditAction::Approve.as_str())
    .bind(AuditOutcome::Done.as_str())
    .execute(db)
    .await?;
    Ok(())
}

/// Holds an approved action that no look has held yet, because its approval ends with its row.
async fn keep_held(
    db: &mut AnyConnection,
    lane: Lane,
    team: Option<TeamId>,
    key: &HeldKey,
    now: Time,
) -> sqlx::Result<()> {
    let (datadog, github) = key.subject.names();
    sqlx::query(
        "INSERT INTO held (org_id, kind, datadog_team_id, github, team_id, reason, since)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (org_id, kind, datadog_team_id, github) DO NOTHING",
    )
    .bind(rows::lane_number(lane))
    .bind(key.kind.as_str())
    .bind(&datadog)
    .bind(&github)
    .bind(rows::team_column(team))
    .bind("it was approved as a plan showed it")
    .bind(now.0)
    .execute(db)
    .await?;
    Ok(())
}

/// Replaces what is held of the teams that were looked at. The approval of what is held no more ends with it.
pub(super) async fn replace_held(
    db: &mut AnyConnection,
    lane: Lane,
    looked_at: &[Option<TeamId>],
    (held, approved, in_doubt): (&[Held], &BTreeSet<HeldKey>, &BTreeSet<HeldKey>),
    now: Time,
) -> sqlx::Result<()> {
    let still: BTreeSet<&HeldKey> = held.iter().map(|item| &item.key).chain(approved).collect();
    for item in held_of_teams(db, lane, looked_at.iter().copied()).await? {
        if !still.contains(&item.key) {
            forget(db, END_HOLD, lane, &item.key).await?;
            if !in_doubt.contains(&item.key) {
                forget(db, END_APPROVAL, lane, &item.key).await?;
            }
        }
    }
    // Rows that stay keep the time since when they are held.
    rows::insert(
        db,
        "INSERT INTO held (org_id, kind, datadog_team_id, github, team_id, reason, rule, since) ",
        " ON CONFLICT (org_id, kind, datadog_team_id, github) DO UPDATE SET
             team_id = excluded.team_id, reason = excluded.reason, rule = excluded.rule",
        &rows::sorted(held, |item| &item.key),
        |row, item: &&Held| {
            let (datadog, github) = item.key.subject.names();
            row.bind(rows::lane_number(lane)).bind(item.key.kind.as_str()).bind(datadog);
            row.bind(github).bind(rows::team_column(item.team));
            row.bind(rows::clean(&item.reason.text)).bind(item.reason.rule.as_str()).bind(now.0);
        },
    )
    .await?;
    Ok(())
}

/// Ends the holds of a first pass's creates, because a person asked for the pass. Other creates stay held.
pub(super) async fn lift_creates(db: &mut AnyConnection, lane: Lane) -> sqlx::Result<()> {
    let of_first_pass =
        |held: &Held| held.key.kind == HeldKind::Create && held.reason.rule == HoldRule::FirstCreates;
    for held in held_of(db, lane).await?.iter().filter(|held| of_first_pass(held)) {
        forget(db, END_HOLD, lane, &held.key).await?;
    }
    Ok(())
}

/// What is done is held no more, and its approval is used up.
pub(super) async fn use_up(db: &mut AnyConnection, lane: Lane, done: &[HeldKey]) -> sqlx::Result<()> {
    let any: Flag = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM approvals WHERE org_id = $1)")
        .bind(rows::lane_number(lane))
        .fetch_one(&mut *db)
        .await?;
    for key in done.iter().filter(|_| any.0) {
        forget(db, END_APPROVAL, lane, key).await?;
        forget(db, END_HOLD, lane, key).await?;
    }
    Ok(())
}

async fn forget(db: &mut AnyConnection, sql: &'static str, lane: Lane, key: &HeldKey) -> sqlx::Result<()> {
    let (datadog, github) = key.subject.names();
    sqlx::query(sql)
        .bind(rows::lane_number(lane))
        .bind(key.kind.as_str())
        .bind(datadog)
        .bind(github)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn held_of(db: &mut AnyConnection, lane: Lane) -> sqlx::Result<Vec<Held>> {
    let rows = sqlx::query(
        "SELECT kind, datadog_team_id, github, team_id, reason, rule FROM held WHERE org_id = $1
         ORDER BY kind, github, datadog_team_id",
    )
    .bind(rows::lane_number(lane))
    .fetch_all(db)
    .await?;
    held_rows(&rows)
}

/// What is held of these teams; `None` stands for what belongs to no team.
async fn held_of_teams(
    db: &mut AnyConnection,
    lane: Lane,
    teams: impl Iterator<Item = Option<TeamId>>,
) -> sqlx::Result<Vec<Held>> {
    let teams: Vec<i64> = teams.map(rows::team_column).collect::<BTreeSet<_>>().into_iter().collect();
    let sql = "SELECT kind, datadog_team_id, github, held.team_id, reason, rule FROM asked CROSS JOIN held
               WHERE held.org_id = asked.org_id AND held.team_id = asked.team_id";
    let rows = rows::select(db, "org_id, team_id", sql, &teams, |row, team| {
        row.bind(rows::lane_number(lane)).bind(*team);
    });
    held_rows(&rows.await?)
}

fn held_rows(rows: &[AnyRow]) -> sqlx::Result<Vec<Held>> {
    rows.iter()
        .filter_map(|row| held_key(row).transpose().map(|key| (row, key)))
        .map(|(row, key)| {
            let team = rows::team(row.try_get("team_id")?);
            let rule: Option<String> = row.try_get("rule")?;
            let reason = HoldReason::stored(rule.as_deref(), row.try_get("reason")?);
            Ok(Held { key: key?, team, reason })
        })
        .collect()
}

pub(super) async fn approved_of(
    db: &mut AnyConnection,
    lane: Lane,
    now: Time,
) -> sqlx::Result<BTreeSet<HeldKey>> {
    let rows = sqlx::query(
        "SELECT kind, datadog_team_id, github FROM approvals WHERE org_id = $1 AND expires_at > $2",
    )
    .bind(rows::lane_number(lane))
    .bind(now.0)
    .fetch_all(db)
    .await?;
    rows.iter().filter_map(|row| held_key(row).transpose()).collect()
}

/// Returns the held action of a row. One of a kind that only a later version knows is that version's: none.
fn held_key(row: &AnyRow) -> sqlx::Result<Option<HeldKey>> {
    let Some(kind) = HeldKind::named(row.try_get("kind")?) else { return Ok(None) };
    Ok(Some(HeldKey { kind, subject: rows::subject(row)? }))
}
