//! Organisations that were heard of and are not bound: by an event, or by the settings while GitHub didn't answer. What an
//! event says of a login and an id proves nothing, since whoever can send one can write both. The worker asks GitHub
//! (`reconcile/strangers.rs`).

use std::time::Duration;

use sqlx::{AnyConnection, Row};

use super::{Ledger, accept, orgs, rows};
use crate::model::{Integration, OrgFacts, OrgId, Target, Time};

/// Events introduce so many organisations a [`MINUTE`]. The rest wait for their turn.
const A_MINUTE: i64 = 10;

const MINUTE: Duration = Duration::from_secs(60);

/// The most that are remembered. A full pass finds the rest.
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
    /// This organisation has the login, and is bound.
    Bound(&'a OrgFacts),
    /// There is nobody to bind.
    Nobody,
    /// Nothing is known: ask again after this time.
    Later(Duration),
}

impl Ledger {
    /// Returns the strangers about whom GitHub is to be asked now.
    pub async fn due_strangers(&self, now: Time) -> sqlx::Result<Vec<Stranger>> {
        let rows = sqlx::query(
            "SELECT login, org_id, failures FROM strangers WHERE COALESCE(met_at, 0) + wait <= $1
             ORDER BY COALESCE(met_at, 0) + wait, login
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

    /// Remembers a login of the settings whose organisation could not be read just now, for another try after `wait`.
    pub async fn expect_org(&self, login: &str, wait: Duration, now: Time) -> sqlx::Result<()> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            remember(&mut transaction, login, (None, Some(now)), wait).await?;
            transaction.commit().await
        })
        .await
    }

    /// Stores what GitHub answered about a stranger. Whatever was heard meanwhile under the same login is asked about again.
    /// An organisation that is bound is marked as a whole: no event of it was kept until now.
    pub async fn met(&self, stranger: &Stranger, met: Met<'_>, now: Time) -> sqlx::Result<()> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            // They counted towards the minute.
            sqlx::query("DELETE FROM strangers WHERE wait IS NULL AND met_at <= $1")
                .bind((now - MINUTE).0)
                .execute(&mut *transaction)
                .await?;
            if let Met::Bound(facts) = met {
                orgs::bind(&mut transaction, facts, now).await?;
                for target in [Target::Org(facts.id), Target::Document(Integration::Github)] {
                    accept::mark_changed(&mut transaction, target, now).await?;
                }
                sqlx::query("DELETE FROM strangers WHERE login = $1")
                    .bind(&stranger.login)
                    .execute(&mut *transaction)
                    .await?;
                return transaction.commit().await;
            }
            let (wait, failures) = match met {
                Met::Later(wait) => (Some(micros(wait)), i64::from(stranger.failures) + 1),
                Met::Bound(_) | Met::Nobody => (None, 0),
            };
            sqlx::query(
                "UPDATE strangers SET met_at = $3, failures = $4,
                     wait = CASE WHEN COALESCE(org_id, 0) = $2 THEN $5 ELSE 0 END
                 WHERE login = $1",
            )
            .bind(&stranger.login)
            .bind(stranger.org.map_or(0, |org| org.0))
            .bind(now.0)
            .bind(failures)
            .bind(wait)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await
        })
        .await
    }
}

/// Remembers that an event named an organisation.
pub(super) async fn hear(db: &mut AnyConnection, org: &OrgFacts) -> sqlx::Result<()> {
    remember(db, &org.login, (Some(org.id), None), Duration::ZERO).await
}

/// Remembers a login. One that is remembered already keeps its wait.
async fn remember(
    db: &mut AnyConnection,
    login: &str,
    (org, met_at): (Option<OrgId>, Option<Time>),
    wait: Duration,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO strangers (login, org_id, met_at, wait, failures)
         SELECT $1, CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), 0
         WHERE (SELECT COUNT(*) FROM strangers) < $5
         ON CONFLICT (login) DO UPDATE SET
             org_id = COALESCE(excluded.org_id, strangers.org_id), wait = COALESCE(strangers.wait, excluded.wait)",
    )
    .bind(rows::clean(&login.to_lowercase()))
    .bind(org.map(|org| org.0))
    .bind(met_at.map(|at| at.0))
    .bind(micros(wait))
    .bind(MOST)
    .execute(db)
    .await?;
    Ok(())
}

fn micros(wait: Duration) -> i64 {
    i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 2)
}
