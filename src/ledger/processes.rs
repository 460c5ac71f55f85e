//! The workers on a ledger, as they see each other.
//!
//! Each worker has a row that says with which settings it writes, and that it lives. While workers differ, only those
//! with the settings that were loaded last take leases. So two of them never undo each other's work while settings are
//! rolled out, and an old worker never writes by old rules once a new one is at work.
//!
//! A row costs SQLite's writer next to nothing: it is read by the readers, and written within the transaction of a delivery
//! where there is one.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{AnyConnection, Row};

use super::Ledger;
use crate::model::Time;

/// How often a process says that it lives.
const SHOWN: Duration = Duration::from_secs(5);

/// A process that hasn't said so for this long counts as dead.
const DEAD: Duration = Duration::from_secs(15);

/// A worker, as the others on its ledger see it.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id.
    pub id: String,
    /// Its role.
    pub role: &'static str,
    /// The fingerprint of its rule set.
    pub fingerprint: String,
    /// The hash of the settings that decide what it writes.
    pub settings: String,
    /// When it loaded them.
    pub loaded: Instant,
}

/// Another worker, whose settings differ and were loaded later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newer {
    /// Its id.
    pub id: String,
    /// Its version of teamlink.
    pub version: String,
    /// When it loaded its settings.
    pub loaded_at: Time,
}

/// What a process says of itself, and what it knows of the others.
#[derive(Debug)]
pub(super) struct Presence {
    process: Process,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When it loaded its settings, by the ledger's clock; none before it was announced.
    loaded_at: Option<Time>,
    /// When it last said that it lives.
    shown: Option<Instant>,
    newer: Option<Newer>,
}

impl Presence {
    pub(super) fn new(process: Process) -> Self {
        Self { process, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it loaded its settings, if it is to say again that it lives.
    fn due(&self) -> Option<Time> {
        let state = self.state();
        state.loaded_at.filter(|_| state.shown.is_none_or(|shown| shown.elapsed() >= SHOWN))
    }

    /// Stores that it lives.
    async fn store(&self, db: &mut AnyConnection, loaded_at: Time, seen_at: Time) -> sqlx::Result<()> {
        let Process { id, role, fingerprint, settings, loaded: _ } = &self.process;
        sqlx::query(
            "INSERT INTO processes (id, role, version, fingerprint, settings, loaded_at, seen_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
        )
        .bind(id)
        .bind(*role)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(fingerprint)
        .bind(settings)
        .bind(loaded_at.0)
        .bind(seen_at.0)
        .execute(db)
        .await?;
        Ok(())
    }
}

/// That a process lives, to be stored within a transaction.
pub(super) struct Sign<'a> {
    presence: &'a Presence,
    loaded_at: Time,
    seen_at: Time,
}

impl Sign<'_> {
    pub(super) async fn store(&self, db: &mut AnyConnection) -> sqlx::Result<()> {
        self.presence.store(db, self.loaded_at, self.seen_at).await
    }

    /// The transaction was committed.
    pub(super) fn stored(self) {
        self.presence.state().shown = Some(Instant::now());
    }
}

impl Ledger {
    /// The same ledger for a worker. It takes leases only while no other worker has loaded other settings later.
    pub fn as_process(&self, process: Process) -> Self {
        Self { presence: Some(Presence::new(process).into()), ..self.clone() }
    }

    /// The id of the worker that uses this ledger, if it is one's.
    pub fn process_id(&self) -> Option<&str> {
        self.presence.as_ref().map(|presence| presence.process.id.as_str())
    }

    /// Shows the worker to the others for the first time: it is ready to write. Its settings count from when they were
    /// loaded. If the ledger's clock was set back since another worker loaded its own, they count from just after that.
    pub async fn announce(&self, now: Time) -> sqlx::Result<()> {
        let Some(presence) = &self.presence else { return Ok(()) };
        let last = "SELECT COALESCE(MAX(loaded_at), 0) FROM processes";
        let last: i64 = sqlx::query_scalar(last).fetch_one(&self.read).await?;
        let now = self.time(now).await?;
        let loaded_at = if last > now.0 { Time(last + 1) } else { now - presence.process.loaded.elapsed() };
        presence.store(&mut *self.write.acquire().await?, loaded_at, now).await?;
        let mut state = presence.state();
        (state.loaded_at, state.shown) = (Some(loaded_at), Some(Instant::now()));
        Ok(())
    }

    /// Says that the worker lives, unless it has just said so.
    pub async fn show(&self, now: Time) -> sqlx::Result<()> {
        if let Some(sign) = self.sign(now).await? {
            sign.store(&mut *self.write.acquire().await?).await?;
            sign.stored();
        }
        Ok(())
    }

    /// That the worker lives, if it is time to say so again.
    pub(super) async fn sign(&self, now: Time) -> sqlx::Result<Option<Sign<'_>>> {
        let Some((presence, loaded_at)) = self.presence.as_ref().and_then(|it| Some((it, it.due()?))) else {
            return Ok(None);
        };
        Ok(Some(Sign { presence, loaded_at, seen_at: self.time(now).await? }))
    }

    /// Returns the other worker because of whose settings this one takes no leases, as it was last found.
    pub fn outdated(&self) -> Option<Newer> {
        self.presence.as_ref()?.state().newer.clone()
    }

    /// Reads whether a live worker has loaded other settings later.
    pub async fn find_newer(&self, now: Time) -> sqlx::Result<()> {
        if self.presence.is_some() {
            self.may_lease(self.time(now).await?).await?;
        }
        Ok(())
    }

    /// Reads whether this ledger's user may take a lease, by the ledger's clock.
    pub(super) async fn may_lease(&self, now: Time) -> sqlx::Result<bool> {
        let Some(presence) = &self.presence else { return Ok(true) };
        let own = presence.state().loaded_at;
        // One whose last sign is ahead of the clock wrote it before the clock was set back.
        let last = sqlx::query(
            "SELECT id, version, settings, loaded_at FROM processes
             WHERE id <> $1 AND seen_at > $2 AND seen_at < $3 ORDER BY loaded_at DESC, id DESC LIMIT 1",
        )
        .bind(&presence.process.id)
        .bind((now - DEAD).0)
        .bind((now + DEAD).0)
        .fetch_optional(&self.read)
        .await?;
        let mut newer = None;
        if let Some(last) = last {
            let id: String = last.try_get("id")?;
            let loaded_at = Time(last.try_get("loaded_at")?);
            let later = own.is_none_or(|own| (loaded_at, id.as_str()) > (own, &presence.process.id));
            if later && last.try_get::<&str, _>("settings")? != presence.process.settings {
                newer = Some(Newer { id, version: last.try_get("version")?, loaded_at });
            }
        }
        let may = newer.is_none();
        presence.state().newer = newer;
        Ok(may)
    }

    /// How many workers live.
    pub async fn live_workers(&self, now: Time) -> sqlx::Result<i64> {
        let now = self.time(now).await?;
        sqlx::query_scalar("SELECT COUNT(*) FROM processes WHERE seen_at > $1 AND seen_at < $2")
            .bind((now - DEAD).0)
            .bind((now + DEAD).0)
            .fetch_one(&self.read)
            .await
    }

    /// Says that the worker ends, so that the others need not wait until it counts as dead.
    pub async fn leave(&self) -> sqlx::Result<()> {
        let Some(presence) = &self.presence else { return Ok(()) };
        presence.state().loaded_at = None;
        sqlx::query("DELETE FROM processes WHERE id = $1")
            .bind(&presence.process.id)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Has the worker say again that it lives.
    #[cfg(test)]
    pub(super) fn due_to_show(&self) {
        if let Some(presence) = &self.presence {
            presence.state().shown = None;
        }
    }
}
