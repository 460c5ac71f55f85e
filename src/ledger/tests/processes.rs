//! Workers on one ledger that were started with different settings.

use std::time::Instant;

use super::*;

on_both! {
    only_workers_with_the_settings_loaded_last_take_leases,
    an_older_worker_takes_leases_again_once_the_newer_one_is_dead,
    a_worker_whose_settings_were_loaded_last_is_found_by_its_load_and_not_by_its_start,
    a_load_after_a_clock_was_set_back_is_still_the_last,
    a_process_shows_that_it_lives_within_the_transaction_of_a_delivery,
    the_rows_of_processes_are_read_while_another_process_writes,
    a_process_is_forgotten_a_day_after_its_end,
}

fn process(id: &str, settings: &str) -> Process {
    Process {
        id: id.into(),
        role: "all",
        fingerprint: "r1:a".into(),
        settings: settings.into(),
        loaded: Instant::now(),
    }
}

/// Another worker on the same ledger.
async fn worker(opened: &Opened, id: &str, settings: &str, now: Time) -> Ledger {
    let ledger = Ledger::open(&opened.url).await.unwrap().as_process(process(id, settings));
    ledger.announce(now).await.unwrap();
    ledger
}

/// Whether a worker gets the lease of the organisation; gives it back.
async fn leases(worker: &Ledger, now: Time) -> bool {
    let fence = worker.lease(LANE, "daemon:x", now, TTL).await.unwrap();
    if let Some(fence) = fence {
        worker.release(LANE, fence).await.unwrap();
    }
    fence.is_some()
}

/// Makes the rows of processes older, whichever clock wrote them.
async fn ages(ledger: &Ledger, id: &str, by: Duration) {
    sqlx::query("UPDATE processes SET seen_at = seen_at - $1 WHERE id = $2")
        .bind(i64::try_from(by.as_micros()).unwrap())
        .bind(id)
        .execute(&ledger.write)
        .await
        .unwrap();
}

async fn only_workers_with_the_settings_loaded_last_take_leases(opened: Opened) {
    let old = worker(&opened, "old", "s1:a", at(1)).await;
    assert!(leases(&old, at(1)).await, "the only one");
    let same = worker(&opened, "same", "s1:a", at(2)).await;
    assert!(leases(&old, at(2)).await && leases(&same, at(2)).await, "both have the same settings");
    let new = worker(&opened, "new", "s1:b", at(3)).await;
    assert!(!leases(&old, at(3)).await && !leases(&same, at(3)).await);
    assert!(leases(&new, at(3)).await);
    let outdated = old.outdated().unwrap();
    assert_eq!((outdated.id.as_str(), outdated.version.as_str()), ("new", env!("CARGO_PKG_VERSION")));
    assert_eq!(new.outdated(), None);
    // It goes on taking deliveries, and the other finds what they marked.
    old.accept(&[entry("a", 7)], PACE, at(3)).await.unwrap();
    assert_eq!(due(&new, at(4)).await, [7]);
    // A command is no worker: what it may do doesn't depend on this.
    assert!(leases(&opened.ledger, at(4)).await);
    // A worker that ends says so.
    new.leave().await.unwrap();
    assert!(leases(&old, at(4)).await && leases(&same, at(4)).await);
    assert_eq!(old.outdated(), None);
}

async fn an_older_worker_takes_leases_again_once_the_newer_one_is_dead(opened: Opened) {
    let old = worker(&opened, "old", "s1:a", at(1)).await;
    let new = worker(&opened, "new", "s1:b", at(2)).await;
    old.find_newer(at(2)).await.unwrap();
    assert!(old.outdated().is_some());
    ages(&old, "new", Duration::from_secs(14)).await;
    assert!(!leases(&old, at(2)).await);
    ages(&old, "new", Duration::from_secs(2)).await;
    old.find_newer(at(2)).await.unwrap();
    assert_eq!(old.outdated(), None);
    assert!(leases(&old, at(2)).await);
    // It was only slow.
    new.due_to_show();
    new.show(at(12)).await.unwrap();
    assert!(!leases(&old, at(12)).await);
}

async fn a_worker_whose_settings_were_loaded_last_is_found_by_its_load_and_not_by_its_start(opened: Opened) {
    // It read its settings first, and then waited long for the ledger.
    let mut slow = process("slow", "s1:a");
    slow.loaded = slow.loaded.checked_sub(Duration::from_secs(60)).unwrap();
    let quick = worker(&opened, "quick", "s1:b", at(100)).await;
    let slow = Ledger::open(&opened.url).await.unwrap().as_process(slow);
    slow.announce(at(101)).await.unwrap();
    assert!(!leases(&slow, at(101)).await);
    assert!(leases(&quick, at(101)).await);
}

async fn a_load_after_a_clock_was_set_back_is_still_the_last(opened: Opened) {
    let old = worker(&opened, "old", "s1:a", at(7_200)).await;
    sqlx::query("UPDATE processes SET loaded_at = loaded_at + 3600000000").execute(&old.write).await.unwrap();
    let new = worker(&opened, "new", "s1:b", at(3_600)).await;
    ages(&old, "old", if old.engine == Engine::Sqlite { Duration::from_secs(3_600) } else { Duration::ZERO })
        .await;
    assert!(leases(&new, at(3_600)).await);
    old.find_newer(at(3_600)).await.unwrap();
    assert!(old.outdated().is_some());
}

async fn a_process_shows_that_it_lives_within_the_transaction_of_a_delivery(opened: Opened) {
    let ledger = worker(&opened, "a", "s1:a", at(1)).await;
    let seen_at = async || -> i64 {
        sqlx::query_scalar("SELECT seen_at FROM processes").fetch_one(&ledger.read).await.unwrap()
    };
    let announced = seen_at().await;
    ledger.accept(&[entry("a", 7)], PACE, at(2)).await.unwrap();
    ledger.show(at(2)).await.unwrap();
    assert_eq!(seen_at().await, announced, "it has said so just before");
    ledger.due_to_show();
    ledger.accept(&[entry("b", 7)], PACE, at(9)).await.unwrap();
    let accepted = seen_at().await;
    assert!(accepted > announced);
    ledger.show(at(10)).await.unwrap();
    assert_eq!(seen_at().await, accepted, "the delivery has said so");
    ledger.due_to_show();
    ledger.show(at(15)).await.unwrap();
    assert!(seen_at().await > accepted);
}

async fn the_rows_of_processes_are_read_while_another_process_writes(opened: Opened) {
    let old = worker(&opened, "old", "s1:a", at(1)).await;
    let _new = worker(&opened, "new", "s1:b", at(2)).await;
    let writing = old.begin().await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), old.find_newer(at(2))).await.unwrap().unwrap();
    assert!(old.outdated().is_some());
    writing.rollback().await.unwrap();
}

async fn a_process_is_forgotten_a_day_after_its_end(opened: Opened) {
    let keep = Keep { deliveries: TTL, audit: TTL, window: TTL };
    let ledger = worker(&opened, "a", "s1:a", at(1)).await;
    worker(&opened, "b", "s1:a", at(1)).await;
    ages(&ledger, "b", Duration::from_secs(86_000)).await;
    ledger.forget_old(keep, at(1)).await.unwrap();
    assert_eq!(rows(&ledger, "processes").await, 2);
    ages(&ledger, "b", Duration::from_secs(401)).await;
    ledger.forget_old(keep, at(1)).await.unwrap();
    assert_eq!(rows(&ledger, "processes").await, 1);
    // The one daemon of an SQLite file knows that no other lives.
    ledger.end_daemon_leases().await.unwrap();
    assert_eq!(rows(&ledger, "processes").await, 0);
}
