//! The old SQLite ledger, copied into a folder of its own.

use std::fs;

use sqlx::{AssertSqlSafe, Connection, Executor, Row as _, SqliteConnection};

use crate::support::ledgers::{self, Old, Row, Tables};

/// A copy of the file in a folder of its own.
struct Sqlite(tempfile::TempDir);

impl Sqlite {
    async fn connect(&self) -> SqliteConnection {
        SqliteConnection::connect(&self.url()).await.unwrap()
    }
}

impl Old for Sqlite {
    const NAME: &'static str = "sqlite";

    async fn copy() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(ledgers::file("0.1.0.db"), dir.path().join("teamlink.db")).unwrap();
        Self(dir)
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.0.path().join("teamlink.db").display())
    }

    async fn tables(&self) -> Tables {
        let mut db = self.connect().await;
        let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut db).await.unwrap();
        let mut tables = Tables::new();
        for table in names {
            let columns = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)").bind(&table);
            let columns: Vec<String> = columns.fetch_all(&mut db).await.unwrap();
            let quoted: Vec<String> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
            let sql = format!("SELECT {} FROM \"{table}\" ORDER BY rowid", quoted.join(", "));
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut db).await.unwrap();
            let row = |row: &sqlx::sqlite::SqliteRow| -> Row {
                columns.iter().enumerate().map(|(at, column)| (column.clone(), row.get(at))).collect()
            };
            tables.insert(table, rows.iter().map(row).collect());
        }
        db.close().await.unwrap();
        tables
    }

    async fn execute(&self, sql: &'static str) {
        let mut db = self.connect().await;
        db.execute(sql).await.unwrap();
        db.close().await.unwrap();
    }

    async fn remove(self) {}
}

#[tokio::test]
async fn opening_an_old_ledger_loses_nothing() {
    ledgers::opening_loses_nothing::<Sqlite>().await;
}

#[tokio::test]
async fn several_processes_that_start_at_once_bring_an_old_ledger_up_to_date() {
    ledgers::several_processes_bring_it_up_to_date::<Sqlite>().await;
}

#[tokio::test]
async fn a_loss_would_be_noticed() {
    ledgers::a_loss_is_noticed::<Sqlite>().await;
}

#[tokio::test]
async fn old_slots_of_the_window_count_where_they_belong() {
    ledgers::old_slots_count_where_they_belong::<Sqlite>().await;
}

#[tokio::test]
async fn what_is_parked_and_audited_is_printed_as_before() {
    ledgers::what_is_parked_and_audited_is_printed_as_before::<Sqlite>().await;
}

#[tokio::test]
async fn a_hash_printed_by_an_old_version_approves_what_it_was_printed_for() {
    ledgers::a_printed_hash_approves_what_it_was_printed_for::<Sqlite>().await;
}

#[tokio::test]
async fn old_pauses_are_found_and_end() {
    ledgers::pauses_are_found_and_end::<Sqlite>().await;
}

#[tokio::test]
async fn a_pass_on_an_old_ledger_converges_and_deletes_nothing_foreign() {
    ledgers::a_pass_converges_and_deletes_nothing_foreign::<Sqlite>().await;
}

#[tokio::test]
async fn a_ledger_on_which_an_old_worker_is_at_work_is_left_alone() {
    ledgers::an_old_worker_is_not_left_behind::<Sqlite>().await;
}

#[tokio::test]
async fn the_schema_of_a_later_version_is_opened() {
    ledgers::a_later_schema_is_opened::<Sqlite>().await;
}
