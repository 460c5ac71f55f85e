//! Organisations that were heard of and are not bound: by an event, or by the settings while GitHub didn't answer. What an
//! event says of a login and an id proves nothing, since whoever can send one can write both. The worker asks GitHub
//! (`reconcile/strangers.rs`).

use std::time::Duration;

use sqlx::{AnyConnection, Row};

use super::{Ledger, accept, orgs, rows};
use crate::model::{Integration, OrgFacts, OrgId, Target, Time};

/// The worker asks GitHub about so many organisations a [`MINUTE`], and about the same one once. The rest wait.
const A_MINUTE: i64 = 10;

const MINUTE: Duration = Duration::from_secs(60);

/// The most that events may have remembered. What the settings name is remembered in any case.
const MOST: i64 = 1_000;

/// An organisation that is not bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Its login, lower-cased.
    pub login: String,
    /// Its id, as an event said.
    pub org: Option<OrgId>,
    /// How many times in a row GitHub didn't answer.
    pub failures: u32,
}

/// What GitHub's answer means for a stranger.
#[derive(Clone, Copy, Debug)]
pub enum Met<'a> {
    /// This organisation has the login. It is bound, if it was not before.
    Bound(&'a OrgFacts),
    /// There is nobody to bind.
    Nobody,
    /// Nothing is known: ask again after this time.
    Later(Duration),
}

impl Ledger {
    /// Returns the strangers about whom GitHub is to be asked now, in the order in which they are due.
    pub async fn due_strangers(&self, now: Time) -> sqlx::Result<Vec<Stranger>> {
        let rows = sqlx::query(
            "SELECT login, org_id, failures FROM strangers
             WHERE wait IS NOT NULL AND COALESCE(met_at + wait, heard_at) <= $1
             ORDER BY COALESCE(met_at + wait, heard_at), login
             LIMIT (SELECT CASE WHEN COUNT(*) < $2 THEN $2 - COUNT(*) ELSE 0 END FROM strangers WHERE met_at > $3)",
        )
        .bind(now.0)
        .bind(A_MINUTE)
        .bind((now - MINUTE).0)
        .fetch_all(&self.read)
        .await?;
        let stranger = |row: &sqlx::any::AnyRow| {
            Ok(Stranger {
                login: row.try_get("login")?,
                org: row.try_get::<Option<i64>, _>("org_id")?.map(OrgId),
                failures: u32::try_from(row.try_get::<i64, _>("failures")?).unwrap_or(u32::MAX),
            })
        };
        rows.iter().map(stranger).collect()
    }

    /// When GitHub is to be asked next about a stranger that isn't due now.
    pub async fn next_stranger(&self, now: Time) -> sqlx::Result<Option<Time>> {
        let at: Option<i64> = sqlx::query_scalar(
            "SELECT MIN(COALESCE(met_at + wait, heard_at)) FROM strangers
             WHERE wait IS NOT NULL AND COALESCE(met_at + wait, heard_at) > $1",
        )
        .bind(now.0)
        .fetch_one(&self.read)
        .await?;
        Ok(at.map(Time))
    }

    /// Remembers a login of the settings whose organisation could not be read just now, for another try after `wait`. One
    /// that is remembered already keeps its wait.
    pub async fn expect_org(&self, login: &str, wait: Duration, now: Time) -> sqlx::Result<()> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            sqlx::query(
                "INSERT INTO strangers (login, heard_at, met_at, wait, failures) VALUES ($1, $2, $2, $3, 0)
                 ON CONFLICT (login) DO UPDATE SET wait = COALESCE(strangers.wait, excluded.wait)",
            )
            .bind(rows::clean(&login.to_lowercase()))
            .bind(now.0)
            .bind(micros(wait))
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await
        })
        .await
    }

    /// Stores what GitHub answered about a stranger. If GitHub showed nobody to bind, and an event named another id under
    /// its login meanwhile, the worker asks GitHub about the login once more, a minute later. An organisation that is bound is marked as a whole: no event of it was kept until now.
    pub async fn met(&self, stranger: &Stranger, met: Met<'_>, now: Time) -> sqlx::Result<()> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            // Until then they count towards the minute.
            sqlx::query("DELETE FROM strangers WHERE wait IS NULL AND met_at <= $1")
                .bind((now - MINUTE).0)
                .execute(&mut *transaction)
                .await?;
            if let Met::Bound(facts) = met {
                orgs::bind(&mut transaction, facts, now).await?;
                for target in [Target::Org(facts.id), Target::Document(Integration::Github)] {
                    accept::mark_changed(&mut transaction, target, now).await?;
                }
            }
            let (wait, failures) = match met {
                Met::Later(wait) => (Some(micros(wait)), i64::from(stranger.failures) + 1),
                Met::Bound(_) | Met::Nobody => (None, 0),
            };
            sqlx::query(
                "UPDATE strangers SET met_at = $3, failures = $4,
                     wait = CASE WHEN COALESCE(org_id, 0) = $2 OR $6 = 1 THEN $5 ELSE $7 END
                 WHERE login = $1",
            )
            .bind(&stranger.login)
            .bind(stranger.org.map_or(0, |org| org.0))
            .bind(now.0)
            .bind(failures)
            .bind(wait)
            .bind(i64::from(!matches!(met, Met::Nobody)))
            .bind(micros(MINUTE))
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await
        })
        .await
    }
}

/// Remembers that an event named an organisation. If the worker has asked GitHub about it, it asks again a minute later.
pub(super) async fn hear(db: &mut AnyConnection, org: &OrgFacts, now: Time) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO strangers (login, org_id, heard_at, wait, failures)
         SELECT $1, CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), 0
         WHERE (SELECT COUNT(*) FROM strangers) < $5 OR EXISTS (SELECT 1 FROM strangers WHERE login = $1)
         ON CONFLICT (login) DO UPDATE SET
             org_id = excluded.org_id, wait = COALESCE(strangers.wait, excluded.wait)",
    )
    .bind(rows::clean(&org.login.to_lowercase()))
    .bind(org.id.0)
    .bind(now.0)
    .bind(micros(MINUTE))
    .bind(MOST)
    .execute(db)
    .await?;
    Ok(())
}

fn micros(wait: Duration) -> i64 {
    i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 2)
}
