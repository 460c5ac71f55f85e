//! Helpers for statements of many rows, and for what both databases say in their own way.

use std::collections::BTreeMap;

use sqlx::{
    Any, AnyConnection, Arguments, AssertSqlSafe, Decode, Encode, Row, Type,
    any::{AnyArguments, AnyRow, AnyTypeInfo, AnyValueRef},
    error::BoxDynError,
};

use crate::model::{Integration, OrgId, Target, TeamId, TeamKey};

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

/// The values of one statement: their places in its text, and what is bound to them.
#[derive(Default)]
pub(super) struct Values {
    sql: String,
    bound: AnyArguments,
    refused: Option<BoxDynError>,
}

impl Values {
    /// Binds the next value of a row. Placeholders are numbered, which both databases understand.
    pub(super) fn bind<'a, V: Encode<'a, Any> + Type<Any>>(&mut self, value: V) -> &mut Self {
        if let Err(error) = self.bound.add(value) {
            self.refused = Some(error);
        }
        self.sql.push_str(if self.sql.ends_with('(') { "$" } else { ", $" });
        self.sql.push_str(&self.bound.len().to_string());
        self
    }
}

/// Inserts `rows` with one statement a run: `head VALUES (…), (…) tail`. For an upsert they are [`sorted`] before.
/// Answers how many rows were written.
pub(super) async fn insert<'a, T>(
    connection: &mut AnyConnection,
    head: &str,
    tail: &str,
    rows: &'a [T],
    bind: impl Fn(&mut Values, &'a T),
) -> sqlx::Result<u64> {
    let mut written = 0;
    for run in runs(rows) {
        let mut values = Values { sql: head.to_owned(), ..Values::default() };
        for (index, row) in run.iter().enumerate() {
            values.sql.push_str(if index == 0 { "VALUES (" } else { "), (" });
            bind(&mut values, row);
        }
        values.sql.push(')');
        values.sql.push_str(tail);
        if let Some(error) = values.refused {
            return Err(sqlx::Error::Encode(error));
        }
        let query = sqlx::query_with(AssertSqlSafe(values.sql), values.bound);
        written += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(written)
}

/// The rows of an upsert by their key, the last of each: PostgreSQL refuses a statement that meets a row twice, and
/// writers that lock rows in one order do not wait for each other in a circle.
pub(super) fn sorted<'a, T, K: Ord>(rows: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<&'a T> {
    rows.iter().map(|row| (key(row), row)).collect::<BTreeMap<_, _>>().into_values().collect()
}

/// A truth value: PostgreSQL has a type for it, SQLite answers 0 or 1.
pub(super) struct Flag(pub(super) bool);

impl Type<Any> for Flag {
    fn type_info() -> AnyTypeInfo {
        <bool as Type<Any>>::type_info()
    }

    fn compatible(_: &AnyTypeInfo) -> bool {
        true
    }
}

impl<'r> Decode<'r, Any> for Flag {
    fn decode(value: AnyValueRef<'r>) -> Result<Self, BoxDynError> {
        let flag = <bool as Decode<Any>>::decode(value.clone());
        Ok(Self(flag.or_else(|_| <i64 as Decode<Any>>::decode(value).map(|number| number != 0))?))
    }
}

/// The truth value in a row's column.
pub(super) fn flag(row: &AnyRow, column: &str) -> sqlx::Result<bool> {
    Ok(row.try_get::<Flag, _>(column)?.0)
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
