//! A schema of its own in the PostgreSQL at `DATABASE_URL`, so that tests that run side by side never meet.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

/// The schema. A test that failed leaves it behind, to be looked at.
pub(crate) struct Schema {
    /// The URL of a ledger within it.
    pub(crate) url: String,
    name: String,
}

impl Schema {
    /// Creates it. A test that needs PostgreSQL fails where none answers.
    pub(crate) async fn create() -> Self {
        let name = format!("teamlink_{}", Uuid::new_v4().simple());
        admin().await.execute(AssertSqlSafe(format!("CREATE SCHEMA {name}"))).await.unwrap();
        let base = base();
        let separator = if base.contains('?') { '&' } else { '?' };
        Self { url: format!("{base}{separator}options[search_path]={name}"), name }
    }

    /// Removes it with all that is in it.
    pub(crate) async fn remove(self) {
        admin().await.execute(AssertSqlSafe(format!("DROP SCHEMA {} CASCADE", self.name))).await.unwrap();
    }
}

fn base() -> String {
    std::env::var("DATABASE_URL")
        .unwrap_or_else(|_| "postgres://teamlink:teamlink@127.0.0.1:5432/teamlink".to_owned())
}

async fn admin() -> PgConnection {
    PgConnection::connect(&base()).await.unwrap_or_else(|error| {
        panic!("this test needs a PostgreSQL: tests/run starts one, or set DATABASE_URL to one that runs: {error}")
    })
}
