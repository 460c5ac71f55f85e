//! The two databases that a ledger may be kept in: how each is opened, and the little in which they differ.

use std::{io, path::Path, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use backon::{ConstantBuilder, ExponentialBuilder, Retryable, RetryableWithContext};
use sqlx::{
    Any, AnyConnection, AnyPool, Connection as _, Executor as _, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions},
    sqlite::SqliteConnectOptions,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Ledger, LedgerError, Turnstile,
    schema::{self, Engine},
};
use crate::{clock::Clock, files, model::Time};

/// SQLite: what is committed survives a power cut; a writer waits this many milliseconds for another process.
const SQLITE_WRITER: &str =
    "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL";
const SQLITE_READER: &str = "PRAGMA busy_timeout = 10000";

/// SQLite: how long a writer tries to give a new file its WAL while another process writes to it, and the pause between.
const WAL_PATIENCE: Duration = Duration::from_secs(10);
const WAL_PAUSE: Duration = Duration::from_millis(20);

/// PostgreSQL: nothing waits for ever, for a query, a lock, or a process that stopped within a transaction.
const POSTGRES: &str =
    "SET application_name = 'teamlink'; SET statement_timeout = '30s'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '60s'";

/// PostgreSQL: connections of one process.
const CONNECTIONS: u32 = 8;

/// PostgreSQL: how long one is waited for, be it busy or lost.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that is older than this is closed before its next use, as a server frees what it keeps for one only then.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// PostgreSQL: transactions that the database gave up in favour of others (serialization failure, deadlock) are tried
/// again this often.
const RETRIES: usize = 5;

/// Opens the ledger's database, creates an SQLite file when it is not there, and brings the schema up to date.
pub(super) async fn open(url: &str, turnstile: Option<Turnstile>) -> anyhow::Result<Ledger> {
    sqlx::any::install_default_drivers();
    match Engine::of(url) {
        Engine::Sqlite => open_sqlite(url, turnstile).await,
        Engine::Postgres => open_postgres(url, turnstile).await,
    }
}

/// The options of an SQLite URL, as far as they say which file it is.
pub(super) fn sqlite_file(url: &str) -> anyhow::Result<SqliteConnectOptions> {
    SqliteConnectOptions::from_str(url)
        .with_context(|| format!("ledger.url `{url}` is not an SQLite URL; write it as `sqlite:PATH`"))
}

/// One connection writes; readers have connections of their own and see the last commit. A file does not hang up:
/// connections need no ping before each use.
async fn open_sqlite(url: &str, turnstile: Option<Turnstile>) -> anyhow::Result<Ledger> {
    let path = sqlite_file(url)?.get_filename().to_owned();
    let file = path.display().to_string();
    let options = |mode: &str| {
        let separator = if url.contains('?') { '&' } else { '?' };
        AnyConnectOptions::from_str(&format!("{url}{separator}mode={mode}"))
            .with_context(|| format!("ledger.url `{url}` is not an SQLite URL; write it as `sqlite:PATH`"))
    };
    let pool = |connections, settings| {
        pool(settings, turnstile.clone()).max_connections(connections).test_before_acquire(false)
    };
    let opening = || format!("failed to open the ledger {file}; its folder must exist and be writable");
    keep_private(&path).with_context(opening)?;
    // Not by the pool, which tries for half a minute what cannot be mended by trying.
    let migrating = AnyConnection::connect_with(&options("rwc")?).await.with_context(opening)?;
    let mut migrating = begin_writing(migrating).await.with_context(opening)?;
    schema::migrate(&mut migrating, Engine::Sqlite)
        .await
        .with_context(|| format!("failed to open the ledger {file}"))?;
    migrating.close().await.with_context(opening)?;
    let write = pool(1, SQLITE_WRITER).connect_with(options("rwc")?).await.with_context(opening)?;
    let read = pool(2, SQLITE_READER).connect_lazy_with(options("ro")?);
    Ok(ledger(Engine::Sqlite, write, read))
}

/// Sets up a connection that writes. SQLite waits for another process everywhere but where a new file gets its WAL.
async fn begin_writing(connection: AnyConnection) -> sqlx::Result<AnyConnection> {
    let pauses = ConstantBuilder::default().with_delay(WAL_PAUSE).without_max_times();
    // A try may have waited as long as SQLite waits: then there is no other.
    let clock = Clock::default();
    let began = clock.monotonic();
    let tries_again = |error: &sqlx::Error| is_busy(error) && clock.monotonic() < began + WAL_PATIENCE;
    let begin = async |mut connection: AnyConnection| {
        let begun = connection.execute(SQLITE_WRITER).await;
        (connection, begun)
    };
    let (connection, begun) = begin.retry(pauses).context(connection).when(tries_again).await;
    begun.map(|_| connection)
}

/// Whether another process is at an SQLite file.
fn is_busy(error: &sqlx::Error) -> bool {
    // The low byte of an extended code is the code: 5 SQLITE_BUSY.
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// The ledger's file is its owner's alone, because deliveries that are parked lie in it whole. SQLite gives the files that
/// it keeps beside it the same permissions.
fn keep_private(file: &Path) -> io::Result<()> {
    let name = file.as_os_str().to_string_lossy();
    if name.starts_with("file:") || name.starts_with(':') {
        return Ok(());
    }
    if !file.exists() {
        files::open_private(file)?;
    }
    for ending in ["", "-wal", "-shm", "-journal", ".lock"] {
        let mut beside = file.as_os_str().to_owned();
        beside.push(ending);
        match files::tighten(Path::new(&beside)) {
            // Another user's file has the permissions that this one wants.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            tightened => tightened?,
        }
    }
    Ok(())
}

/// All connections do everything. A lost one is found before it is used, and made anew.
async fn open_postgres(url: &str, turnstile: Option<Turnstile>) -> anyhow::Result<Ledger> {
    let options = AnyConnectOptions::from_str(url).map_err(told).context(
        "ledger.url is not a PostgreSQL URL; write it as `postgres://USER:PASSWORD@HOST/DATABASE`",
    )?;
    let at = &options.database_url;
    let place = format!("{}{}", at.host_str().unwrap_or("localhost"), at.path());
    let connecting = || {
        format!(
            "failed to connect to the ledger's PostgreSQL at {place}; is it up, and does `ledger.url` name its user, password and database?"
        )
    };
    // A migration may take longer than any query later.
    let mut migrating = connect(options.clone()).await.with_context(connecting)?;
    schema::migrate(&mut migrating, Engine::Postgres)
        .await
        .with_context(|| format!("failed to open the ledger at {place}"))?;
    migrating.close().await.map_err(told).with_context(connecting)?;
    let pool = pool(POSTGRES, turnstile)
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
        .map_err(told)
        .with_context(connecting)?;
    let ledger = ledger(Engine::Postgres, pool.clone(), pool);
    ledger.time(Time(0)).await.map_err(told).with_context(connecting)?;
    ledger.clock.take_over();
    Ok(ledger)
}

/// Opens the first connection. Another kind of server may listen there: it may stay silent, or make the driver panic.
async fn connect(options: AnyConnectOptions) -> anyhow::Result<AnyConnection> {
    // The driver panics on a message length below four. In its own task, that panic becomes an error.
    let connecting = tokio::spawn(async move {
        let mut connected = AnyConnection::connect_with(&options).await?;
        connected.execute("SELECT 1").await?;
        Ok::<_, sqlx::Error>(connected)
    });
    match tokio::time::timeout(ACQUIRE_TIMEOUT, AbortOnDropHandle::new(connecting)).await {
        Ok(Ok(connected)) => Ok(connected.map_err(told)?),
        Ok(Err(_)) => bail!("the server there doesn't speak the PostgreSQL protocol"),
        Err(_) => bail!("no connection was established within {} s", ACQUIRE_TIMEOUT.as_secs()),
    }
}

fn ledger(engine: Engine, write: AnyPool, read: AnyPool) -> Ledger {
    let (clock, rules, kept) = (Clock::default(), Arc::default(), Arc::default());
    let opened = clock.monotonic();
    Ledger { engine, write, read, clock, rules, presence: None, database: None, kept, opened }
}

/// What sqlx says, once: its messages contain those of their sources.
fn told(error: sqlx::Error) -> anyhow::Error {
    anyhow::Error::msg(error.to_string())
}

fn pool(settings: &'static str, turnstile: Option<Turnstile>) -> AnyPoolOptions {
    // A connection is new, or was used before: whoever takes it passes once.
    let (new, used) = (turnstile.clone(), turnstile);
    AnyPoolOptions::new()
        // With either limit, sqlx 0.9.0 sweeps the pool from time to time. A connection that is returned at the same moment
        // lets the count of those that are idle wrap round, and the sweep never ends: it takes a whole processor, and the
        // process no longer shuts down (sqlx issue 3645).
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            let turn = new.as_ref().map(|turnstile| turnstile());
            Box::pin(async move {
                connection.execute(settings).await?;
                if let Some(turn) = turn {
                    turn.await;
                }
                Ok(())
            })
        })
        // SQLite ends a transaction itself when the disk is full. Its ROLLBACK then fails, the connection takes itself to
        // be within a transaction for ever, and must not be used again.
        .before_acquire(move |connection, known| {
            let usable = !connection.is_in_transaction() && known.age < LIFETIME;
            let turn = used.as_ref().filter(|_| usable).map(|turnstile| turnstile());
            Box::pin(async move {
                if let Some(turn) = turn {
                    turn.await;
                }
                Ok(usable)
            })
        })
}

impl Ledger {
    /// Begins a write transaction. In SQLite it holds the write lock from its first moment.
    pub(super) async fn begin(&self) -> sqlx::Result<Transaction<'static, Any>> {
        self.write
            .begin_with(match self.engine {
                Engine::Sqlite => "BEGIN IMMEDIATE",
                Engine::Postgres => "BEGIN",
            })
            .await
    }

    /// Does a transaction, again when PostgreSQL gave it up in favour of another one.
    pub(super) async fn retried<T, E, W>(&self, transaction: impl FnMut() -> W) -> Result<T, E>
    where
        W: Future<Output = Result<T, E>>,
        E: GivenUp,
    {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(10))
            .with_max_times(RETRIES)
            .with_jitter();
        transaction.retry(pauses).when(E::given_up).await
    }

    /// The time by which leases are judged, so that the clocks of workers do not matter: PostgreSQL's own. An SQLite file
    /// is used by one machine, whose time is `now`.
    pub(super) async fn time(&self, now: Time) -> sqlx::Result<Time> {
        if let Some(database) = &self.database {
            self.clock.follow(database.wall(), Duration::ZERO);
            return Ok(database.wall());
        }
        if self.engine == Engine::Sqlite {
            return Ok(now);
        }
        let asked = self.clock.monotonic();
        let micros: i64 =
            sqlx::query_scalar("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)")
                .fetch_one(&self.read)
                .await?;
        self.clock.follow(Time(micros), self.clock.monotonic().saturating_sub(asked));
        Ok(Time(micros))
    }

    /// The time that a lease must have ended by to be free, at such a time of the ledger. When the database's clock was
    /// set forward, the leases of those who live only seem to have ended, until [`Ledger::keep_time`] has renewed them.
    pub(super) fn ended_by(&self, time: Time) -> Time {
        let has_clock = self.engine == Engine::Postgres || self.database.is_some();
        if has_clock { time.min(self.clock.now()) } else { time }
    }

    /// What keeps a query from waiting for rows that another transaction holds. SQLite has one writer at a time.
    pub(super) fn skipping_locked(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "",
            Engine::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }
}

/// Whether the database gave a transaction up in favour of another, so that it may be done again as it was.
pub(super) trait GivenUp {
    fn given_up(&self) -> bool;
}

impl GivenUp for sqlx::Error {
    fn given_up(&self) -> bool {
        let code = self.as_database_error().and_then(|error| error.code());
        // PostgreSQL: 40001 serialization_failure, 40P01 deadlock_detected.
        code.is_some_and(|code| code == "40001" || code == "40P01")
    }
}

impl GivenUp for LedgerError {
    fn given_up(&self) -> bool {
        matches!(self, Self::Store(error) if error.given_up())
    }
}
