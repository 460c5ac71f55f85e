//! How values of the model are stored, helpers for statements of many rows, and what both databases say in their own
//! way. Only this file knows the numbers that stand for a lane, for no team, for everything and for a cause.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize as _, Serializer, ser::SerializeMap as _};
use sqlx::{
    Any, AnyConnection, Arguments, AssertSqlSafe, Decode, Encode, Row, Type,
    any::{AnyArguments, AnyRow, AnyTypeInfo, AnyValueRef},
    error::BoxDynError,
    query::Query,
};

use crate::model::{Asks, Cause, Integration, Lane, OrgId, PauseScope, Subject, Target, TeamId, TeamKey};

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

    /// The statement `head VALUES (…), (…) tail` for these rows.
    fn statement<'a, T>(
        (head, tail): (&str, &str),
        rows: &'a [T],
        bind: impl Fn(&mut Self, &'a T),
    ) -> sqlx::Result<Query<'static, Any, AnyArguments>> {
        let mut values = Self { sql: head.to_owned(), ..Self::default() };
        for (index, row) in rows.iter().enumerate() {
            values.sql.push_str(if index == 0 { "VALUES (" } else { "), (" });
            bind(&mut values, row);
        }
        values.sql.push(')');
        values.sql.push_str(tail);
        match values.refused {
            Some(error) => Err(sqlx::Error::Encode(error)),
            None => Ok(sqlx::query_with(AssertSqlSafe(values.sql), values.bound)),
        }
    }
}

/// Writes `rows` with one statement a run: `head VALUES (…), (…) tail`. For an upsert they are [`sorted`] before.
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
        let query = Values::statement((head, tail), run, &bind)?;
        written += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(written)
}

/// Reads what a query gives for `keys`, a statement a run: `WITH asked (columns) AS (VALUES (…), (…)) query`.
pub(super) async fn select<'a, T>(
    connection: &mut AnyConnection,
    columns: &str,
    query: &str,
    keys: &'a [T],
    bind: impl Fn(&mut Values, &'a T),
) -> sqlx::Result<Vec<AnyRow>> {
    let (head, tail) = (format!("WITH asked ({columns}) AS ("), format!(") {query}"));
    let mut found = Vec::new();
    for run in runs(keys) {
        let query = Values::statement((&head, &tail), run, &bind)?;
        found.extend(query.fetch_all(&mut *connection).await?);
    }
    Ok(found)
}

/// The rows of an upsert by their key, the last of each: PostgreSQL refuses a statement that meets a row twice, and
/// writers that lock rows in one order do not wait for each other in a circle.
pub(super) fn sorted<'a, T, K: Ord>(rows: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<&'a T> {
    rows.iter().map(|row| (key(row), row)).collect::<BTreeMap<_, _>>().into_values().collect()
}

/// PostgreSQL: locks the rows of these teams in the order of their keys, as [`sorted`] says. SQLite has one writer.
pub(super) async fn lock_teams(
    connection: &mut AnyConnection,
    lane: Lane,
    teams: &BTreeSet<TeamId>,
) -> sqlx::Result<()> {
    lock(connection, "teams", "", lane, teams).await
}

/// PostgreSQL: locks the marks of these teams in the same order. Who needs both locks the teams first.
pub(super) async fn lock_marks(
    connection: &mut AnyConnection,
    lane: Lane,
    teams: &BTreeSet<TeamId>,
) -> sqlx::Result<()> {
    lock(connection, "marks", " AND kind = 'team'", lane, teams).await
}

async fn lock(
    connection: &mut AnyConnection,
    table: &str,
    only: &str,
    lane: Lane,
    teams: &BTreeSet<TeamId>,
) -> sqlx::Result<()> {
    if connection.backend_name() != "PostgreSQL" {
        return Ok(());
    }
    let head = format!("SELECT 1 FROM {table} JOIN (");
    let tail = format!(
        ") AS touched ON org_id = column1 AND team_id = column2{only} ORDER BY org_id, team_id FOR UPDATE OF {table}"
    );
    let teams: Vec<TeamId> = teams.iter().copied().collect();
    insert(connection, &head, &tail, &teams, |row, team| {
        row.bind(lane_number(lane)).bind(team.0);
    })
    .await?;
    Ok(())
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

/// `org_id` of a pause of everything, and of an audit line about everything.
pub(super) const EVERYTHING: i64 = 0;

/// `team_id` where no team is meant.
pub(super) const NO_TEAM: i64 = 0;

/// Returns the `org_id` of a lane. GitHub gives organisations positive ids. JSON shows the number where an
/// organisation's id is expected: scripts read it.
pub fn lane_number(lane: Lane) -> i64 {
    match lane {
        Lane::Org(org) => org.0,
        Lane::Document(Integration::Github) => -1,
        Lane::Document(Integration::Jira) => -2,
        Lane::Document(Integration::Pagerduty) => -3,
        Lane::Recovery => -4,
    }
}

/// Returns the lane that an `org_id` names.
pub(super) fn lane(org_id: i64) -> Lane {
    match org_id {
        -1 => Lane::Document(Integration::Github),
        -2 => Lane::Document(Integration::Jira),
        -3 => Lane::Document(Integration::Pagerduty),
        -4 => Lane::Recovery,
        org => Lane::Org(OrgId(org)),
    }
}

/// Returns the lane that an `org_id` names where everything may be meant.
pub(super) fn any_lane(org_id: i64) -> Option<Lane> {
    (org_id != EVERYTHING).then(|| lane(org_id))
}

/// Writes the number of a lane as JSON, as it is stored. Scripts read it.
pub(super) fn serialize_lane<S: Serializer>(lane: &Option<Lane>, serializer: S) -> Result<S::Ok, S::Error> {
    lane.map_or(EVERYTHING, lane_number).serialize(serializer)
}

/// Writes the numbers of what a parked action belongs to as JSON; nulls for a delivery.
pub(super) fn serialize_owner<S: Serializer>(
    owner: &Option<(Lane, Option<TeamId>)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_map(Some(2))?;
    fields.serialize_entry("org", &owner.map(|(lane, _)| lane_number(lane)))?;
    fields.serialize_entry("team", &owner.map(|(_, team)| team_column(team)))?;
    fields.end()
}

/// Returns the `team_id` of a team that there may not be.
pub(super) fn team_column(team: Option<TeamId>) -> i64 {
    team.map_or(NO_TEAM, |team| team.0)
}

/// Returns the team that a `team_id` names.
pub(super) fn team(team_id: i64) -> Option<TeamId> {
    (team_id != NO_TEAM).then_some(TeamId(team_id))
}

/// Returns `kind`, `org_id` and `team_id` of a target's mark.
pub(super) fn target_columns(target: Target) -> (&'static str, i64, i64) {
    let lane = lane_number(target.lane());
    match target {
        Target::Team(key) => ("team", lane, key.team.0),
        Target::Org(_) => ("org", lane, NO_TEAM),
        Target::Document(_) => ("document", lane, NO_TEAM),
    }
}

/// Returns the target of these columns.
pub(super) fn target(org_id: i64, team_id: i64) -> Option<Target> {
    target_in(lane(org_id), team(team_id))
}

/// Returns the team as a target, or the whole lane if there is no team. Recovery has no target.
pub(super) fn target_in(lane: Lane, team: Option<TeamId>) -> Option<Target> {
    match (lane, team) {
        (Lane::Org(org), Some(team)) => Some(Target::Team(TeamKey { org, team })),
        (Lane::Org(org), None) => Some(Target::Org(org)),
        (Lane::Document(integration), _) => Some(Target::Document(integration)),
        (Lane::Recovery, _) => None,
    }
}

/// Returns `org_id` and `team_id` of a pause. A team's pause names both; the pause of an organisation names no team.
pub(super) fn pause_columns(scope: PauseScope) -> (i64, i64) {
    match scope {
        PauseScope::All => (EVERYTHING, NO_TEAM),
        PauseScope::Org(org) => (org.0, NO_TEAM),
        PauseScope::Team(key) => (key.org.0, key.team.0),
        PauseScope::Document(integration) => (lane_number(Lane::Document(integration)), NO_TEAM),
    }
}

/// Returns the scope of a pause.
pub(super) fn pause_scope(org_id: i64, team_id: i64) -> PauseScope {
    match (team(team_id), lane(org_id)) {
        _ if org_id == EVERYTHING => PauseScope::All,
        (Some(team), _) => PauseScope::Team(TeamKey { org: OrgId(org_id), team }),
        (None, Lane::Document(integration)) => PauseScope::Document(integration),
        (None, _) => PauseScope::Org(OrgId(org_id)),
    }
}

/// Returns `marks.cause`, which orders the work.
pub(super) fn cause_column(cause: Cause) -> i64 {
    match cause {
        Cause::Person => PERSON,
        Cause::Event => 1,
        Cause::Pass => 2,
    }
}

/// `marks.cause` of a person's command.
pub(super) const PERSON: i64 = 0;

/// The kinds of marks with each cause, as rows.
pub(super) const KINDS_AND_CAUSES: &str =
    "VALUES ('team', 0), ('team', 1), ('team', 2), ('org', 0), ('org', 1), ('org', 2),
            ('document', 0), ('document', 1), ('document', 2)";

/// Returns the cause in a row of `marks`.
pub(super) fn cause(row: &AnyRow) -> sqlx::Result<Cause> {
    Ok(match row.try_get::<i64, _>("cause")? {
        PERSON => Cause::Person,
        1 => Cause::Event,
        _ => Cause::Pass,
    })
}

/// The flags of a mark. Each has the SQL that derives it from the cause, for rows of version 0.1.0.
pub(super) const ASKS: [(&str, &str); 5] = [
    ("asks_datadog", "marks.cause = 0"),
    ("asks_reserve", "marks.cause <> 2"),
    ("asks_at_once", "marks.cause = 0"),
    ("lifts_creates", "marks.cause = 0"),
    ("answers_event", "marks.cause = 1"),
];

/// Returns what a row of `marks` asks for. A row that version 0.1.0 wrote has no flags: it asks for what its cause
/// decided there.
pub(super) fn asks(row: &AnyRow) -> sqlx::Result<Asks> {
    let from_cause = match cause(row)? {
        Cause::Event => Asks::EVENT,
        Cause::Pass => Asks::PASS,
        Cause::Person => Asks::PERSON,
    };
    let flag = |column, otherwise| {
        let stored = row.try_get::<Option<Flag>, _>(column)?;
        Ok::<_, sqlx::Error>(stored.map_or(otherwise, |flag| flag.0))
    };
    Ok(Asks {
        datadog: flag("asks_datadog", from_cause.datadog)?,
        reserve: flag("asks_reserve", from_cause.reserve)?,
        at_once: flag("asks_at_once", from_cause.at_once)?,
        lifts_creates: flag("lifts_creates", from_cause.lifts_creates)?,
        event: flag("answers_event", from_cause.event)?,
    })
}

/// Returns the subject in `datadog_team_id` and `github` of a row.
pub(super) fn subject(row: &AnyRow) -> sqlx::Result<Subject> {
    Ok(Subject::named(row.try_get("datadog_team_id")?, row.try_get("github")?))
}

/// Text for a database: without NUL, which PostgreSQL refuses.
pub(super) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_has_a_number_of_its_own_and_is_found_again_by_it() {
        let lanes = [Lane::Org(OrgId(7)), Lane::Recovery];
        let documents = Integration::ALL.map(Lane::Document);
        for (lane_, id) in lanes.into_iter().chain(documents).zip([7, -4, -1, -2, -3]) {
            assert_eq!((lane_number(lane_), lane(id)), (id, lane_));
        }
    }

    #[test]
    fn each_target_and_pause_is_found_again_by_its_columns() {
        let (org, team) = (OrgId(7), TeamId(8));
        let key = TeamKey { org, team };
        for of in [Target::Team(key), Target::Org(org), Target::Document(Integration::Jira)] {
            let (_, org_id, team_id) = target_columns(of);
            assert_eq!(target(org_id, team_id), Some(of));
        }
        assert_eq!(target_in(Lane::Recovery, None), None);
        let documents = Integration::ALL.map(PauseScope::Document);
        for scope in
            [PauseScope::All, PauseScope::Org(org), PauseScope::Team(key)].into_iter().chain(documents)
        {
            let (org_id, team_id) = pause_columns(scope);
            assert_eq!(pause_scope(org_id, team_id), scope);
        }
    }

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
