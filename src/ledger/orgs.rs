//! Organisations and the logins that they are bound to: how a binding begins, and how a release ends it.
//!
//! A released organisation is as one that was never bound, except in two ways. No event binds its login again: whoever
//! GitHub shows under the login does. And its row stays, so that what is known of it keeps its name.

use std::time::Duration;

use sqlx::{AnyConnection, Row};

use super::{Held, Ledger, OrgRow, Settlement, held, rows, state};
use crate::model::{HeldKey, HeldKind, HoldReason, Lane, OrgFacts, OrgId, Subject, Time};

/// An `organization.deleted` event about an organisation that answers this long after it was wrong.
const WRONG: Duration = Duration::from_secs(86_400);

/// How a release ends the binding of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// The organisation is gone: its rows are disowned, and nothing is done for it any more.
    Gone,
    /// The organisation has another login, and is bound to that one from now on.
    Renamed,
}

impl Ledger {
    /// Returns every organisation that is bound.
    pub async fn orgs(&self) -> sqlx::Result<Vec<OrgRow>> {
        self.orgs_where(false).await
    }

    /// Returns every organisation whose login was released because the organisation is gone.
    pub async fn released_orgs(&self) -> sqlx::Result<Vec<OrgRow>> {
        self.orgs_where(true).await
    }

    /// Returns an organisation that is bound, or was released.
    pub async fn org(&self, org: OrgId) -> sqlx::Result<Option<OrgRow>> {
        let row = sqlx::query(
            "SELECT org_id, login, bound_login, first_pass_at IS NOT NULL AS passed, deleted_event_at, absent_since,
                 released_at
             FROM orgs WHERE org_id = $1",
        )
        .bind(org.0)
        .fetch_optional(&self.read)
        .await?;
        row.as_ref().map(state::org_row).transpose()
    }

    async fn orgs_where(&self, released: bool) -> sqlx::Result<Vec<OrgRow>> {
        let rows = sqlx::query(
            "SELECT org_id, login, bound_login, first_pass_at IS NOT NULL AS passed, deleted_event_at, absent_since,
                 released_at
             FROM orgs WHERE (released_at IS NOT NULL) = (CAST($1 AS BIGINT) = 1) ORDER BY org_id",
        )
        .bind(i64::from(released))
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(state::org_row).collect()
    }

    /// Binds a login to an organisation's id at first sight, and again after a release. An organisation that is bound
    /// already keeps the login it was bound to.
    pub async fn bind_org(&self, org: &OrgFacts, now: Time) -> sqlx::Result<()> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            bind(&mut transaction, org, now).await?;
            transaction.commit().await
        })
        .await
    }

    /// Notes the login that an organisation has now, which is bound to another: by this one it may be served.
    pub async fn note_login(&self, org: &OrgFacts, now: Time) -> sqlx::Result<()> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            sqlx::query("UPDATE orgs SET login = $2, seen_at = $3 WHERE org_id = $1 AND released_at IS NULL")
                .bind(org.id.0)
                .bind(rows::clean(&org.login))
                .bind(now.0)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await
        })
        .await
    }

    /// Returns the held release of an organisation, if there is one, and whether a person has approved it.
    pub async fn held_release(&self, org: OrgId, now: Time) -> sqlx::Result<Option<(Held, bool)>> {
        let (lane, key) = (Lane::Org(org), release_of(org));
        let mut connection = self.read.acquire().await?;
        let row = sqlx::query("SELECT reason, rule FROM held WHERE org_id = $1 AND kind = $2")
            .bind(org.0)
            .bind(key.kind.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let rule: Option<String> = row.try_get("rule")?;
        let reason = HoldReason::stored(rule.as_deref(), row.try_get("reason")?);
        let approved = held::approved_of(&mut connection, lane, now).await?.contains(&key);
        Ok(Some((Held { key, team: None, reason }, approved)))
    }
}

/// The held action that releases the login of an organisation.
pub fn release_of(org: OrgId) -> HeldKey {
    HeldKey::new(HeldKind::Release, Subject::Organisation(org))
}

/// Whether an organisation is bound.
pub(super) async fn is_bound(db: &mut AnyConnection, org: OrgId) -> sqlx::Result<bool> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT org_id FROM orgs WHERE org_id = $1 AND released_at IS NULL")
            .bind(org.0)
            .fetch_optional(db)
            .await?;
    Ok(found.is_some())
}

/// Binds a login to an id, unless that id is bound already.
pub(super) async fn bind(db: &mut AnyConnection, org: &OrgFacts, now: Time) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO orgs (org_id, login, bound_login, seen_at) VALUES ($1, $2, $2, $3)
         ON CONFLICT (org_id) DO UPDATE SET
             login = excluded.login, bound_login = excluded.bound_login, seen_at = excluded.seen_at,
             first_pass_at = NULL, deleted_event_at = NULL, absent_since = NULL, released_at = NULL
         WHERE orgs.released_at IS NOT NULL",
    )
    .bind(org.id.0)
    .bind(rows::clean(&org.login))
    .bind(now.0)
    .execute(db)
    .await?;
    Ok(())
}

/// Remembers that an event said that an organisation was deleted.
pub(super) async fn remember_deleted(db: &mut AnyConnection, org: OrgId, at: Time) -> sqlx::Result<()> {
    sqlx::query("UPDATE orgs SET deleted_event_at = $2 WHERE org_id = $1 AND released_at IS NULL")
        .bind(org.0)
        .bind(at.0)
        .execute(db)
        .await?;
    Ok(())
}

/// Stores what a look found of the organisation itself.
pub(super) async fn store(
    db: &mut AnyConnection,
    lane: Lane,
    settlement: &Settlement,
    now: Time,
) -> sqlx::Result<()> {
    let org_id = rows::lane_number(lane);
    if let Some(facts) = &settlement.org {
        sqlx::query(
            "UPDATE orgs SET login = $1, seen_at = $2, absent_since = NULL,
                 deleted_event_at = CASE WHEN deleted_event_at < $4 THEN NULL ELSE deleted_event_at END
             WHERE org_id = $3",
        )
        .bind(rows::clean(&facts.login))
        .bind(now.0)
        .bind(org_id)
        .bind((now - WRONG).0)
        .execute(&mut *db)
        .await?;
    }
    if let Some(since) = settlement.absent_since {
        sqlx::query("UPDATE orgs SET absent_since = $1 WHERE org_id = $2")
            .bind(since.map(|since| since.0))
            .bind(org_id)
            .execute(&mut *db)
            .await?;
    }
    if let Some(began) = settlement.listed_at {
        sqlx::query("UPDATE orgs SET listed_at = $1 WHERE org_id = $2")
            .bind(began.0)
            .bind(org_id)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Ends the release that was held until now: what was printed or approved of it was about another state of things.
pub(super) async fn end_release(db: &mut AnyConnection, lane: Lane) -> sqlx::Result<()> {
    for sql in [
        "DELETE FROM held WHERE org_id = $1 AND kind = 'release'",
        "DELETE FROM approvals WHERE org_id = $1 AND kind = 'release'",
        r#"DELETE FROM printed_sets WHERE org_id = $1 AND actions LIKE '%"kind":"release"%'"#,
    ] {
        sqlx::query(sql).bind(rows::lane_number(lane)).execute(&mut *db).await?;
    }
    Ok(())
}

/// Carries out a release. Of an organisation that is gone, nothing is held, approved, parked or due any more.
pub(super) async fn release(
    db: &mut AnyConnection,
    lane: Lane,
    released: Released,
    now: Time,
) -> sqlx::Result<()> {
    end_release(db, lane).await?;
    let statements: &[&str] = match released {
        Released::Renamed => &[
            "UPDATE orgs SET bound_login = login WHERE org_id = $1",
            // Rules match the login that an organisation is bound to.
            "UPDATE teams SET in_step = FALSE WHERE org_id = $1",
        ],
        Released::Gone => &[
            "DELETE FROM connections WHERE org_id = $1",
            "DELETE FROM intents WHERE org_id = $1",
            "DELETE FROM held WHERE org_id = $1",
            "DELETE FROM approvals WHERE org_id = $1",
            "DELETE FROM printed_sets WHERE org_id = $1",
            "DELETE FROM parked WHERE kind = 'action' AND org_id = $1",
            "UPDATE marks SET due_at = NULL, first_at = NULL, received_at = NULL, last_error = NULL, last_class = NULL,
                 blocked_by = NULL
             WHERE org_id = $1 AND kind = 'team'",
            "UPDATE teams SET in_step = FALSE, waiting = FALSE WHERE org_id = $1",
            "UPDATE orgs SET orphans = 0, foreigners = 0 WHERE org_id = $1",
        ],
    };
    for sql in statements {
        sqlx::query(*sql).bind(rows::lane_number(lane)).execute(&mut *db).await?;
    }
    if released == Released::Gone {
        sqlx::query("UPDATE orgs SET released_at = $2 WHERE org_id = $1")
            .bind(rows::lane_number(lane))
            .bind(now.0)
            .execute(db)
            .await?;
    }
    Ok(())
}
