//! Connections of ours that somebody else removed.

use super::*;
use crate::model::{ConnectionId, HeldKey, HeldKind, HoldReason, HoldRule, RemovedByOthers};

on_both! {
    what_somebody_removed_is_noted_once_for_a_day_and_an_approved_create_ends_the_count,
}

async fn what_somebody_removed_is_noted_once_for_a_day_and_an_approved_create_ends_the_count(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = ledger.lease(LANE, "a", at(0), TTL).await.unwrap().unwrap();
    let key = ConnectionKey { datadog_team: "d".into(), github: "@acme/s7".into() };
    let noted = |id: &str| Settlement {
        removed_by_others: vec![(key.clone(), ConnectionId::from(id))],
        ..done(7, 1, Next::Nothing)
    };
    let times = async |now| {
        let removed = ledger.removed_by_others(LANE, now).await.unwrap();
        removed.get(&key).map_or(0, RemovedByOthers::times)
    };
    let fights = async |now| ledger.progress(LANE, now).await.unwrap().removed_by_others;
    for (second, id) in [(10, "a"), (20, "b"), (30, "b"), (40, "c")] {
        ledger.settle(LANE, fence, &noted(id), at(second)).await.unwrap();
    }
    assert_eq!((times(at(50)).await, fights(at(50)).await), (3, 1));
    let day = 24 * 3600;
    assert_eq!((times(at(day + 10)).await, fights(at(day + 10)).await), (2, 0));
    ledger.settle(LANE, fence, &noted("d"), at(45)).await.unwrap();
    assert_eq!(times(at(50)).await, 4);

    // What is made without an approval changes nothing.
    let owned = Owned { key: key.clone(), id: "e".into(), team: TeamId(7), managed_by: None };
    let made = Settlement { owned: vec![owned], ..done(7, 1, Next::Nothing) };
    ledger.settle(LANE, fence, &made, at(46)).await.unwrap();
    assert_eq!(times(at(50)).await, 4);
    let create = HeldKey::new(HeldKind::Create, key.clone());
    let reason = HoldReason::new(HoldRule::SecondWriter, "somebody removes it");
    let set = [Held { key: create, team: Some(TeamId(7)), reason }];
    let hash = ledger.remember_held(LANE, &set, at(47)).await.unwrap();
    ledger.approve(&hash, "", TTL, at(47)).await.unwrap().unwrap();
    ledger.settle(LANE, fence, &made, at(48)).await.unwrap();
    assert_eq!(times(at(50)).await, 0);
}
