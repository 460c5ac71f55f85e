//! What a look stores at its end, in one transaction. It carries the fence of the lease and stores nothing when another
//! holder has the lease by then.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AnyConnection;

use super::{
    AuditEntry, Ledger, LedgerError, MarkResult, Next, ParkedAction, Settled, Settlement, accept, documents,
    held, intents, orgs,
    passing::{Passing, pass_on, told, until},
    rows, second_writer, slots, team_lists,
};
use crate::model::{
    Asks, Cause, ConnectionKey, HeldKey, HeldKind, Integration, Lane, MirrorTeam, Owned, Target, TeamId,
    TeamState, Time,
};

impl Ledger {
    /// Stores all that a look found and did, and clears the marks that it answered, in one transaction.
    pub async fn settle(
        &self,
        lane: Lane,
        fence: i64,
        settlement: &Settlement,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.retried(move || async move {
            // A struct pattern without `..`: a new field cannot be forgotten here.
            let Settlement {
                marks,
                org: _,
                teams,
                owned,
                disowned,
                unexplained,
                spent,
                unwanted,
                removed_by_others,
                closed_intents,
                undone,
                held: holds,
                passed,
                lifts_creates,
                looked_at,
                approved,
                in_doubt,
                parked,
                audit,
                found,
                document,
                documents: dependent,
                passed_on,
                found_elsewhere,
                missed,
                listed_at: _,
                absent_since: _,
                ends_release,
                released,
            } = settlement;
            let mut transaction = self.begin().await?;
            let (db, org_id) = (&mut *transaction, rows::lane_number(lane));
            check_fence(db, lane, fence).await?;
            orgs::store(db, lane, settlement, now).await?;
            let marked = marks.iter().filter_map(|mark| mark.team);
            let touched: BTreeSet<TeamId> =
                teams.iter().map(|team| team.team.facts.id).chain(marked).chain(found.iter().copied()).collect();
            rows::lock_teams(db, lane, &touched).await?;
            let moved = team_lists::note_new_parents(db, lane, teams, now).await?;
            store_teams(db, lane, (teams, &self.rules.in_step_for), now).await?;
            slots::not_ahead(db, now).await?;
            slots::note_deleted(db, disowned, now).await?;
            slots::note_disowned(db, lane, unexplained, now).await?;
            slots::note_spent(db, spent, now).await?;
            for key in disowned {
                by_key(db, "DELETE FROM connections WHERE datadog_team_id = $1 AND github = $2 AND org_id = $3", lane, key)
                    .await?;
            }
            store_owned(db, lane, owned, now).await?;
            note_unwanted(db, lane, looked_at, unwanted).await?;
            if let Some(org) = lane.org() {
                intents::keep_late_creates(db, org, closed_intents.iter(), None).await?;
            }
            for key in closed_intents {
                by_key(db, "DELETE FROM intents WHERE datadog_team_id = $1 AND github = $2 AND org_id = $3", lane, key)
                    .await?;
            }
            for key in undone {
                let sql = "DELETE FROM intents
                     WHERE datadog_team_id = $1 AND github = $2 AND org_id = $3 AND kind <> 'adopt'";
                by_key(db, sql, lane, key).await?;
            }
            intents::note_missed(db, lane, missed, now).await?;
            let mut elsewhere = found_elsewhere.clone();
            let (mut waiting, mut stay) = (BTreeMap::new(), BTreeSet::new());
            for row in passed_on {
                match pass_on(db, row, now).await? {
                    Passing::Passed(teams) => elsewhere.extend(teams.map(Target::Team)),
                    Passing::Lost(team) => {
                        stay.insert(&row.key);
                        elsewhere.push(Target::Team(team));
                    }
                    Passing::Waits(teams, until) => {
                        stay.insert(&row.key);
                        let of_lane = teams.into_iter().filter(|team| Lane::Org(team.org) == lane);
                        waiting.extend(of_lane.map(|team| (team.team, until)));
                    }
                }
            }
            if let Some((orphans, foreigners)) = passed {
                sqlx::query(
                    "UPDATE orgs SET first_pass_at = COALESCE(first_pass_at, $1), passed_at = $1, passed_for = $5,
                         orphans = $3, foreigners = $4
                     WHERE org_id = $2",
                )
                .bind(now.0)
                .bind(org_id)
                .bind(i64::try_from(*orphans).unwrap_or(i64::MAX))
                .bind(i64::try_from(*foreigners).unwrap_or(i64::MAX))
                .bind(self.rules.fingerprint.as_str())
                .execute(&mut *db)
                .await?;
            }
            if *lifts_creates {
                held::lift_creates(db, lane).await?;
            }
            if *ends_release {
                orgs::end_release(db, lane).await?;
            }
            held::replace_held(db, lane, looked_at, (holds, approved, in_doubt), now).await?;
            let made = owned.iter().map(|owned| &owned.key);
            second_writer::note(db, lane, removed_by_others, made, now).await?;
            let gone = |kind| disowned.iter().map(move |key| HeldKey::new(kind, key.clone()));
            let made = owned.iter().map(|owned| HeldKey::new(HeldKind::Create, owned.key.clone()));
            let done = gone(HeldKind::Delete).chain(gone(HeldKind::Disown)).chain(made).chain(spent.iter().cloned());
            held::use_up(db, lane, &done.collect::<Vec<_>>()).await?;
            park_actions(db, lane, looked_at, parked, now).await?;
            store_audit(db, lane, fence, &told(audit, &stay), now).await?;
            rows::lock_marks(db, lane, &touched).await?;
            for mark in rows::sorted(marks, |mark| mark.team) {
                clear_mark(db, lane, &until(mark, &waiting), now).await?;
            }
            if let Some(document) = document {
                documents::store(db, document, now).await?;
            }
            if let Some(released) = released {
                orgs::release(db, lane, *released, now).await?;
            }
            let teams = found.iter().filter_map(|team| rows::target_in(lane, Some(*team)));
            let targets: Vec<Target> = teams
                .chain(dependent.iter().copied().map(Target::Document))
                .chain(elsewhere)
                .collect();
            accept::mark_in(db, &targets, Cause::Pass, Asks::PASS, now).await?;
            if moved {
                accept::mark_changed(db, Target::Document(Integration::Github), now).await?;
            }
            transaction.commit().await?;
            Ok(())
        })
        .await
    }
}

/// Refuses a lease that another holder has by now. Nobody takes it before the end of this transaction, which holds the
/// lock of its row.
pub(super) async fn check_fence(db: &mut AnyConnection, lane: Lane, fence: i64) -> Result<(), LedgerError> {
    let ours = sqlx::query("UPDATE leases SET fence = fence WHERE org_id = $1 AND fence = $2")
        .bind(rows::lane_number(lane))
        .bind(fence)
        .execute(db)
        .await?;
    if ours.rows_affected() == 0 { Err(LedgerError::LeaseLost(lane)) } else { Ok(()) }
}

/// Carries out a statement about a key of this lane. What another organisation has of the key stays.
async fn by_key(
    db: &mut AnyConnection,
    sql: &'static str,
    lane: Lane,
    key: &ConnectionKey,
) -> sqlx::Result<()> {
    sqlx::query(sql)
        .bind(key.datadog_team.as_str())
        .bind(key.github.as_str())
        .bind(rows::lane_number(lane))
        .execute(db)
        .await?;
    Ok(())
}

/// Stores connections that are ours. A row that passed to another organisation meanwhile stays there.
async fn store_owned(db: &mut AnyConnection, lane: Lane, owned: &[Owned], now: Time) -> sqlx::Result<()> {
    rows::insert(
        db,
        "INSERT INTO connections (datadog_team_id, github, connection_id, org_id, team_id, created_at, managed_by) ",
        " ON CONFLICT (datadog_team_id, github) DO UPDATE SET
             connection_id = excluded.connection_id, org_id = excluded.org_id, team_id = excluded.team_id,
             managed_by = COALESCE(excluded.managed_by, connections.managed_by), unwanted_since = NULL,
             created_at = CASE WHEN connections.connection_id = excluded.connection_id
                 THEN connections.created_at ELSE excluded.created_at END
         WHERE connections.org_id = excluded.org_id OR connections.connection_id <> excluded.connection_id",
        &rows::sorted(owned, |connection| &connection.key),
        |row, connection: &&Owned| {
            row.bind(connection.key.datadog_team.as_str())
                .bind(connection.key.github.as_str())
                .bind(connection.id.as_str())
                .bind(rows::lane_number(lane))
                .bind(connection.team.0)
                .bind(now.0)
                .bind(connection.managed_by.as_deref());
        },
    )
    .await?;
    Ok(())
}

/// Replaces what is known of the grace of these teams' connections.
async fn note_unwanted(
    db: &mut AnyConnection,
    lane: Lane,
    looked_at: &[Option<TeamId>],
    unwanted: &[(ConnectionKey, Time)],
) -> sqlx::Result<()> {
    let some = "SELECT DISTINCT team_id FROM connections WHERE org_id = $1 AND unwanted_since IS NOT NULL";
    for team in teams_of(db, some, lane, looked_at).await? {
        sqlx::query("UPDATE connections SET unwanted_since = NULL WHERE org_id = $1 AND team_id = $2")
            .bind(rows::lane_number(lane))
            .bind(rows::team_column(team))
            .execute(&mut *db)
            .await?;
    }
    for (key, since) in unwanted {
        sqlx::query("UPDATE connections SET unwanted_since = $3 WHERE datadog_team_id = $1 AND github = $2")
            .bind(key.datadog_team.as_str())
            .bind(&key.github)
            .bind(since.0)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// The teams that a query gives of a lane, as far as they are among these: mostly there are none, and a look at a
/// hundred teams must not cost a statement for each.
async fn teams_of(
    db: &mut AnyConnection,
    sql: &'static str,
    lane: Lane,
    among: &[Option<TeamId>],
) -> sqlx::Result<Vec<Option<TeamId>>> {
    let found: Vec<i64> = sqlx::query_scalar(sql).bind(rows::lane_number(lane)).fetch_all(db).await?;
    Ok(found.into_iter().map(rows::team).filter(|team| among.contains(team)).collect())
}

/// Stores teams as a look found them by the rules `in_step_for`.
async fn store_teams(
    db: &mut AnyConnection,
    lane: Lane,
    (teams, in_step_for): (&[Settled], &str),
    now: Time,
) -> sqlx::Result<()> {
    let bind = |row: &mut rows::Values, settled: &&Settled| {
        let MirrorTeam { facts, state, seen_at, deleted_event_at: _, in_step } = &settled.team;
        let (suspected, second, unlisted) = match state {
            TeamState::Present => (None, None, None),
            TeamState::Suspected { since, second } => (Some(since.0), second.map(|at| at.0), None),
            TeamState::Gone { since, proven } => (Some(since.0), Some(proven.0), Some(now.0)),
        };
        row.bind(rows::lane_number(lane))
            .bind(facts.id.0)
            .bind(rows::clean(&facts.slug))
            .bind(rows::clean(&facts.name))
            .bind(facts.parent.map(|parent| parent.0))
            .bind(facts.team_type.as_str())
            .bind(suspected)
            .bind(second)
            .bind(unlisted)
            .bind(seen_at.0)
            .bind(*in_step)
            .bind(in_step_for)
            .bind(settled.waiting)
            .bind(settled.listed_at.map(|at| at.0));
    };
    rows::insert(
        db,
        "INSERT INTO teams (org_id, team_id, slug, name, parent_id, team_type, suspected_at, gone_at, unlisted_at,
             seen_at, in_step, in_step_for, waiting, listed_at) ",
        " ON CONFLICT (org_id, team_id) DO UPDATE SET
             slug = excluded.slug, name = excluded.name, parent_id = excluded.parent_id,
             team_type = excluded.team_type, suspected_at = excluded.suspected_at, gone_at = excluded.gone_at,
             unlisted_at = excluded.unlisted_at, seen_at = excluded.seen_at, in_step = excluded.in_step,
             in_step_for = excluded.in_step_for, waiting = excluded.waiting,
             listed_at = excluded.listed_at",
        &rows::sorted(teams, |settled| settled.team.facts.id),
        bind,
    )
    .await?;
    Ok(())
}

async fn park_actions(
    db: &mut AnyConnection,
    lane: Lane,
    looked_at: &[Option<TeamId>],
    parked: &[ParkedAction],
    now: Time,
) -> sqlx::Result<()> {
    // First what is given up on now, which remembers how it began; then what is not given up on any more goes.
    for ParkedAction { team, step, error, attempts } in parked {
        sqlx::query(
            "INSERT INTO parked (kind, subject, place, class, attempts, first_error, first_at, error, parked_at,
                 org_id, team_id)
             VALUES ('action', $1, $2, $3, $4, $5, $6, $5, $6, $7, $8)
             ON CONFLICT (org_id, subject) WHERE kind = 'action' DO UPDATE SET
                 class = excluded.class, attempts = excluded.attempts, error = excluded.error,
                 parked_at = excluded.parked_at, team_id = excluded.team_id",
        )
        .bind(rows::clean(&step.to_string()))
        .bind(step.place())
        .bind(error.class.as_str())
        .bind(i64::from(*attempts))
        .bind(rows::clean(&error.message))
        .bind(now.0)
        .bind(rows::lane_number(lane))
        .bind(rows::team_column(*team))
        .execute(&mut *db)
        .await?;
    }
    let stays: Vec<String> = parked.iter().map(|action| rows::clean(&action.step.to_string())).collect();
    let some = "SELECT DISTINCT team_id FROM parked WHERE kind = 'action' AND org_id = $1";
    for team in teams_of(db, some, lane, looked_at).await? {
        let of_team: Vec<(i64, String)> = sqlx::query_as(
            "SELECT id, subject FROM parked WHERE kind = 'action' AND org_id = $1 AND team_id = $2",
        )
        .bind(rows::lane_number(lane))
        .bind(rows::team_column(team))
        .fetch_all(&mut *db)
        .await?;
        for (id, _) in of_team.iter().filter(|(_, subject)| !stays.contains(subject)) {
            sqlx::query("DELETE FROM parked WHERE id = $1").bind(id).execute(&mut *db).await?;
        }
    }
    Ok(())
}

pub(super) async fn store_audit(
    db: &mut AnyConnection,
    lane: Lane,
    fence: i64,
    audit: &[&AuditEntry],
    now: Time,
) -> sqlx::Result<()> {
    rows::insert(
        &mut *db,
        "INSERT INTO audit (at, org_id, team_id, action, datadog_team_id, github, connection_id, cause, reason,
             proof, outcome, detail, fence, events_since) ",
        "",
        audit,
        |row, entry: &&AuditEntry| {
            let AuditEntry { team, action, subject, connection, cause, of_event, reason, proof, outcome, detail } = entry;
            let (datadog, github) = subject.names();
            let cause = match cause {
                Cause::Event => "event",
                Cause::Pass => "pass",
                Cause::Person => "person",
            };
            row.bind(now.0)
                .bind(rows::lane_number(lane))
                .bind(rows::team_column(*team))
                .bind(action.as_str())
                .bind(datadog)
                .bind(github)
                .bind(connection.as_deref())
                .bind(cause)
                .bind(rows::clean(reason))
                .bind(proof.as_deref().map(rows::clean))
                .bind(outcome.as_str())
                .bind(detail.as_deref().map(rows::clean))
                .bind(fence)
                // Only until the update below: it takes the time of the event from the mark.
                .bind(of_event.then_some(now.0));
        },
    )
    .await?;
    if !audit.is_empty() {
        // The marks are not cleared yet: they still say since when events have waited for this look. A second
        // look, for a proof, goes back to the last one.
        sqlx::query(
            "UPDATE audit SET events_since =
                 (SELECT CASE WHEN audit.events_since IS NULL THEN received_at
                              ELSE COALESCE(received_at, event_at) END
                  FROM marks
                  WHERE kind = 'team' AND marks.org_id = audit.org_id AND marks.team_id = audit.team_id)
             WHERE at = $1 AND org_id = $2 AND fence = $3",
        )
        .bind(now.0)
        .bind(rows::lane_number(lane))
        .bind(fence)
        .execute(db)
        .await?;
    }
    Ok(())
}

/// Clears the generation that was looked at. A target that was marked again meanwhile stays due as it is; its
/// first request is then the one that came during the look. What is given up on keeps its count of attempts, so that
/// whoever asks again has it tried once.
async fn clear_mark(db: &mut AnyConnection, lane: Lane, mark: &MarkResult, now: Time) -> sqlx::Result<()> {
    let Some(target) = rows::target_in(lane, mark.team) else { return Ok(()) };
    let (kind, org_id, team) = rows::target_columns(target);
    let (due, floor, error, burns) = match &mark.next {
        Next::Waits(at) => {
            let wait = "UPDATE marks SET due_at = $5 WHERE kind = $1 AND org_id = $2 AND team_id = $3 AND generation = $4";
            let wait = sqlx::query(wait).bind(kind).bind(org_id).bind(team).bind(mark.generation).bind(at.0);
            wait.execute(db).await?;
            return Ok(());
        }
        Next::Nothing => (None, Time(0), None, false),
        Next::At(at) => (Some(at.0), Time(0), None, false),
        Next::Retry { at, floor, error, burns } => (Some(at.0), *floor, Some(error), *burns),
    };
    let failed = error.is_some();
    let generation: Option<i64> = sqlx::query_scalar(
        "UPDATE marks SET
             due_at = CASE WHEN generation = $4 THEN $5 ELSE due_at END,
             first_at = CASE WHEN generation <> $4 THEN $9 WHEN $8 THEN first_at ELSE NULL END,
             received_at = CASE WHEN $8 THEN received_at WHEN generation <> $4 THEN event_at ELSE NULL END,
             not_before = $6,
             decided_at = CASE WHEN generation <> $4 AND decided_at > $9 THEN decided_at ELSE $9 END,
             last_error = $7,
             last_class = $11,
             blocked_by = $12,
             last_attempt_at = $9,
             last_success_at = CASE WHEN $8 THEN last_success_at ELSE $9 END,
             attempts = CASE WHEN $10 THEN attempts + 1 WHEN $8 THEN attempts
                             WHEN EXISTS (SELECT 1 FROM parked WHERE parked.kind = 'action'
                                          AND parked.org_id = $2 AND parked.team_id = $3) THEN attempts + 1
                             ELSE 0 END,
             failures = CASE WHEN NOT $8 THEN 0 WHEN $13 THEN failures ELSE failures + 1 END
         WHERE kind = $1 AND org_id = $2 AND team_id = $3
         RETURNING generation",
    )
    .bind(kind)
    .bind(org_id)
    .bind(team)
    .bind(mark.generation)
    .bind(due)
    .bind(floor.0)
    .bind(error.map(|error| rows::clean(&error.message)))
    .bind(failed)
    .bind(now.0)
    .bind(burns)
    .bind(error.map(|error| error.class.as_str()))
    .bind(error.and_then(|error| error.scope.as_deref()))
    .bind(error.is_some_and(|error| error.blocked))
    .fetch_optional(&mut *db)
    .await?;
    if generation.is_some_and(|generation| generation != mark.generation) {
        // What was asked for meanwhile may be more than an event asks for: what this look stored does not answer it.
        sqlx::query("UPDATE teams SET in_step = false WHERE org_id = $1 AND team_id = $2")
            .bind(org_id)
            .bind(team)
            .execute(db)
            .await?;
    }
    Ok(())
}
