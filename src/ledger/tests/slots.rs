//! The slots of the guard's window, and what they say of the removals that were done.

use super::*;
use crate::model::{HeldKey, HeldKind, HoldReason, HoldRule, Integration, Subject};

const HOUR: Duration = Duration::from_secs(3600);

on_both! {
    a_removal_is_counted_once_it_was_done_by_us_without_an_approval,
    a_slot_ahead_of_the_clock_counts_as_taken_now,
    an_old_slot_belongs_to_nobody_and_still_fills_the_window,
}

fn connection(slug: &str) -> ConnectionKey {
    ConnectionKey { datadog_team: "d".into(), github: format!("@acme/{slug}") }
}

async fn fence(ledger: &Ledger, now: Time) -> i64 {
    ledger.lease(LANE, "a", now, TTL).await.unwrap().unwrap()
}

/// Stores that a connection is ours.
async fn own(ledger: &Ledger, fence: i64, slug: &str, now: Time) {
    let owned = Owned { key: connection(slug), id: "c".into(), team: TeamId(7), managed_by: None };
    let stored = Settlement { owned: vec![owned], ..Settlement::default() };
    ledger.settle(LANE, fence, &stored, now).await.unwrap();
}

/// Stores the intent of a write.
async fn intend(ledger: &Ledger, fence: i64, kind: IntentKind, key: ConnectionKey, now: Time) {
    let intent = Intended { kind, key, team: Some(TeamId(7)), written: None };
    assert!(ledger.intend(ORG, fence, &[intent], "teamlink", now).await.unwrap().is_empty());
}

/// Deletes a connection as a look does; `intends` is false where somebody else does.
async fn delete(ledger: &Ledger, fence: i64, slug: &str, intends: bool, now: Time) {
    let key = connection(slug);
    own(ledger, fence, slug, now).await;
    ledger.take_slots(LANE, &[key.clone().into()], 100, HOUR, now).await.unwrap();
    if intends {
        intend(ledger, fence, IntentKind::Delete, key.clone(), now).await;
    }
    let gone =
        Settlement { disowned: vec![key.clone()], closed_intents: vec![key], ..done(7, 1, Next::Nothing) };
    ledger.settle(LANE, fence, &gone, now).await.unwrap();
}

async fn a_removal_is_counted_once_it_was_done_by_us_without_an_approval(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = fence(ledger, at(0)).await;
    let removed = async |now| ledger.removals_done(LANE, HOUR, now).await.unwrap();
    delete(ledger, fence, "ours", true, at(1)).await;
    delete(ledger, fence, "theirs", false, at(2)).await;
    assert_eq!((removed(at(3)).await, ledger.slots_taken(HOUR, at(3)).await.unwrap()), (1, 2));
    // Reserved, in vain; then a person approved it, so that it needs no slot.
    let key = HeldKey::new(HeldKind::Delete, connection("approved"));
    ledger.take_slots(LANE, std::slice::from_ref(&key.subject), 100, HOUR, at(3)).await.unwrap();
    let reason = HoldReason::new(HoldRule::MaxShare, "many");
    let set = [Held { key, team: Some(TeamId(7)), reason }];
    let hash = ledger.remember_held(LANE, &set, at(3)).await.unwrap();
    ledger.approve(&hash, "", TTL, at(3)).await.unwrap().unwrap();
    own(ledger, fence, "approved", at(2)).await;
    intend(ledger, fence, IntentKind::Delete, connection("approved"), at(4)).await;
    let gone = Settlement { disowned: vec![connection("approved")], ..done(7, 1, Next::Nothing) };
    ledger.settle(LANE, fence, &gone, at(4)).await.unwrap();
    assert_eq!((removed(at(5)).await, ledger.slots_taken(HOUR, at(5)).await.unwrap()), (1, 2));
    // What is made again was removed before, and needs another slot when it goes again.
    let key = connection("again");
    ledger.take_slots(LANE, &[key.clone().into()], 100, HOUR, at(5)).await.unwrap();
    own(ledger, fence, "again", at(4)).await;
    for kind in [IntentKind::Delete, IntentKind::Create] {
        intend(ledger, fence, kind, key.clone(), at(6)).await;
    }
    assert_eq!(removed(at(7)).await, 2);
    ledger.take_slots(LANE, &[key.into()], 100, HOUR, at(7)).await.unwrap();
    assert_eq!(ledger.slots_taken(HOUR, at(7)).await.unwrap(), 4);
    // Another lane's are its own.
    let lane = Lane::Document(Integration::Jira);
    assert_eq!(ledger.removals_done(lane, HOUR, at(7)).await.unwrap(), 0);
    assert_eq!(removed(at(3601)).await, 1);
    assert_eq!(removed(at(3607)).await, 0);
}

async fn a_slot_ahead_of_the_clock_counts_as_taken_now(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = fence(ledger, at(0)).await;
    let day = 24 * 3600;
    delete(ledger, fence, "a", true, at(day)).await;
    assert_eq!(ledger.removals_done(LANE, HOUR, at(10)).await.unwrap(), 1);
    ledger.settle(LANE, fence, &done(7, 1, Next::Nothing), at(10)).await.unwrap();
    assert_eq!(ledger.removals_done(LANE, HOUR, at(3609)).await.unwrap(), 1);
    assert_eq!(ledger.removals_done(LANE, HOUR, at(3610)).await.unwrap(), 0);
    let other: Subject = connection("b").into();
    ledger.take_slots(LANE, &[connection("c").into()], 100, HOUR, at(2 * day)).await.unwrap();
    assert!(ledger.take_slots(LANE, std::slice::from_ref(&other), 1, HOUR, at(20)).await.unwrap().is_empty());
    let later = ledger.take_slots(LANE, std::slice::from_ref(&other), 1, HOUR, at(3620)).await.unwrap();
    assert_eq!(later, [other].into());
}

async fn an_old_slot_belongs_to_nobody_and_still_fills_the_window(opened: Opened) {
    let ledger = &opened.ledger;
    sqlx::query("INSERT INTO removal_slots (datadog_team_id, github, at) VALUES ('d', '@acme/old', $1)")
        .bind(at(1).0)
        .execute(&ledger.write)
        .await
        .unwrap();
    assert_eq!(ledger.removals_done(LANE, HOUR, at(2)).await.unwrap(), 0);
    let other: Subject = connection("b").into();
    assert!(ledger.take_slots(LANE, std::slice::from_ref(&other), 1, HOUR, at(2)).await.unwrap().is_empty());
    let old: Subject = connection("old").into();
    assert_eq!(
        ledger.take_slots(LANE, std::slice::from_ref(&old), 1, HOUR, at(2)).await.unwrap(),
        [old].into()
    );
}
