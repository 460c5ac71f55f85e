//! The two databases and their schema: its migrations, and when they may run.
//!
//! Migration 0001 is frozen, and each later one only adds tables and columns, so that the version before can run on the
//! schema of this one. Version 0.1.0 is the exception: it was never published, and refuses a schema that it does not
//! know.

use std::time::SystemTime;

use anyhow::{Context as _, bail};
use sqlx::{
    AnyConnection, AssertSqlSafe, Connection as _, SqlSafeStr,
    migrate::{Migrate as _, Migration, MigrationType, Migrator},
};

use super::rows;
use crate::model::Time;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// The engine that a URL names.
    pub(super) fn of(url: &str) -> Self {
        if url.starts_with("postgres") { Self::Postgres } else { Self::Sqlite }
    }
}

/// The schema, one file a version.
const SCHEMA: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("migrations/0001_first.sql")),
    (2, "flags of marks", include_str!("migrations/0002_flags_of_marks.sql")),
    (3, "delays of marks", include_str!("migrations/0003_delays_of_marks.sql")),
    (4, "evidence of connections", include_str!("migrations/0004_evidence_of_connections.sql")),
    (5, "held sets by hash", include_str!("migrations/0005_held_sets_by_hash.sql")),
    (6, "processes", include_str!("migrations/0006_processes.sql")),
    (7, "indexes", include_str!("migrations/0007_indexes.sql")),
    (8, "removals within the window", include_str!("migrations/0008_removals_within_the_window.sql")),
    (9, "removed by others", include_str!("migrations/0009_removed_by_others.sql")),
    (10, "proof of absence", include_str!("migrations/0010_proof_of_absence.sql")),
    (11, "listed teams", include_str!("migrations/0011_listed_teams.sql")),
    (12, "releases", include_str!("migrations/0012_releases.sql")),
    (13, "parts of organisations", include_str!("migrations/0013_parts_of_organisations.sql")),
    (14, "documents as accepted", include_str!("migrations/0014_documents_as_accepted.sql")),
    (15, "late creates", include_str!("migrations/0015_late_creates.sql")),
    (16, "Datadog identity", include_str!("migrations/0016_datadog_identity.sql")),
    (17, "what puts did", include_str!("migrations/0017_what_puts_did.sql")),
    (18, "disowned rows", include_str!("migrations/0018_disowned_rows.sql")),
    (19, "strangers", include_str!("migrations/0019_strangers.sql")),
    (20, "payloads", include_str!("migrations/0020_payloads.sql")),
    (21, "heard at", include_str!("migrations/0021_heard_at.sql")),
];

/// The version of the schema that teamlink 0.1.0 made.
const OF_0_1_0: i64 = 1;

/// What the schema calls a type, and what SQLite and PostgreSQL call it. Texts are compared byte by byte in both,
/// whatever language a PostgreSQL database is made for.
const TYPES: [(&str, &str, &str); 4] = [
    ("SERIAL KEY", "INTEGER PRIMARY KEY", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    (" TEXT", " TEXT", " TEXT COLLATE \"C\""),
    (" BOOLEAN", " INTEGER", " BOOLEAN"),
    (" BYTES", " BLOB", " BYTEA"),
];

/// Brings the schema up to date. Migrations of a later version stay.
///
/// # Errors
/// When a worker of version 0.1.0 holds a lease, or a migration fails.
pub(super) async fn migrate(db: &mut AnyConnection, engine: Engine) -> anyhow::Result<()> {
    let mut migrator = Migrator::with_migrations(
        SCHEMA
            .iter()
            .map(|&(version, name, sql)| {
                let sql = TYPES.iter().fold(sql.to_owned(), |sql, (ours, sqlite, postgres)| {
                    sql.replace(ours, if engine == Engine::Sqlite { sqlite } else { postgres })
                });
                let sql = AssertSqlSafe(sql).into_sql_str();
                Migration::new(version, name.into(), MigrationType::Simple, sql, false)
            })
            .collect(),
    );
    migrator.set_ignore_missing(true);
    match engine {
        // Several processes may start at once on a new file: one makes the schema, and the others wait for it.
        Engine::Sqlite => {
            let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
            run(&migrator, &mut transaction, engine).await?;
            Ok(transaction.commit().await?)
        }
        // Here the migrator takes a lock itself.
        Engine::Postgres => run(&migrator, db, engine).await,
    }
}

async fn run(migrator: &Migrator, db: &mut AnyConnection, engine: Engine) -> anyhow::Result<()> {
    let table = &migrator.table_name;
    db.ensure_migrations_table(table).await?;
    let applied = db.list_applied_migrations(table).await?;
    if applied.iter().map(|migration| migration.version).max() == Some(OF_0_1_0) {
        no_worker_of_0_1_0(db, engine).await?;
    }
    migrator.run(db).await.context("failed to bring its schema up to date")
}

/// Makes sure that no worker of version 0.1.0 is at work, which would not know the new schema.
async fn no_worker_of_0_1_0(db: &mut AnyConnection, engine: Engine) -> anyhow::Result<()> {
    let now = match engine {
        Engine::Sqlite => Time::from(SystemTime::now()).0,
        Engine::Postgres => {
            sqlx::query_scalar("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)")
                .fetch_one(&mut *db)
                .await?
        }
    };
    let live: Option<(String, i64, i64)> = sqlx::query_as(
        "SELECT holder, org_id, expires_at FROM leases WHERE expires_at > $1 ORDER BY expires_at DESC LIMIT 1",
    )
    .bind(now)
    .fetch_optional(db)
    .await?;
    if let Some((holder, org_id, expires_at)) = live {
        let (lane, seconds) = (rows::lane(org_id), Time(expires_at).since(Time(now)).as_secs() + 1);
        bail!(
            "teamlink 0.1.0 is still at work on it (`{holder}` holds the lease on {lane} for {seconds} s), and can't use \
             the schema of this version; stop it, wait {seconds} s, and run this again"
        );
    }
    Ok(())
}
