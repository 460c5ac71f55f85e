//! The sets of held actions that teamlink has printed, each by its hash. A set stays as it was printed: an action that is
//! held later doesn't change it, so a person approves exactly what they saw.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, Row};

use super::{Held, rows};
use crate::model::{HeldKey, HeldKind, Lane, Subject, Time, held_hash};

/// One action of a printed set, as its row has it.
#[derive(Serialize, Deserialize)]
struct Action {
    kind: String,
    datadog_team_id: String,
    github: String,
    team_id: i64,
}

/// An action of a printed set: the numbers of its lane and its team, and what it does. They sort as `held list` prints
/// them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Printed {
    /// Its kind, and its names in GitHub and in Datadog.
    names: (&'static str, String, String),
    pub(super) org_id: i64,
    pub(super) team_id: i64,
    pub(super) key: HeldKey,
}

/// Stores a set that is shown to a person, and returns its hash.
pub(super) async fn store(
    db: &mut AnyConnection,
    lane: Lane,
    items: &[Held],
    now: Time,
) -> sqlx::Result<String> {
    let hash = held_hash(lane, items.iter().map(|item| &item.key));
    if items.is_empty() {
        return Ok(hash);
    }
    let action = |item: &Held| {
        let (datadog_team_id, github) = item.key.subject.names();
        let (kind, team_id) = (item.key.kind.as_str().to_owned(), rows::team_column(item.team));
        Action { kind, datadog_team_id, github, team_id }
    };
    let actions: Vec<Action> = items.iter().map(action).collect();
    let actions = serde_json::to_string(&actions).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "INSERT INTO printed_sets (hash, org_id, actions, shown_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (hash, org_id) DO UPDATE SET actions = excluded.actions, shown_at = excluded.shown_at",
    )
    .bind(hash.as_str())
    .bind(rows::lane_number(lane))
    .bind(actions)
    .bind(now.0)
    .execute(db)
    .await?;
    Ok(hash)
}

/// Takes the actions that were printed under a hash, by this version or an older one. A set is approved once, so it leaves
/// the ledger with this. Returns `None` for a hash that was never printed. Leaves out actions of a kind that only a later
/// version knows.
pub(super) async fn take(db: &mut AnyConnection, hash: &str) -> sqlx::Result<Option<Vec<Printed>>> {
    let mut found = Vec::new();
    let sets = sqlx::query("DELETE FROM printed_sets WHERE hash = $1 RETURNING org_id, actions")
        .bind(hash)
        .fetch_all(&mut *db)
        .await?;
    for set in &sets {
        let actions: Vec<Action> = serde_json::from_str(set.try_get("actions")?)
            .map_err(|error| sqlx::Error::Decode(error.into()))?;
        let org_id: i64 = set.try_get("org_id")?;
        found.extend(actions.into_iter().map(|action| (org_id, action)));
    }
    let of_older_versions = sqlx::query(
        "DELETE FROM held_sets WHERE hash = $1 RETURNING org_id, kind, datadog_team_id, github, team_id",
    )
    .bind(hash)
    .fetch_all(db)
    .await?;
    for row in &of_older_versions {
        let action = Action {
            kind: row.try_get("kind")?,
            datadog_team_id: row.try_get("datadog_team_id")?,
            github: row.try_get("github")?,
            team_id: row.try_get("team_id")?,
        };
        found.push((row.try_get("org_id")?, action));
    }
    if found.is_empty() {
        return Ok(None);
    }
    let printed = |(org_id, action): (i64, Action)| {
        let Action { kind, datadog_team_id: datadog, github, team_id } = action;
        let kind = HeldKind::named(&kind)?;
        let names = (kind.as_str(), github.clone(), datadog.clone());
        Some(Printed {
            names,
            org_id,
            team_id,
            key: HeldKey { kind, subject: Subject::named(datadog, github) },
        })
    };
    let printed: BTreeSet<Printed> = found.into_iter().filter_map(printed).collect();
    Ok(Some(printed.into_iter().collect()))
}
