//! Helpers for building statements of many rows.

use crate::model::{Integration, OrgId, Target, TeamId, TeamKey};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, query_builder::Separated};

/// The largest number of rows in one statement.
const LARGEST: usize = 128;

/// Splits `rows` into runs whose lengths are powers of two, largest first, so that a handful of prepared
/// statements serves every batch size.
pub(super) fn runs<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        if rows.is_empty() {
            return None;
        }
        let size = if rows.len() >= LARGEST { LARGEST } else { 1 << rows.len().ilog2() };
        let (run, rest) = rows.split_at(size);
        rows = rest;
        Some(run)
    })
}

/// Inserts `rows` with one statement a run: `head VALUES (…), (…) tail`.
/// Answers how many rows were written.
pub(super) async fn insert<'a, T>(
    connection: &mut SqliteConnection,
    head: &str,
    tail: &str,
    rows: &'a [T],
    push: impl Fn(&mut Separated<'_, Sqlite, &'static str>, &'a T),
) -> sqlx::Result<u64> {
    let mut written = 0;
    for run in runs(rows) {
        let mut query = QueryBuilder::new(head);
        query.push_values(run, |mut row, item| push(&mut row, item));
        query.push(tail);
        written += query.build().execute(&mut *connection).await?.rows_affected();
    }
    Ok(written)
}

/// The target that a row of team ids names: what belongs to no team is looked at with its whole
/// organisation, or is a document.
pub(super) fn team(org: i64, team: i64) -> Target {
    match (TeamId(team), Integration::of_scope(OrgId(org))) {
        (_, Some(integration)) => Target::Document(integration),
        (TeamId::NONE, None) => Target::Org(OrgId(org)),
        (team, None) => Target::Team(TeamKey { org: OrgId(org), team }),
    }
}

/// Text for a database: without NUL, which PostgreSQL refuses.
pub(super) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_all_rows_in_order_with_lengths_that_are_powers_of_two() {
        for length in [0, 1, 2, 3, 127, 128, 129, 300, 511] {
            let rows: Vec<usize> = (0..length).collect();
            let parts: Vec<&[usize]> = runs(&rows).collect();
            assert_eq!(parts.concat(), rows);
            assert!(parts.iter().all(|part| part.len().is_power_of_two() && part.len() <= LARGEST));
        }
    }
}
