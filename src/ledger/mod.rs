//! The durable store: schema, migrations and every query. Row types stay inside; callers see `model` types and
//! the plain structs of this room.
//!
//! It is kept in SQLite or PostgreSQL, as its URL says, by one copy of each query: sqlx's `Any` driver passes SQL on as
//! it is, and queries keep to what both share (`$1`, `ON CONFLICT`, `RETURNING`, `CASE` in place of scalar `MIN`/`MAX`,
//! a `CAST` around `SUM`). In the schema only the names of four types differ; `database` holds these and all else in
//! which the two are not alike.
//!
//! SQLite in WAL mode with `synchronous=FULL`: what is committed survives a power cut. There is one write
//! connection, whose transactions begin `IMMEDIATE`, so that a writer waits its turn at `BEGIN` and never fails
//! halfway; readers have connections of their own and see the last commit. The daemon holds an OS lock beside
//! the file, so that a second daemon on one file is refused; commands open the same file without it.
//!
//! PostgreSQL serves any number of daemons, whose transactions run side by side (`READ COMMITTED`). What must not
//! happen twice at once is done under the lock of a row: of its lease for everything that carries a fence, of its mark
//! for a generation, of `meta.removal_slots` for the guard's window. Rows are written in the order of their keys. Leases
//! are judged by the database's clock. `time` keeps what is stored of time right when a clock is set.

mod accept;
mod adoption;
mod audit;
mod database;
mod documents;
mod find;
mod held;
mod identity;
mod intents;
mod lock;
mod orgs;
mod parked;
mod part;
mod passing;
mod paused;
mod printed;
mod processes;
mod progress;
mod rows;
mod schema;
mod second_writer;
mod settle;
mod settlement;
mod slots;
mod state;
mod story;
mod strangers;
mod team_lists;
#[cfg(test)]
mod tests;
mod time;
mod upkeep;
mod waiting;
mod work;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use sqlx::AnyPool;

use self::schema::Engine;
use crate::{clock::Clock, model::Time};

pub use accept::{Accepted, Accepting, Outcome, Pace};
pub use audit::AuditLine;
pub use documents::{DocumentState, EntryRow, LastLook, RejectedEntry, RemovedEntry, SettledDocument};
pub use held::{Held, HeldSet};
pub use identity::{DatadogHome, Rebound};
pub use intents::Intended;
pub use lock::DaemonLock;
pub use orgs::{Released, release_of};
pub use parked::{Parked, ParkedKind, ParkedPlace};
pub use processes::{Newer, Process};
pub use progress::Progress;
pub use rows::lane_number;
pub use settlement::{
    AuditAction, AuditEntry, AuditOutcome, IntentKind, MarkResult, Next, ParkedAction, ParkedStep, PassedOn,
    Settled, Settlement,
};
pub use slots::Removed;
pub use state::{Intent, OrgRow, OrgState, Size};
pub use story::{EventLine, Looks, TeamStory};
pub use strangers::{Met, Stranger};
pub use time::Spans;
pub use upkeep::{Counts, Keep};
pub use work::{DueLane, LeasedMark};

/// The ledger. Cheap to clone; all clones share the connections.
#[derive(Clone, Debug)]
pub struct Ledger {
    engine: Engine,
    write: AnyPool,
    read: AnyPool,
    clock: Clock,
    rules: Arc<RulesInForce>,
    /// Which worker uses it; none for a command.
    presence: Option<Arc<processes::Presence>>,
    /// The clock of the database that a simulation has in place of a server's.
    database: Option<Clock>,
    kept: Arc<Mutex<time::Kept>>,
    /// When this process opened it, by the monotonic clock.
    opened: Duration,
}

/// The rules that the looks of a process go by.
#[derive(Debug, Default)]
struct RulesInForce {
    /// The fingerprint of the rule set.
    fingerprint: String,
    /// The rule set, and all else that decides whether a team is in step.
    in_step_for: String,
}

/// Who uses the ledger, for a query or a whole transaction, waits until this is over.
pub type Turnstile = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

impl Ledger {
    /// Opens the ledger at a URL such as `sqlite:teamlink.db` or `postgres://user:password@host/database`, creates the
    /// file when it is not there, and brings the schema up to date.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        database::open(url, None).await
    }

    /// The same, of which each use passes through a turnstile first: how a simulation ends a process between any two.
    pub async fn open_behind(url: &str, turnstile: Turnstile) -> anyhow::Result<Self> {
        database::open(url, Some(turnstile)).await
    }

    /// Returns the same ledger as it is on a machine with this clock. With a clock for the database too, a simulation
    /// behaves as on PostgreSQL: leases go by the database's clock, and the machine's follows it.
    #[must_use]
    pub fn on_machine(&self, clock: Clock, database: Option<Clock>) -> Self {
        let opened = clock.monotonic();
        Self { clock, database, kept: Arc::default(), opened, ..self.clone() }
    }

    /// The clock by which everything is timed that several processes read: the database's, where it has one.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// When this process opened the ledger, by the clock as it is set now. The clock may have been set while no process
    /// looked: what was sent before this moment may have been sent at this moment.
    pub fn opened_at(&self) -> Time {
        self.clock.now() - self.clock.monotonic().saturating_sub(self.opened)
    }

    /// Has looks go by the rule set with this fingerprint, and by what `policy` stands for. A team counts as in step only
    /// if a look under the same two found it so.
    pub fn under(&self, fingerprint: &str, policy: &str) -> Self {
        let in_step_for = format!("{fingerprint} {policy}");
        let rules = RulesInForce { fingerprint: fingerprint.to_owned(), in_step_for };
        Self { rules: Arc::new(rules), ..self.clone() }
    }

    /// Whether a connection is in use: by a query, by a transaction, or on its way back to the others.
    pub fn is_in_use(&self) -> bool {
        let in_use = |pool: &AnyPool| pool.num_idle() < usize::try_from(pool.size()).unwrap_or(usize::MAX);
        in_use(&self.write) || in_use(&self.read)
    }

    /// Waits for the connections to be closed; what was committed stays.
    pub async fn close(self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// The ledger refused or failed. Callers branch on whether the lease was lost.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another holder has the lease now: nothing was stored.
    #[error("the lease on {0} is no longer ours; nothing was stored")]
    LeaseLost(crate::model::Lane),
    /// The store itself failed.
    #[error("the ledger failed: {0}")]
    Store(#[from] sqlx::Error),
}
