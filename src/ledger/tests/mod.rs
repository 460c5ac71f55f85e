//! The ledger's promises, each on an SQLite file and on a PostgreSQL schema of its own.

use std::time::Duration;

use super::*;
use crate::model::{
    Asks, Cause, Class, ConnectionKey, Lane, MirrorTeam, OrgFacts, OrgId, Owned, PauseScope, Paused, Target,
    TeamFacts, TeamId, TeamKey, TeamState, TeamType, Time, Trouble,
};

#[path = "../../../tests/servers/schema.rs"]
mod schema;

use schema::Schema;

const ORG: OrgId = OrgId(1);
const LANE: Lane = Lane::Org(ORG);
const PACE: Pace = Pace { debounce: Duration::from_secs(1), max_wait: Duration::from_secs(5) };
const TTL: Duration = Duration::from_secs(30);

fn at(seconds: i64) -> Time {
    Time(seconds * 1_000_000)
}

fn key(team: i64) -> TeamKey {
    TeamKey { org: ORG, team: TeamId(team) }
}

fn entry(guid: &str, team: i64) -> Accepting {
    Accepting {
        guid: guid.into(),
        event: "team".into(),
        action: "edited".into(),
        org: Some(ORG),
        team: Some(TeamId(team)),
        received_at: at(0),
        outcome: Outcome::Stored,
        targets: vec![Target::Team(key(team))],
        deleted: None,
        stranger: None,
        named: None,
        host: None,
        signature: None,
        body: bytes::Bytes::from_static(b"{}"),
        unfit: None,
    }
}

struct Opened {
    ledger: Ledger,
    url: String,
}

async fn open(url: String) -> Opened {
    let ledger = Ledger::open(&url).await.unwrap();
    ledger.bind_org(&OrgFacts { id: ORG, login: "acme".into() }, at(0)).await.unwrap();
    Opened { ledger, url }
}

async fn on_sqlite() -> (Opened, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
    (open(url).await, directory)
}

/// Each promise is kept on both databases.
macro_rules! on_both {
    ($($promise:ident,)+) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test]
            async fn $promise() {
                let (opened, _directory) = on_sqlite().await;
                super::$promise(opened).await;
            })+
        }
        mod postgres {
            use super::*;
            $(#[tokio::test]
            async fn $promise() {
                let schema = Schema::create().await;
                super::$promise(open(schema.url.clone()).await).await;
                schema.remove().await;
            })+
        }
    };
}

mod answers;
mod clock;
mod flags;
mod marks;
mod parts;
mod passing;
mod payloads;
mod printed;
mod processes;
mod releases;
mod rules;
mod second_writer;
mod slots;
mod strangers;
mod team_lists;
mod together;
mod turns;
mod upkeep;

on_both! {
    a_thousand_events_for_a_team_are_one_mark_due_after_the_debounce_and_at_most_after_max_wait,
    a_known_guid_is_counted_and_marks_again,
    a_pause_is_kept_once_and_its_end_marks_what_was_paused,
    no_sweep_of_its_connections_can_run_for_ever,
    an_event_during_a_look_keeps_the_team_due,
    a_new_event_does_not_shorten_a_backoff_below_its_floor,
    a_lease_is_exclusive_until_it_ends_and_its_old_holder_stores_nothing,
    deleting_a_parent_marks_its_descendants_too,
    events_go_before_passes_and_a_person_before_both,
    a_team_that_a_look_found_out_of_step_stays_so_whatever_event_comes_on_top,
    what_cannot_be_decoded_is_kept_with_its_body,
    what_was_settled_is_there_after_opening_again,
    a_create_that_nobody_answered_is_remembered_once_its_intent_is_another_ones,
    nul_in_names_is_stored_as_a_replacement_character,
    old_rows_are_forgotten_and_young_ones_kept,
    what_another_asks_for_during_a_look_is_not_believed_answered_by_it,
}

/// How SQLite would answer a query, step by step.
async fn plan(ledger: &Ledger, sql: &str) -> Vec<String> {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let steps = sqlx::query(explain).fetch_all(&ledger.read).await.unwrap();
    steps.iter().map(|step| sqlx::Row::get(step, "detail")).collect()
}

/// Counts the rows of a table.
async fn rows(ledger: &Ledger, table: &str) -> i64 {
    let count = format!("SELECT COUNT(*) FROM {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&ledger.read).await.unwrap()
}

fn settled(team: i64, parent: Option<i64>) -> Settled {
    let facts = TeamFacts {
        id: TeamId(team),
        slug: format!("s{team}"),
        name: "S".into(),
        parent: parent.map(TeamId),
        team_type: TeamType::Organization,
    };
    let (state, seen_at) = (TeamState::Present, at(1));
    Settled {
        team: MirrorTeam { facts, state, seen_at, deleted_event_at: None, in_step: true },
        waiting: false,
        listed_at: None,
    }
}

fn done(team: i64, generation: i64, next: Next) -> Settlement {
    Settlement {
        marks: vec![MarkResult { team: Some(TeamId(team)), generation, next }],
        ..Settlement::default()
    }
}

async fn due(ledger: &Ledger, now: Time) -> Vec<i64> {
    let due = ledger.due_teams(ORG, now, 100).await.unwrap();
    due.into_iter().map(|mark| mark.team.unwrap().0).collect()
}

async fn a_thousand_events_for_a_team_are_one_mark_due_after_the_debounce_and_at_most_after_max_wait(
    opened: Opened,
) {
    let ledger = &opened.ledger;
    for second in 0..8 {
        let entries: Vec<Accepting> = (0..125).map(|n| entry(&format!("{second}-{n}"), 7)).collect();
        let accepted = ledger.accept(&entries, PACE, at(second)).await.unwrap();
        assert_eq!(accepted, Accepted { known: [].into(), marked: 1 });
    }
    assert_eq!(ledger.next_due(at(4)).await.unwrap(), Some(at(5)), "five seconds after the first");
    assert_eq!(due(ledger, at(4)).await, [] as [i64; 0]);
    assert_eq!(due(ledger, at(5)).await, [7]);
}

async fn a_known_guid_is_counted_and_marks_again(opened: Opened) {
    let ledger = &opened.ledger;
    let twice = [entry("a", 7), entry("a", 7), entry("b", 8)];
    assert_eq!(ledger.accept(&twice, PACE, at(0)).await.unwrap(), Accepted { known: [].into(), marked: 2 });
    let fence = ledger.lease(LANE, "t", at(2), TTL).await.unwrap().unwrap();
    ledger.settle(LANE, fence, &done(7, 1, Next::Nothing), at(2)).await.unwrap();
    assert_eq!(due(ledger, at(3)).await, [8]);
    assert_eq!(
        ledger.accept(&twice[..1], PACE, at(3)).await.unwrap(),
        Accepted { known: ["a".to_owned()].into(), marked: 1 }
    );
    assert_eq!(due(ledger, at(4)).await, [8, 7]);
}

async fn a_pause_is_kept_once_and_its_end_marks_what_was_paused(opened: Opened) {
    let ledger = &opened.ledger;
    let (team, org) = (PauseScope::Team(key(7)), PauseScope::Org(ORG));
    assert!(ledger.pause(team, "why", at(1)).await.unwrap());
    assert!(!ledger.pause(team, "again", at(2)).await.unwrap());
    assert!(ledger.pause(org, "", at(3)).await.unwrap());
    let again = Ledger::open(&opened.url).await.unwrap();
    let paused = again.paused(LANE).await.unwrap();
    assert_eq!(
        (paused.teams[&TeamId(7)].reason.as_str(), paused.of(TeamId(8)).unwrap().since),
        ("why", at(3))
    );
    assert_eq!(again.paused(Lane::Org(OrgId(2))).await.unwrap(), Paused::default());
    assert_eq!(again.counts(at(3)).await.unwrap().paused, 2);

    assert_eq!(ledger.resume(team, "", at(4)).await.unwrap().len(), 1);
    assert_eq!(due(ledger, at(4)).await, [7]);
    assert!(ledger.due_whole(LANE, at(4)).await.unwrap().is_none());
    ledger.pause(team, "", at(5)).await.unwrap();
    assert_eq!(ledger.resume(PauseScope::All, "", at(6)).await.unwrap().len(), 2);
    assert!(ledger.due_whole(LANE, at(6)).await.unwrap().is_some());
    assert_eq!(ledger.resume(PauseScope::All, "", at(7)).await.unwrap(), []);
}

async fn no_sweep_of_its_connections_can_run_for_ever(opened: Opened) {
    for pool in [&opened.ledger.read, &opened.ledger.write] {
        let options = pool.options();
        assert_eq!((options.get_idle_timeout(), options.get_max_lifetime()), (None, None));
    }
}

async fn an_event_during_a_look_keeps_the_team_due(opened: Opened) {
    let ledger = &opened.ledger;
    ledger.accept(&[entry("a", 7)], PACE, at(0)).await.unwrap();
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let leased = ledger.due_teams(ORG, at(1), 100).await.unwrap().remove(0);
    ledger.accept(&[entry("b", 7)], PACE, at(2)).await.unwrap();
    ledger.settle(LANE, fence, &done(7, leased.generation, Next::Nothing), at(3)).await.unwrap();
    assert_eq!(due(ledger, at(4)).await, [7]);
}

async fn a_new_event_does_not_shorten_a_backoff_below_its_floor(opened: Opened) {
    let ledger = &opened.ledger;
    ledger.accept(&[entry("a", 7)], PACE, at(0)).await.unwrap();
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let retry =
        Next::Retry { at: at(100), floor: at(10), error: Trouble::new(Class::Transient, "503"), burns: true };
    ledger.settle(LANE, fence, &done(7, 1, retry), at(1)).await.unwrap();
    ledger.accept(&[entry("b", 7)], PACE, at(2)).await.unwrap();
    assert_eq!(due(ledger, at(9)).await, [] as [i64; 0]);
    let leased = ledger.due_teams(ORG, at(10), 100).await.unwrap().remove(0);
    assert_eq!((leased.team, leased.attempts), (Some(TeamId(7)), 1));
}

async fn a_lease_is_exclusive_until_it_ends_and_its_old_holder_stores_nothing(opened: Opened) {
    let ledger = &opened.ledger;
    ledger.accept(&[entry("a", 7)], PACE, at(0)).await.unwrap();
    let first = ledger.lease(LANE, "daemon:a", at(1), TTL).await.unwrap().unwrap();
    assert_eq!(ledger.lease(LANE, "daemon:b", at(30), TTL).await.unwrap(), None);
    assert!(
        ledger.due_lanes(at(30)).await.unwrap().is_empty(),
        "a leased organisation is nobody else's work"
    );
    ledger.renew(LANE, first, at(30), Duration::ZERO).await.unwrap();
    let second = ledger.lease(LANE, "daemon:b", at(30), TTL).await.unwrap().unwrap();
    assert!(second > first);
    let refused = ledger.settle(LANE, first, &done(7, 1, Next::Nothing), at(32)).await;
    assert!(matches!(refused, Err(LedgerError::LeaseLost(LANE))));
    assert!(matches!(ledger.renew(LANE, first, at(32), TTL).await, Err(LedgerError::LeaseLost(LANE))));
    let key = ConnectionKey { datadog_team: "d".into(), github: "@a/b".into() };
    let intents = [Intended { kind: IntentKind::Create, key, team: Some(TeamId(7)), written: None }];
    assert!(matches!(
        ledger.intend(ORG, first, &intents, "teamlink", at(32)).await,
        Err(LedgerError::LeaseLost(LANE))
    ));
    assert_eq!(due(ledger, at(32)).await, [7]);
    ledger.end_daemon_leases().await.unwrap();
    assert!(ledger.lease(LANE, "daemon:c", at(33), TTL).await.unwrap().is_some());
}

async fn deleting_a_parent_marks_its_descendants_too(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let teams = vec![settled(1, None), settled(2, Some(1)), settled(3, Some(2)), settled(4, None)];
    ledger.settle(LANE, fence, &Settlement { teams, ..Settlement::default() }, at(1)).await.unwrap();
    let deleted = Accepting { deleted: Some(Target::Team(key(1))), ..entry("a", 1) };
    ledger.accept(&[deleted], PACE, at(2)).await.unwrap();
    assert_eq!(due(ledger, at(3)).await, [1, 2, 3]);
    let state = ledger.org_state(ORG).await.unwrap().unwrap();
    assert_eq!(state.teams[&TeamId(1)].deleted_event_at, Some(at(0)));
    assert_eq!(state.teams[&TeamId(2)].deleted_event_at, None);
}

async fn events_go_before_passes_and_a_person_before_both(opened: Opened) {
    let ledger = &opened.ledger;
    ledger.mark(&[Target::Team(key(1)), Target::Team(key(2))], Cause::Pass, Asks::PASS, at(0)).await.unwrap();
    ledger.accept(&[entry("a", 2), entry("b", 3)], PACE, at(0)).await.unwrap();
    ledger.mark(&[Target::Team(key(4))], Cause::Person, Asks::PERSON, at(0)).await.unwrap();
    assert_eq!(due(ledger, at(2)).await, [4, 2, 3], "the pass comes after them, by itself");
}

async fn a_team_that_a_look_found_out_of_step_stays_so_whatever_event_comes_on_top(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let stored = Settlement {
        teams: vec![settled(1, None), settled(2, None)],
        found: vec![TeamId(1)],
        ..Settlement::default()
    };
    ledger.settle(LANE, fence, &stored, at(1)).await.unwrap();
    ledger.accept(&[entry("a", 1), entry("b", 2)], PACE, at(1)).await.unwrap();
    let state = ledger.org_state(ORG).await.unwrap().unwrap();
    assert_eq!((state.teams[&TeamId(1)].in_step, state.teams[&TeamId(2)].in_step), (false, true));
}

async fn what_cannot_be_decoded_is_kept_with_its_body(opened: Opened) {
    let ledger = &opened.ledger;
    let unfit = Some((ParkedPlace::Decode, "truncated".into()));
    let poison = Accepting { unfit, targets: vec![], ..entry("a", 1) };
    ledger.accept(&[poison.clone(), entry("b", 2)], PACE, at(1)).await.unwrap();
    ledger.accept(&[poison], PACE, at(2)).await.unwrap();
    let parked = ledger.parked().await.unwrap();
    assert_eq!(parked.len(), 1, "a redelivery does not park twice");
    let Parked { id, subject, error, attempts, .. } = &parked[0];
    assert_eq!((subject.as_str(), error.as_str(), *attempts), ("a", "truncated", 2));
    assert_eq!((parked[0].first_at, parked[0].parked_at), (at(1), at(2)));
    assert_eq!(ledger.parked_delivery(*id).await.unwrap().unwrap().body, &b"{}"[..]);
    // Tried again in vain, it stays; else it goes.
    assert!(!ledger.unpark(*id, 1, AuditAction::Replay, "mended", at(3)).await.unwrap());
    assert!(ledger.unpark(*id, 2, AuditAction::Replay, "mended", at(4)).await.unwrap());
    assert!(ledger.parked().await.unwrap().is_empty());
    let told: Vec<_> =
        ledger.audit(None, at(0)).await.unwrap().into_iter().map(|line| line.outcome).collect();
    assert_eq!(told, ["parked", "done"]);
}

async fn what_was_settled_is_there_after_opening_again(opened: Opened) {
    let ledger = opened.ledger;
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let connection = ConnectionKey { datadog_team: "d".into(), github: "@acme/s1".into() };
    let owned = Owned {
        key: connection.clone(),
        id: "c".into(),
        team: TeamId(1),
        managed_by: Some("teamlink".into()),
    };
    ledger
        .intend(
            ORG,
            fence,
            &[Intended {
                kind: IntentKind::Create,
                key: connection.clone(),
                team: Some(TeamId(1)),
                written: None,
            }],
            "teamlink",
            at(1),
        )
        .await
        .unwrap();
    let stored =
        Settlement { teams: vec![settled(1, None)], owned: vec![owned.clone()], ..Settlement::default() };
    ledger.settle(LANE, fence, &stored, at(1)).await.unwrap();
    ledger.release(LANE, fence).await.unwrap();
    ledger.close().await;
    let ledger = Ledger::open(&opened.url).await.unwrap();
    let state = ledger.org_state(ORG).await.unwrap().unwrap();
    assert_eq!((state.owned, state.intents.len()), (vec![owned], 1));
    let fence = ledger.lease(LANE, "t", at(60), TTL).await.unwrap().unwrap();
    let gone = Settlement {
        disowned: vec![connection.clone()],
        closed_intents: vec![connection],
        ..Settlement::default()
    };
    ledger.settle(LANE, fence, &gone, at(60)).await.unwrap();
    let state = ledger.org_state(ORG).await.unwrap().unwrap();
    assert!(state.owned.is_empty() && state.intents.is_empty());
}

#[tokio::test]
async fn the_events_of_a_team_are_found_without_reading_those_of_others() {
    let (opened, _directory) = on_sqlite().await;
    let steps = plan(&opened.ledger, work::EVENTS_SINCE).await;
    let expected =
        "SEARCH deliveries USING COVERING INDEX deliveries_team (org_id=? AND team_id=? AND received_at>?)";
    assert_eq!(steps, [expected]);
}

#[tokio::test]
async fn a_second_daemon_on_one_file_is_refused_and_a_command_is_not() {
    let (opened, _directory) = on_sqlite().await;
    let held = DaemonLock::take(&opened.url).unwrap().unwrap();
    let refused = DaemonLock::take(&opened.url).unwrap_err().to_string();
    assert!(refused.contains("another teamlink daemon"), "{refused}");
    assert_eq!(Ledger::open(&opened.url).await.unwrap().orgs().await.unwrap().len(), 1);
    drop(held);
    DaemonLock::take(&opened.url).unwrap();
}

async fn a_create_that_nobody_answered_is_remembered_once_its_intent_is_another_ones(opened: Opened) {
    let ledger = &opened.ledger.on_machine(Clock::simulated(at(1), 1), None);
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let key = |github: &str| ConnectionKey { datadog_team: "d".into(), github: github.to_owned() };
    let intend = async |kind, github: &str, now| {
        let intent = Intended { kind, key: key(github), team: Some(TeamId(1)), written: None };
        ledger.intend(ORG, fence, &[intent], "teamlink", at(now)).await.unwrap();
    };
    let settle = async |settlement: Settlement| ledger.settle(LANE, fence, &settlement, at(9)).await.unwrap();
    let late = async || ledger.org_state(ORG).await.unwrap().unwrap().late_creates;
    let kind = IntentKind::Create;
    for github in ["@acme/answered", "@acme/clear", "@acme/again"] {
        intend(kind, github, 2).await;
    }
    let answered = key("@acme/answered");
    ledger.note_answered(ORG, fence, &[(&answered, &"c".into())], at(3)).await.unwrap();
    settle(Settlement { undone: vec![key("@acme/clear")], ..Settlement::default() }).await;
    assert_eq!(late().await, [].into());
    for github in ["@acme/answered", "@acme/clear", "@acme/again"] {
        intend(kind, github, 4).await;
    }
    assert_eq!(late().await, [(key("@acme/again"), at(4))].into());
    intend(kind, "@acme/again", 5).await;
    settle(Settlement { closed_intents: vec![key("@acme/again")], ..Settlement::default() }).await;
    assert_eq!(late().await, [(key("@acme/again"), at(5))].into(), "its success says nothing of the others");
    // The create of an adoption is sent once its delete was.
    intend(IntentKind::Adopt, "@acme/adopted", 6).await;
    intend(kind, "@acme/adopted", 7).await;
    assert_eq!(late().await.len(), 1);
    // A list shows its connection, which somebody else may have made under our mark.
    intend(kind, "@acme/shown", 8).await;
    settle(Settlement { closed_intents: vec![key("@acme/shown")], ..Settlement::default() }).await;
    assert_eq!(late().await[&key("@acme/shown")], at(8));
    let (day, hour) = (Duration::from_secs(86_400), 3_600);
    let keep = Keep { deliveries: day, audit: day, window: day };
    for (now, forgotten) in [(hour + 5, 0), (hour + 6, 1)] {
        assert_eq!(ledger.forget_old(keep, at(now)).await.unwrap(), forgotten, "at {now}");
    }
}

async fn nul_in_names_is_stored_as_a_replacement_character(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let mut odd = settled(1, None);
    odd.team.facts.name = "a\0b".into();
    ledger
        .settle(LANE, fence, &Settlement { teams: vec![odd], ..Settlement::default() }, at(1))
        .await
        .unwrap();
    assert_eq!(ledger.org_state(ORG).await.unwrap().unwrap().teams[&TeamId(1)].facts.name, "a\u{fffd}b");
}

async fn old_rows_are_forgotten_and_young_ones_kept(opened: Opened) {
    let ledger = &opened.ledger;
    ledger.accept(&[entry("old", 1)], PACE, at(0)).await.unwrap();
    ledger.accept(&[entry("young", 1)], PACE, at(100)).await.unwrap();
    let day = Duration::from_secs(86_400);
    let keep = Keep { deliveries: Duration::from_secs(50), audit: day, window: day };
    assert_eq!(ledger.forget_old(keep, at(120)).await.unwrap(), 1);
}

async fn what_another_asks_for_during_a_look_is_not_believed_answered_by_it(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    ledger.accept(&[entry("a", 7)], PACE, at(0)).await.unwrap();
    let look =
        |generation| Settlement { teams: vec![settled(7, None)], ..done(7, generation, Next::Nothing) };
    ledger.settle(LANE, fence, &look(1), at(2)).await.unwrap();
    ledger.accept(&[entry("b", 7)], PACE, at(3)).await.unwrap();
    // The look at the second event has begun: a handle appears, and a third event comes on top.
    ledger.mark(&[Target::Team(key(7))], Cause::Pass, Asks::PASS, at(4)).await.unwrap();
    ledger.settle(LANE, fence, &look(2), at(5)).await.unwrap();
    ledger.accept(&[entry("c", 7)], PACE, at(6)).await.unwrap();
    let state = ledger.org_state(ORG).await.unwrap().unwrap();
    assert!(!state.teams[&TeamId(7)].in_step, "nobody has looked at it since it was asked for");
}
