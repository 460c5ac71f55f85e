//! Rows that pass from one organisation to another with a login. A row whose connection is being written stays where it is
//! until the end of that write is known: passing it would hide who has to find out. Datadog shows the row's connection, and
//! that ends two kinds of write: a create of the organisation that gets the row, which is what became of it, and what
//! another one sent so long ago that Datadog's lists would show it, which came to nothing.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AnyConnection;

use super::{AuditAction, AuditEntry, MarkResult, Next, PassedOn, intents};
use crate::model::{ConnectionKey, TeamId, TeamKey, Time};

/// What became of a row that was to pass.
pub(super) enum Passing {
    /// It passed. Both teams need a look.
    Passed([TeamKey; 2]),
    /// It was not there any more, or somebody else's. The team that was to get it needs a look.
    Lost(TeamKey),
    /// A write of its connection is under way. Both teams wait until this time.
    Waits([TeamKey; 2], Time),
}

/// Passes a row to a team of another organisation, unless a write of its connection is under way.
pub(super) async fn pass_on(db: &mut AnyConnection, passed: &PassedOn, now: Time) -> sqlx::Result<Passing> {
    let PassedOn { key, id, from, to, waits: (shortest, longest), over } = passed;
    // The row is locked first: a look that is about to delete its connection holds that lock until it has stored its intent.
    let team: Option<i64> = sqlx::query_scalar(
        "UPDATE connections SET org_id = org_id
         WHERE datadog_team_id = $1 AND github = $2 AND connection_id = $3 AND org_id = $4 RETURNING team_id",
    )
    .bind(key.datadog_team.as_str())
    .bind(&key.github)
    .bind(id.as_str())
    .bind(from.0)
    .fetch_optional(&mut *db)
    .await?;
    let Some(team) = team else { return Ok(Passing::Lost(*to)) };
    let teams = [*to, TeamKey { org: *from, team: TeamId(team) }];
    // An unanswered create may arrive after teamlink has deleted this row's connection.
    intents::keep_late_creates(db, to.org, std::iter::once(key), Some(now)).await?;
    sqlx::query(
        "DELETE FROM intents WHERE datadog_team_id = $1 AND github = $2 AND org_id = $3 AND kind = 'create'",
    )
    .bind(key.datadog_team.as_str())
    .bind(&key.github)
    .bind(to.org.0)
    .execute(&mut *db)
    .await?;
    intents::end_writes_of_others(db, to.org, key, *over).await?;
    let open: Option<i64> =
        sqlx::query_scalar("SELECT at FROM intents WHERE datadog_team_id = $1 AND github = $2")
            .bind(key.datadog_team.as_str())
            .bind(&key.github)
            .fetch_optional(&mut *db)
            .await?;
    if let Some(since) = open {
        let open_for = now.since(Time(since)).min(*longest).max(*shortest);
        return Ok(Passing::Waits(teams, now + open_for));
    }
    sqlx::query(
        "UPDATE connections SET org_id = $3, team_id = $4, unwanted_since = NULL
         WHERE datadog_team_id = $1 AND github = $2",
    )
    .bind(key.datadog_team.as_str())
    .bind(&key.github)
    .bind(to.org.0)
    .bind(to.team.0)
    .execute(&mut *db)
    .await?;
    Ok(Passing::Passed(teams))
}

/// The audit trail without the rows that stay where they are: each is told of once it passes.
pub(super) fn told<'a>(audit: &'a [AuditEntry], stay: &BTreeSet<&ConnectionKey>) -> Vec<&'a AuditEntry> {
    let passed = |line: &&AuditEntry| {
        let stays = line.subject.connection().is_some_and(|key| stay.contains(key));
        line.action != AuditAction::PassOn || !stays
    };
    audit.iter().filter(passed).collect()
}

/// The result of a look at a team, which waits if a row could not be passed to it or from it.
pub(super) fn until(mark: &MarkResult, waiting: &BTreeMap<TeamId, Time>) -> MarkResult {
    let again = mark.team.and_then(|team| waiting.get(&team));
    match (&mark.next, again) {
        (Next::Nothing, Some(again)) => MarkResult { next: Next::At(*again), ..mark.clone() },
        _ => mark.clone(),
    }
}
