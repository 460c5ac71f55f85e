//! The old PostgreSQL ledger, loaded into a schema of its own.

use std::fs;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row as _, postgres::PgRow};

use crate::{
    schema::Schema,
    support::ledgers::{self, Old, Row, Tables},
};

/// The dump in a schema.
struct Postgres(Schema);

impl Old for Postgres {
    const NAME: &'static str = "postgres";

    async fn copy() -> Self {
        let schema = Schema::create().await;
        let dump = fs::read_to_string(ledgers::file("0.1.0.postgres.sql")).unwrap();
        let mut db = PgConnection::connect(&schema.url).await.unwrap();
        db.execute(sqlx::raw_sql(AssertSqlSafe(dump))).await.unwrap();
        db.close().await.unwrap();
        Self(schema)
    }

    fn url(&self) -> String {
        self.0.url.clone()
    }

    async fn tables(&self) -> Tables {
        let mut db = PgConnection::connect(&self.0.url).await.unwrap();
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns
             WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position",
        )
        .fetch_all(&mut db)
        .await
        .unwrap();
        let mut tables = Tables::new();
        for of_table in columns.chunk_by(|(one, _), (other, _)| one == other) {
            let table = &of_table[0].0;
            let quoted: Vec<String> =
                of_table.iter().map(|(_, column)| format!("quote_nullable(\"{column}\")")).collect();
            let sql = format!("SELECT {} FROM \"{table}\" ORDER BY 1, 2", quoted.join(", "));
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut db).await.unwrap();
            let row = |row: &PgRow| -> Row {
                of_table.iter().enumerate().map(|(at, (_, column))| (column.clone(), row.get(at))).collect()
            };
            tables.insert(table.clone(), rows.iter().map(row).collect());
        }
        db.close().await.unwrap();
        tables
    }

    async fn execute(&self, sql: &'static str) {
        let mut db = PgConnection::connect(&self.0.url).await.unwrap();
        db.execute(sql).await.unwrap();
        db.close().await.unwrap();
    }

    async fn remove(self) {
        self.0.remove().await;
    }
}

#[tokio::test]
async fn opening_an_old_ledger_loses_nothing() {
    ledgers::opening_loses_nothing::<Postgres>().await;
}

#[tokio::test]
async fn several_processes_that_start_at_once_bring_an_old_ledger_up_to_date() {
    ledgers::several_processes_bring_it_up_to_date::<Postgres>().await;
}

#[tokio::test]
async fn a_loss_would_be_noticed() {
    ledgers::a_loss_is_noticed::<Postgres>().await;
}

#[tokio::test]
async fn old_slots_of_the_window_count_where_they_belong() {
    ledgers::old_slots_count_where_they_belong::<Postgres>().await;
}

#[tokio::test]
async fn what_is_parked_and_audited_is_printed_as_before() {
    ledgers::what_is_parked_and_audited_is_printed_as_before::<Postgres>().await;
}

#[tokio::test]
async fn a_hash_printed_by_an_old_version_approves_what_it_was_printed_for() {
    ledgers::a_printed_hash_approves_what_it_was_printed_for::<Postgres>().await;
}

#[tokio::test]
async fn old_pauses_are_found_and_end() {
    ledgers::pauses_are_found_and_end::<Postgres>().await;
}

#[tokio::test]
async fn a_pass_on_an_old_ledger_converges_and_deletes_nothing_foreign() {
    ledgers::a_pass_converges_and_deletes_nothing_foreign::<Postgres>().await;
}

#[tokio::test]
async fn a_ledger_on_which_an_old_worker_is_at_work_is_left_alone() {
    ledgers::an_old_worker_is_not_left_behind::<Postgres>().await;
}

#[tokio::test]
async fn the_schema_of_a_later_version_is_opened() {
    ledgers::a_later_schema_is_opened::<Postgres>().await;
}
