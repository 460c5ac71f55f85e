//! Accepting deliveries, and marking targets for whoever else wants a look.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use sqlx::AnyConnection;

use super::{Ledger, ParkedPlace, orgs, parked, processes::Sign, rows, strangers, team_lists};
use crate::model::{Asks, Cause, Integration, Lane, OrgFacts, OrgId, Target, TeamId, TeamKey, Time, cut};

/// What became of a delivery at our door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It marked something, or is worth remembering.
    Stored,
    /// Not an event that changes what we keep, or not an organisation of ours.
    Ignored,
    /// It could not be decoded: kept with its body.
    Parked,
}

impl Outcome {
    /// As one word, for the ledger and for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
        }
    }
}

/// One delivery, decoded and ready to be stored.
#[derive(Clone, Debug)]
pub struct Accepting {
    /// The delivery's GUID; a known one still marks.
    pub guid: String,
    /// The event's name.
    pub event: String,
    /// The event's action, empty when it has none.
    pub action: String,
    /// The organisation it is about.
    pub org: Option<OrgId>,
    /// The team it is about.
    pub team: Option<TeamId>,
    /// When our first door took it.
    pub received_at: Time,
    /// What becomes of it.
    pub outcome: Outcome,
    /// What to look at.
    pub targets: Vec<Target>,
    /// The team or the organisation that this event says was deleted.
    pub deleted: Option<Target>,
    /// An organisation that is not bound, and may be ours. The worker asks GitHub about it.
    pub stranger: Option<OrgFacts>,
    /// The host of the GitHub that sent it, when it says one.
    pub host: Option<String>,
    /// Its signature, when it has one.
    pub signature: Option<String>,
    /// The body; stored only when the delivery is parked.
    pub body: Bytes,
    /// The organisation that it names. It is looked at if the delivery is parked without its body.
    pub named: Option<OrgId>,
    /// Where and why it is given up on; that parks it.
    pub unfit: Option<(ParkedPlace, String)>,
}

impl Accepting {
    /// The same delivery as something that cannot be stored in any other way.
    pub fn poisoned(self, error: &str) -> Self {
        Self {
            outcome: Outcome::Parked,
            targets: Vec::new(),
            deleted: None,
            stranger: None,
            unfit: Some((ParkedPlace::Store, cut(format!("the ledger refused it: {error}"), LONGEST_ERROR))),
            ..self
        }
    }

    /// What is stored of a delivery that cannot even be parked: its GUID's hash, and why. It has none of its content.
    pub fn stub(self, error: &str) -> Self {
        let size = self.body.len();
        let why = format!("failed to park it, and its {size} bytes are lost: {error}");
        Self {
            guid: format!("sha256:{}", hex::encode(Sha256::digest(&self.guid))),
            event: String::new(),
            action: String::new(),
            org: None,
            team: None,
            outcome: Outcome::Parked,
            targets: Vec::new(),
            deleted: None,
            stranger: None,
            host: None,
            signature: None,
            body: Bytes::new(),
            named: None,
            unfit: Some((ParkedPlace::Stub, cut(why, LONGEST_ERROR))),
            ..self
        }
    }

    /// Whether it is such a stub.
    pub fn is_stub(&self) -> bool {
        matches!(self.unfit, Some((ParkedPlace::Stub, _)))
    }
}

/// How much of an error is kept: a database's words may contain what it refused.
const LONGEST_ERROR: usize = 1_000;

/// How long marks wait for company.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A mark is due this long after its last event …
    pub debounce: Duration,
    /// … but at most this long after its first.
    pub max_wait: Duration,
}

/// What one transaction of accepting found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// GUIDs that were known before.
    pub known: BTreeSet<String>,
    /// Distinct targets that were marked.
    pub marked: usize,
}

/// A request for a look, as one row of `marks`.
struct Request {
    target: Target,
    cause: Cause,
    asks: Asks,
    /// When a door took the event; none where no event asks.
    received_at: Option<Time>,
}

impl Request {
    /// What an event asks for.
    fn of_event(target: Target, received_at: Time) -> Self {
        Self { target, cause: Cause::Event, asks: Asks::EVENT, received_at: Some(received_at) }
    }
}

impl Ledger {
    /// Stores deliveries and what they mark, in one transaction. Afterwards they survive anything that the disk
    /// survives. A GUID that is known already marks again, since a redelivery must be able to run.
    pub async fn accept(&self, entries: &[Accepting], pace: Pace, now: Time) -> sqlx::Result<Accepted> {
        self.retried(move || async move {
            let mut by_guid: BTreeMap<&str, &Accepting> = BTreeMap::new();
            let mut requests: BTreeMap<Target, Request> = BTreeMap::new();
            for entry in entries {
                by_guid.entry(&entry.guid).or_insert(entry);
                for &target in &entry.targets {
                    let request =
                        requests.entry(target).or_insert(Request::of_event(target, entry.received_at));
                    request.received_at = request.received_at.min(Some(entry.received_at));
                }
            }
            let unique: Vec<&Accepting> = by_guid.into_values().collect();

            let sign = self.sign(now).await?;
            let mut transaction = self.begin().await?;
            let known = store_deliveries(&mut transaction, &unique, now).await?;
            let strangers = unique.iter().filter_map(|entry| entry.stranger.as_ref());
            let strangers: BTreeMap<String, &OrgFacts> =
                strangers.map(|org| (org.login.to_lowercase(), org)).collect();
            for stranger in strangers.into_values() {
                strangers::hear(&mut transaction, stranger, now).await?;
            }
            for entry in &unique {
                match entry.deleted {
                    Some(Target::Team(key)) => {
                        remember_deleted(&mut transaction, key, entry.received_at).await?;
                        for child in descendants(&mut transaction, key).await? {
                            let target = Target::Team(TeamKey { org: key.org, team: child });
                            let request = Request::of_event(target, entry.received_at);
                            requests.entry(target).or_insert(request);
                        }
                    }
                    Some(Target::Org(org)) => {
                        orgs::remember_deleted(&mut transaction, org, entry.received_at).await?;
                    }
                    Some(Target::Document(_)) | None => {}
                }
                if entry.targets.contains(&Target::Document(Integration::Github)) {
                    note_lists(&mut transaction, &entry.targets, now).await?;
                }
                if let Some((place, error)) = &entry.unfit {
                    let kept = parked::park_delivery(&mut transaction, entry, *place, error, now).await?;
                    if let Some(org) = entry.named.filter(|_| !kept)
                        && orgs::is_bound(&mut transaction, org).await?
                    {
                        let target = Target::Org(org);
                        requests.entry(target).or_insert(Request::of_event(target, entry.received_at));
                    }
                }
            }
            let requests: Vec<Request> = requests.into_values().collect();
            write_marks(&mut transaction, &requests, pace, now).await?;
            if let Some(sign) = &sign {
                sign.store(&mut transaction).await?;
            }
            transaction.commit().await?;
            sign.into_iter().for_each(Sign::stored);
            Ok(Accepted { known, marked: requests.len() })
        })
        .await
    }

    /// Asks for a look at each target, due at once.
    pub async fn mark(&self, targets: &[Target], cause: Cause, asks: Asks, now: Time) -> sqlx::Result<()> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            mark_in(&mut transaction, targets, cause, asks, now).await?;
            transaction.commit().await
        })
        .await
    }

    /// Marks every team that has an interrupted write as due, in one lane or in all of them.
    pub async fn mark_interrupted(&self, lane: Option<Lane>, now: Time) -> sqlx::Result<()> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            let teams: Vec<(i64, i64)> = sqlx::query_as(
                "SELECT DISTINCT org_id, team_id FROM intents WHERE org_id = COALESCE($1, org_id)",
            )
            .bind(lane.map(rows::lane_number))
            .fetch_all(&mut *transaction)
            .await?;
            let targets: Vec<Target> =
                teams.into_iter().filter_map(|(org, team)| rows::target(org, team)).collect();
            mark_in(&mut transaction, &targets, Cause::Pass, Asks::PASS, now).await?;
            transaction.commit().await
        })
        .await
    }
}

/// Marks targets as due at once, inside a transaction. Passes and people mark teams that may be out of step although
/// GitHub sent nothing. Clears `in_step` too: a look at another team may include this one without reading its mark.
pub(super) async fn mark_in(
    connection: &mut AnyConnection,
    targets: &[Target],
    cause: Cause,
    asks: Asks,
    now: Time,
) -> sqlx::Result<()> {
    let at_once = Pace { debounce: Duration::ZERO, max_wait: Duration::ZERO };
    let mut targets = targets.to_vec();
    targets.sort_unstable();
    targets.dedup();
    let requests: Vec<Request> =
        targets.into_iter().map(|target| Request { target, cause, asks, received_at: None }).collect();
    let team = |request: &Request| match request.target {
        Target::Team(key) => Some(key),
        Target::Org(_) | Target::Document(_) => None,
    };
    clear_in_step(connection, &requests.iter().filter_map(team).collect::<Vec<_>>()).await?;
    write_marks(connection, &requests, at_once, now).await
}

/// Marks a target as due at once, as an event does: GitHub's answers may lag behind the change that was seen.
pub(super) async fn mark_changed(db: &mut AnyConnection, target: Target, now: Time) -> sqlx::Result<()> {
    let at_once = Pace { debounce: Duration::ZERO, max_wait: Duration::ZERO };
    write_marks(db, &[Request::of_event(target, now)], at_once, now).await
}

/// Takes these teams for out of step. They come in the order of their keys, in which PostgreSQL locks their rows before it
/// writes any: it would write them in an order of its own, and wait for another writer that waits for this one.
async fn clear_in_step(connection: &mut AnyConnection, teams: &[TeamKey]) -> sqlx::Result<()> {
    let head = "UPDATE teams SET in_step = FALSE WHERE (org_id, team_id) IN (
                    SELECT org_id, team_id FROM (";
    let join = ") AS marked JOIN teams ON org_id = column1 AND team_id = column2";
    let tail = match connection.backend_name() {
        "PostgreSQL" => format!("{join} ORDER BY org_id, team_id FOR UPDATE OF teams)"),
        _ => format!("{join})"),
    };
    rows::insert(connection, head, &tail, teams, |row, key| {
        row.bind(key.org.0).bind(key.team.0);
    })
    .await?;
    Ok(())
}

async fn write_marks(
    connection: &mut AnyConnection,
    requests: &[Request],
    pace: Pace,
    now: Time,
) -> sqlx::Result<()> {
    let due_at = now + pace.debounce;
    // The latest that a mark may be due is counted from its first request. The interval is a number of ours,
    // and the same text each time, so that the prepared statements are found again.
    let max_wait = i64::try_from(pace.max_wait.as_micros()).unwrap_or(i64::MAX / 2);
    let flags = rows::ASKS.map(|(flag, of_cause)| {
        // A row of version 0.1.0 has no flags: it takes them from its cause.
        format!(
            "{flag} = CASE WHEN marks.first_at IS NOT NULL
                           THEN COALESCE(marks.{flag}, {of_cause}) OR excluded.{flag}
                           ELSE excluded.{flag} END,"
        )
    });
    let flags = flags.concat();
    let tail = format!(
        " ON CONFLICT (kind, org_id, team_id) DO UPDATE SET
            generation = marks.generation + 1,
            cause = CASE WHEN marks.first_at IS NOT NULL AND marks.cause < excluded.cause
                         THEN marks.cause ELSE excluded.cause END,
            {flags}
            due_at = CASE WHEN marks.first_at IS NOT NULL AND marks.first_at + {max_wait} < excluded.due_at
                          THEN marks.first_at + {max_wait} ELSE excluded.due_at END,
            not_before = CASE WHEN excluded.asks_at_once THEN 0 ELSE marks.not_before END,
            decided_at = CASE WHEN marks.decided_at > excluded.decided_at
                              THEN marks.decided_at ELSE excluded.decided_at END,
            first_at = COALESCE(marks.first_at, excluded.first_at),
            event_at = COALESCE(excluded.event_at, marks.event_at),
            received_at = COALESCE(marks.received_at, excluded.received_at)"
    );
    let rows: Vec<_> =
        requests.iter().map(|request| (request, rows::target_columns(request.target))).collect();
    rows::insert(
        connection,
        "INSERT INTO marks
            (kind, org_id, team_id, generation, cause, asks_datadog, asks_reserve, asks_at_once, lifts_creates,
             answers_event, due_at, decided_at, first_at, event_at, received_at) ",
        &tail,
        &rows,
        |row, (request, (kind, org, team))| {
            row.bind(*kind).bind(*org).bind(*team).bind(1_i64);
            let Asks { datadog, reserve, at_once, lifts_creates, event } = request.asks;
            row.bind(rows::cause_column(request.cause)).bind(datadog).bind(reserve).bind(at_once);
            row.bind(lifts_creates).bind(event).bind(due_at.0).bind(now.0).bind(now.0);
            row.bind(request.received_at.map(|_| now.0));
            row.bind(request.received_at.map(|at| at.0));
        },
    )
    .await?;
    Ok(())
}

/// Stores the deliveries and says which of their GUIDs were known.
async fn store_deliveries(
    connection: &mut AnyConnection,
    entries: &[&Accepting],
    now: Time,
) -> sqlx::Result<BTreeSet<String>> {
    let inserted = rows::insert(
        connection,
        "INSERT INTO deliveries (guid, event, action, org_id, team_id, received_at, stored_at, outcome) ",
        " ON CONFLICT (guid) DO NOTHING",
        entries,
        |row, entry: &&Accepting| {
            row.bind(rows::clean(&entry.guid))
                .bind(rows::clean(&entry.event))
                .bind(rows::clean(&entry.action))
                .bind(entry.org.map(|org| org.0))
                .bind(entry.team.map(|team| team.0))
                .bind(entry.received_at.0)
                .bind(now.0)
                .bind(entry.outcome.as_str());
        },
    )
    .await?;
    let mut known = BTreeSet::new();
    if inserted == entries.len() as u64 {
        return Ok(known);
    }
    // Some were: only now is it worth finding out which.
    for entry in entries {
        let again = sqlx::query(
            "UPDATE deliveries SET times = times + 1, stored_at = $2 WHERE guid = $1 AND stored_at <> $2",
        )
        .bind(rows::clean(&entry.guid))
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
        if again.rows_affected() > 0 {
            known.insert(entry.guid.clone());
        }
    }
    Ok(known)
}

async fn remember_deleted(connection: &mut AnyConnection, key: TeamKey, at: Time) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO deleted_events (org_id, team_id, at) VALUES ($1, $2, $3)
         ON CONFLICT (org_id, team_id) DO UPDATE SET at = excluded.at",
    )
    .bind(key.org.0)
    .bind(key.team.0)
    .bind(at.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// What marks GitHub's document together with a team or an organisation tells that their lists of repositories changed.
/// A team has its parent's repositories too.
async fn note_lists(connection: &mut AnyConnection, targets: &[Target], now: Time) -> sqlx::Result<()> {
    for target in targets {
        match *target {
            Target::Team(key) => {
                let below = descendants(connection, key).await?;
                let teams = below.into_iter().chain([key.team]).map(|team| TeamKey { org: key.org, team });
                team_lists::note_change(connection, &teams.collect(), now).await?;
            }
            Target::Org(org) => team_lists::note_change_of_org(connection, org, now).await?,
            Target::Document(_) => {}
        }
    }
    Ok(())
}

/// The teams below a team in the mirror, at any depth.
async fn descendants(connection: &mut AnyConnection, key: TeamKey) -> sqlx::Result<Vec<TeamId>> {
    let ids: Vec<i64> = sqlx::query_scalar(
        "WITH RECURSIVE below(team_id) AS (
             SELECT team_id FROM teams WHERE org_id = $1 AND parent_id = $2
             UNION
             SELECT teams.team_id FROM teams JOIN below ON teams.parent_id = below.team_id
             WHERE teams.org_id = $1
         )
         SELECT team_id FROM below ORDER BY team_id",
    )
    .bind(key.org.0)
    .bind(key.team.0)
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(TeamId).collect())
}
