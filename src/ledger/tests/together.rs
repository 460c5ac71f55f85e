//! Several processes on one ledger.

use sqlx::{Connection as _, Executor as _};

use super::*;
use crate::model::Subject;

on_both! {
    two_processes_take_no_more_slots_than_there_are,
    two_processes_take_one_lease_and_fences_rise,
    processes_that_write_the_same_rows_at_once_all_get_through,
    a_lease_that_was_never_given_back_marks_what_was_interrupted,
    the_clock_of_a_process_decides_nothing_where_the_database_has_one,
}

#[tokio::test]
async fn a_new_file_is_opened_as_soon_as_another_process_has_written_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
    sqlx::any::install_default_drivers();
    let mut other = sqlx::AnyConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    other.execute("BEGIN IMMEDIATE; CREATE TABLE theirs (it INTEGER)").await.unwrap();
    let mut opening = Box::pin(Ledger::open(&url));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut opening).await;
    assert!(early.is_err(), "it is open, or has failed: {:?}", early.map(|opened| opened.map(|_| ())));
    other.execute("COMMIT").await.unwrap();
    opening.await.unwrap();
}

#[tokio::test]
async fn a_file_that_another_process_keeps_locked_is_given_up_on() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
    sqlx::any::install_default_drivers();
    let mut other = sqlx::AnyConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    let opened = tokio::time::timeout(Duration::from_secs(60), Ledger::open(&url)).await;
    let error = format!("{:#}", opened.expect("it gives up").err().unwrap());
    assert!(error.contains("database is locked"), "{error}");
}

async fn two_processes_take_no_more_slots_than_there_are(opened: Opened) {
    let other = Ledger::open(&opened.url).await.unwrap();
    let hour = Duration::from_secs(3600);
    for round in 1..10 {
        let keys = |process: &str| -> Vec<Subject> {
            let github = |n: i32| format!("@acme/{process}-{round}-{n}");
            (0..8).map(|n| ConnectionKey { datadog_team: "d".into(), github: github(n) }.into()).collect()
        };
        let (ours, theirs, max) = (keys("a"), keys("b"), 9 * round);
        let (a, b) = tokio::join!(
            opened.ledger.take_slots(LANE, &ours, max, hour, at(1)),
            other.take_slots(LANE, &theirs, max, hour, at(1))
        );
        assert_eq!(a.unwrap().len() + b.unwrap().len(), 9);
        assert_eq!(other.slots_taken(hour, at(1)).await.unwrap(), max);
    }
}

async fn two_processes_take_one_lease_and_fences_rise(opened: Opened) {
    let other = Ledger::open(&opened.url).await.unwrap();
    let mut last = 0;
    for round in 1..20 {
        let now = at(round);
        let (a, b) = tokio::join!(opened.ledger.lease(LANE, "a", now, TTL), other.lease(LANE, "b", now, TTL));
        let taken: Vec<i64> = [a.unwrap(), b.unwrap()].into_iter().flatten().collect();
        assert_eq!(taken.len(), 1, "one of them has it");
        assert!(taken[0] > last);
        last = taken[0];
        other.release(LANE, last).await.unwrap();
    }
}

async fn processes_that_write_the_same_rows_at_once_all_get_through(opened: Opened) {
    let other = Ledger::open(&opened.url).await.unwrap();
    let fence = other.lease(LANE, "b", at(1), TTL).await.unwrap().unwrap();
    for round in 0..10 {
        let now = at(round);
        let entries: Vec<Accepting> = (0..40).map(|n| entry(&format!("{round}-{n}"), n)).collect();
        let backwards: Vec<Accepting> = entries.iter().rev().cloned().collect();
        let teams = (0..40).rev().map(|n| settled(n, None)).collect();
        let marks = (0..40).rev().map(|n| done(n, round, Next::Nothing).marks.remove(0)).collect();
        let found = (0..40).map(TeamId).collect();
        let look = Settlement { teams, marks, found, ..Settlement::default() };
        let teams: Vec<Target> = (0..40).rev().map(|n| Target::Team(key(n))).collect();
        let (a, b, c, d) = tokio::join!(
            opened.ledger.accept(&entries, PACE, now),
            other.accept(&backwards, PACE, now),
            other.settle(LANE, fence, &look, now),
            opened.ledger.mark(&teams, Cause::Pass, Asks::PASS, now),
        );
        assert_eq!((a.unwrap().marked, b.unwrap().marked), (40, 40));
        c.unwrap();
        d.unwrap();
    }
    assert_eq!(due(&other, at(100)).await.len(), 40);
}

async fn a_lease_that_was_never_given_back_marks_what_was_interrupted(opened: Opened) {
    let ledger = &opened.ledger;
    let connection = ConnectionKey { datadog_team: "d".into(), github: "@acme/s7".into() };
    let mut fence = ledger.lease(LANE, "a", at(1), TTL).await.unwrap().unwrap();
    let intent = Intended { kind: IntentKind::Create, key: connection, team: Some(TeamId(7)), written: None };
    ledger.intend(ORG, fence, &[intent], "teamlink", at(1)).await.unwrap();
    ledger.release(LANE, fence).await.unwrap();
    fence = ledger.lease(LANE, "b", at(1), Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(due(ledger, at(2)).await, [] as [i64; 0], "it was given back: its holder knew");
    let takeover = ledger.lease(LANE, "c", at(1), TTL).await.unwrap().unwrap();
    assert!(takeover > fence);
    assert_eq!(due(ledger, at(2)).await, [7]);
}

async fn the_clock_of_a_process_decides_nothing_where_the_database_has_one(opened: Opened) {
    let ledger = &opened.ledger;
    let clock = ledger.clock();
    if ledger.engine == Engine::Sqlite {
        assert!(clock.now().since(Time::from(std::time::SystemTime::now())) < TTL, "this machine's");
        return;
    }
    assert!(ledger.lease(LANE, "a", at(0), TTL).await.unwrap().is_some());
    let far = Time(clock.now().0 * 2);
    assert_eq!(
        ledger.lease(LANE, "b", far, TTL).await.unwrap(),
        None,
        "only a clock that is wrong says it ended"
    );
    // A process whose clock is an hour slow follows the database's at the next lease.
    clock.follow(clock.wall() - Duration::from_secs(3600), Duration::ZERO);
    let slow = clock.wall();
    assert_eq!(ledger.lease(LANE, "b", slow, TTL).await.unwrap(), None);
    assert!(clock.wall().since(slow) > Duration::from_secs(3000));
}
