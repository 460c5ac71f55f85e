//! The guard's window: the slots of its removals, and the rows that were disowned in it. Each removal that nobody approved
//! takes a slot before it is sent, and the slots of those that were carried out are what the limits count.
//!
//! A slot is reserved until its removal is confirmed. It is *done* once the connection, or the entry, went by our hand:
//! a removal that failed, or that somebody else was quicker with, was none. The time of a slot never lies ahead of the
//! clock for long: where the clock was set back, the slot counts as taken at the time to which it was set.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sqlx::AnyConnection;

use super::{
    Ledger,
    rows::{self, Flag},
};
use crate::model::{ConnectionKey, HeldKey, Lane, OrgId, Subject, Time};

/// The removals of an organisation within the window, but for those that a person approved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many were done.
    pub done: usize,
    /// Those that were begun and whose end is unknown: Datadog shows what became of them.
    pub begun: BTreeSet<ConnectionKey>,
    /// How many rows were disowned, though neither a delete of ours nor the end of their Datadog team explained it.
    pub disowned: usize,
}

impl Ledger {
    /// Takes slots of the window for removals of a lane, at most `max` in it over all lanes. Answers those that got one.
    /// A key that has one keeps it, and its time starts again, until the removal is done: what is made again after that
    /// needs another.
    pub async fn take_slots(
        &self,
        lane: Lane,
        subjects: &[Subject],
        max: usize,
        window: Duration,
        now: Time,
    ) -> sqlx::Result<BTreeSet<Subject>> {
        if subjects.is_empty() {
            return Ok(BTreeSet::new());
        }
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            // Taken by one at a time, in whichever process.
            sqlx::query("UPDATE meta SET value = value WHERE name = 'removal_slots'")
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM removal_slots WHERE at <= $1")
                .bind((now - window).0)
                .execute(&mut *transaction)
                .await?;
            not_ahead(&mut transaction, now).await?;
            let (mut taken, kept) = reserved(&mut transaction).await?;
            let mut granted = BTreeSet::new();
            for subject in subjects {
                let at = kept.get(subject);
                if at.is_none() && taken >= max {
                    continue;
                }
                let sql = if at.is_some() {
                    "UPDATE removal_slots SET at = $3, org_id = $4
                     WHERE datadog_team_id = $1 AND github = $2 AND at = $5 AND done IS NOT TRUE"
                } else {
                    taken += 1;
                    "INSERT INTO removal_slots (datadog_team_id, github, at, org_id) VALUES ($1, $2, $3, $4)"
                };
                let (datadog, github) = subject.names();
                let query = sqlx::query(sql).bind(datadog).bind(github).bind(now.0);
                let query = query.bind(rows::lane_number(lane));
                let query = if let Some(at) = at { query.bind(at) } else { query };
                query.execute(&mut *transaction).await?;
                granted.insert(subject.clone());
            }
            transaction.commit().await?;
            Ok(granted)
        })
        .await
    }

    /// The removals that have a slot of the window now.
    pub async fn slots_taken(&self, window: Duration, now: Time) -> sqlx::Result<usize> {
        let taken: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM removal_slots WHERE at > $1")
            .bind((now - window).0)
            .fetch_one(&self.read)
            .await?;
        Ok(usize::try_from(taken).unwrap_or(0))
    }

    /// Returns the removals of an organisation within the window.
    pub async fn removed(&self, org: OrgId, window: Duration, now: Time) -> sqlx::Result<Removed> {
        let begun = sqlx::query(
            "SELECT removal_slots.datadog_team_id, removal_slots.github FROM removal_slots
             JOIN intents ON intents.datadog_team_id = removal_slots.datadog_team_id
                 AND intents.github = removal_slots.github AND intents.kind = 'delete'
             WHERE removal_slots.org_id = $1 AND done IS NOT TRUE AND removal_slots.at > $2",
        )
        .bind(org.0)
        .bind((now - window).0)
        .fetch_all(&self.read)
        .await?;
        let begun = begun.iter().map(rows::subject).collect::<sqlx::Result<Vec<_>>>()?;
        Ok(Removed {
            done: self.removals_done(Lane::Org(org), window, now).await?,
            begun: begun.iter().filter_map(Subject::connection).cloned().collect(),
            disowned: self.disowned(org, window, now).await?,
        })
    }

    async fn disowned(&self, org: OrgId, window: Duration, now: Time) -> sqlx::Result<usize> {
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM disowned WHERE org_id = $1 AND at > $2")
            .bind(org.0)
            .bind((now - window).0)
            .fetch_one(&self.read)
            .await?;
        Ok(usize::try_from(rows).unwrap_or(0))
    }

    /// Counts the removals of a lane that were done within the window, but for those that a person approved.
    pub async fn removals_done(&self, lane: Lane, window: Duration, now: Time) -> sqlx::Result<usize> {
        done_of(&mut *self.read.acquire().await?, lane, window, now).await
    }
}

/// Counts the removals of a lane that were done within the window.
pub(super) async fn done_of(
    db: &mut AnyConnection,
    lane: Lane,
    window: Duration,
    now: Time,
) -> sqlx::Result<usize> {
    let done: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM removal_slots WHERE org_id = $1 AND done AND at > $2")
            .bind(rows::lane_number(lane))
            .bind((now - window).0)
            .fetch_one(db)
            .await?;
    Ok(usize::try_from(done).unwrap_or(0))
}

/// Counts all slots, and returns those that their key keeps, with their times.
async fn reserved(db: &mut AnyConnection) -> sqlx::Result<(usize, BTreeMap<Subject, i64>)> {
    // What was made after its slot was taken is another connection: a version that noted nothing of what was done left
    // such slots.
    let slots: Vec<(String, String, i64, Flag)> = sqlx::query_as(
        "SELECT datadog_team_id, github, at, done IS TRUE OR EXISTS (
             SELECT 1 FROM connections
             WHERE connections.datadog_team_id = removal_slots.datadog_team_id
                 AND connections.github = removal_slots.github AND created_at > at
             UNION ALL
             SELECT 1 FROM entries
             WHERE 'integration:' || entries.integration = removal_slots.datadog_team_id
                 AND entries.entry = removal_slots.github AND added_at > at) AS used
         FROM removal_slots",
    )
    .fetch_all(db)
    .await?;
    let taken = slots.len();
    let free = slots.into_iter().filter(|(.., used)| !used.0);
    Ok((taken, free.map(|(datadog, github, at, _)| (Subject::named(datadog, github), at)).collect()))
}

/// Has no slot count for longer than a window from now.
pub(super) async fn not_ahead(db: &mut AnyConnection, now: Time) -> sqlx::Result<()> {
    sqlx::query("UPDATE removal_slots SET at = $1 WHERE at > $1").bind(now.0).execute(db).await?;
    Ok(())
}

/// Notes which of these connections, which are ours no longer, went by our hand: those with an open intent to delete
/// them.
pub(super) async fn note_deleted(
    db: &mut AnyConnection,
    gone: &[ConnectionKey],
    now: Time,
) -> sqlx::Result<()> {
    for key in gone {
        let intended: Flag = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM intents
                            WHERE kind = 'delete' AND datadog_team_id = $1 AND github = $2)",
        )
        .bind(key.datadog_team.as_str())
        .bind(&key.github)
        .fetch_one(&mut *db)
        .await?;
        if intended.0 {
            note_done(db, &Subject::Connection(key.clone()), now).await?;
        }
    }
    Ok(())
}

/// Notes that these rows were disowned and count towards the limit.
pub(super) async fn note_disowned(
    db: &mut AnyConnection,
    lane: Lane,
    keys: &BTreeSet<ConnectionKey>,
    now: Time,
) -> sqlx::Result<()> {
    rows::insert(
        db,
        "INSERT INTO disowned (datadog_team_id, github, org_id, at) ",
        " ON CONFLICT (datadog_team_id, github) DO UPDATE SET org_id = excluded.org_id, at = excluded.at",
        &keys.iter().collect::<Vec<_>>(),
        |row, key: &&ConnectionKey| {
            row.bind(key.datadog_team.as_str()).bind(key.github.clone());
            row.bind(rows::lane_number(lane)).bind(now.0);
        },
    )
    .await?;
    Ok(())
}

/// Notes that these held actions were carried out.
pub(super) async fn note_spent(db: &mut AnyConnection, spent: &[HeldKey], now: Time) -> sqlx::Result<()> {
    for held in spent {
        note_done(db, &held.subject, now).await?;
    }
    Ok(())
}

/// Notes that a removal was carried out. One that a person has approved needs no slot, though it may have had one.
pub(super) async fn note_done(db: &mut AnyConnection, subject: &Subject, now: Time) -> sqlx::Result<()> {
    let (datadog, github) = subject.names();
    for sql in [
        "DELETE FROM removal_slots
         WHERE datadog_team_id = $1 AND github = $2 AND done IS NOT TRUE AND EXISTS (
             SELECT 1 FROM approvals
             WHERE approvals.kind = 'delete' AND approvals.datadog_team_id = $1 AND approvals.github = $2
                 AND expires_at > $3)",
        "UPDATE removal_slots SET done = TRUE, at = $3
         WHERE datadog_team_id = $1 AND github = $2 AND done IS NOT TRUE",
    ] {
        sqlx::query(sql).bind(&datadog).bind(&github).bind(now.0).execute(&mut *db).await?;
    }
    Ok(())
}
