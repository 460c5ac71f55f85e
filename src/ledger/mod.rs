//! The durable store: schema, migrations and every query. Row types stay inside; callers see `model` types and
//! the plain structs of this room.
//!
//! SQLite in WAL mode with `synchronous=FULL`: what is committed survives a power cut. There is one write
//! connection, whose transactions begin `IMMEDIATE`, so that a writer waits its turn at `BEGIN` and never fails
//! halfway; readers have connections of their own and see the last commit. The daemon holds an OS lock beside
//! the file, so that a second daemon on one file is refused; commands open the same file without it.
//!
//! Queries keep to the SQL that SQLite and PostgreSQL share (`$1`, `ON CONFLICT`, `RETURNING`, `CASE` in place of
//! scalar `MIN`/`MAX`), so that there will be one copy of each.

mod accept;
mod adoption;
mod audit;
mod documents;
mod find;
mod held;
mod lock;
mod parked;
mod paused;
mod rows;
mod settle;
mod settlement;
mod state;
mod story;
mod team_lists;
#[cfg(test)]
mod tests;
mod upkeep;
mod work;

use std::{str::FromStr, time::Duration};

use anyhow::Context as _;
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use accept::{Accepted, Entry, Outcome, Pace};
pub use audit::AuditLine;
pub use documents::{DocumentState, EntryRow, SettledDocument};
pub use held::{Held, HeldSet};
pub use lock::DaemonLock;
pub use parked::{Parked, ParkedKind, ParkedPlace};
pub use settlement::{AuditEntry, IntentKind, MarkResult, Next, ParkedAction, Settled, Settlement};
pub use state::{Intent, OrgProgress, OrgRow, OrgState};
pub use story::{EventLine, Looks, TeamStory};
pub use upkeep::Counts;
pub use work::{DueOrg, LeasedMark};

/// How long a writer waits for another process's transaction before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A file does not hang up: its connections need no ping before each use.
fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new().test_before_acquire(false)
}

/// The ledger. Cheap to clone; all clones share the connections.
#[derive(Clone, Debug)]
pub struct Ledger {
    write: SqlitePool,
    read: SqlitePool,
}

impl Ledger {
    /// Opens the ledger at a URL such as `sqlite:teamlink.db`, creates it when it is not there, and brings its
    /// schema up to date.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::from_str(url)
            .with_context(|| format!("ledger.url `{url}` is not an SQLite URL; write it as `sqlite:PATH`"))?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let file = options.get_filename().display().to_string();
        let write = pool().max_connections(1).connect_with(options.clone()).await.with_context(|| {
            format!("failed to open the ledger {file}; its folder must exist and be writable")
        })?;
        sqlx::migrate!("src/ledger/migrations")
            .run(&write)
            .await
            .with_context(|| format!("failed to bring the ledger {file} up to date"))?;
        let read =
            pool().max_connections(2).connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Self { write, read })
    }

    /// Waits for the connections to be closed; what was committed stays.
    pub async fn close(self) {
        self.read.close().await;
        self.write.close().await;
    }

    /// Begins a write transaction. It holds the write lock from its first moment.
    async fn begin(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        self.write.begin_with("BEGIN IMMEDIATE").await
    }
}

/// The ledger refused or failed. Callers branch on whether the lease was lost.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another holder has the lease now: nothing was stored.
    #[error("the lease on org {0} is no longer ours; nothing was stored")]
    LeaseLost(crate::model::OrgId),
    /// The store itself failed.
    #[error("the ledger failed: {0}")]
    Store(#[from] sqlx::Error),
}
