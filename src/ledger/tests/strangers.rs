//! Organisations that were heard of: no event binds one, and a flood of them is asked about a few at a time.

use super::*;
use crate::{
    ledger::{Met, Stranger},
    model::Integration,
};

on_both! {
    an_event_binds_nobody_and_what_is_bound_is_looked_at_as_a_whole,
    a_flood_of_strangers_is_met_ten_a_minute,
    a_stranger_about_whom_github_does_not_answer_is_asked_about_again,
    what_is_heard_while_github_is_asked_is_asked_about_too,
    one_login_named_again_and_again_is_asked_about_once_a_minute,
    the_settings_are_remembered_however_many_events_name_others,
}

fn heard(guid: &str, id: i64, login: &str) -> Accepting {
    let stranger = Some(OrgFacts { id: OrgId(id), login: login.to_owned() });
    Accepting { stranger, targets: vec![], ..entry(guid, 7) }
}

pub(super) async fn hear(ledger: &Ledger, id: i64, login: &str, now: Time) {
    ledger.accept(&[heard(&format!("{id}-{login}-{}", now.0), id, login)], PACE, now).await.unwrap();
}

fn stranger(id: i64, login: &str) -> Stranger {
    Stranger { login: login.to_owned(), org: Some(OrgId(id)), failures: 0 }
}

async fn an_event_binds_nobody_and_what_is_bound_is_looked_at_as_a_whole(opened: Opened) {
    let ledger = &opened.ledger;
    hear(ledger, 666, "Globex", at(0)).await;
    assert_eq!(ledger.orgs().await.unwrap().len(), 1, "the one that was bound before");
    assert_eq!(ledger.due_strangers(at(0)).await.unwrap(), [stranger(666, "globex")]);
    let facts = OrgFacts { id: OrgId(5), login: "Globex".into() };
    ledger.met(&stranger(666, "globex"), Met::Bound(&facts), at(1)).await.unwrap();
    assert_eq!(ledger.org(OrgId(5)).await.unwrap().map(|org| org.facts), Some(facts));
    assert_eq!(ledger.org(OrgId(666)).await.unwrap(), None);
    assert!(ledger.due_whole(Lane::Org(OrgId(5)), at(1)).await.unwrap().is_some());
    assert!(ledger.due_whole(Lane::Document(Integration::Github), at(1)).await.unwrap().is_some());
    assert_eq!(ledger.due_strangers(at(100)).await.unwrap(), []);
}

async fn a_flood_of_strangers_is_met_ten_a_minute(opened: Opened) {
    let ledger = &opened.ledger;
    let flood: Vec<_> = (1..=25).map(|n| heard(&format!("g{n}"), 1_000 + n, &format!("org-{n}"))).collect();
    ledger.accept(&flood, PACE, at(0)).await.unwrap();
    for (minute, met) in [(0, 10), (1, 10), (2, 5), (3, 0)] {
        let now = at(minute * 61);
        let due = ledger.due_strangers(now).await.unwrap();
        assert_eq!(due.len(), met, "minute {minute}");
        for stranger in &due {
            ledger.met(stranger, Met::Nobody, now).await.unwrap();
        }
        assert_eq!(ledger.due_strangers(now).await.unwrap(), [], "minute {minute}");
    }
    hear(ledger, 9, "late", at(400)).await;
    ledger.met(&stranger(9, "late"), Met::Nobody, at(400)).await.unwrap();
    assert_eq!(rows(ledger, "strangers").await, 1, "those of the flood are forgotten");
}

async fn a_stranger_about_whom_github_does_not_answer_is_asked_about_again(opened: Opened) {
    let ledger = &opened.ledger;
    ledger.expect_org("Globex", Duration::from_secs(4), at(1)).await.unwrap();
    assert_eq!(ledger.due_strangers(at(4)).await.unwrap(), []);
    assert_eq!(ledger.next_stranger(at(4)).await.unwrap(), Some(at(5)));
    assert_eq!(ledger.next_stranger(at(5)).await.unwrap(), None);
    let due = ledger.due_strangers(at(5)).await.unwrap();
    assert_eq!(due, [Stranger { org: None, ..stranger(0, "globex") }]);
    ledger.met(&due[0], Met::Later(Duration::from_secs(44)), at(6)).await.unwrap();
    // An event does not shorten the backoff.
    hear(ledger, 5, "globex", at(10)).await;
    assert_eq!(ledger.due_strangers(at(49)).await.unwrap(), []);
    let due = ledger.due_strangers(at(50)).await.unwrap();
    assert_eq!(due, [Stranger { failures: 1, ..stranger(5, "globex") }]);
}

async fn what_is_heard_while_github_is_asked_is_asked_about_too(opened: Opened) {
    let ledger = &opened.ledger;
    hear(ledger, 666, "globex", at(0)).await;
    let forged = ledger.due_strangers(at(0)).await.unwrap().remove(0);
    hear(ledger, 5, "globex", at(1)).await;
    ledger.met(&forged, Met::Nobody, at(2)).await.unwrap();
    assert_eq!(ledger.due_strangers(at(61)).await.unwrap(), []);
    assert_eq!(ledger.due_strangers(at(62)).await.unwrap(), [stranger(5, "globex")]);
    // No answer says nothing of either, and its own wait stands.
    let real = ledger.due_strangers(at(62)).await.unwrap().remove(0);
    hear(ledger, 667, "globex", at(63)).await;
    ledger.met(&real, Met::Later(Duration::from_secs(4)), at(64)).await.unwrap();
    assert_eq!(
        ledger.due_strangers(at(68)).await.unwrap(),
        [Stranger { failures: 1, ..stranger(667, "globex") }]
    );
}

async fn one_login_named_again_and_again_is_asked_about_once_a_minute(opened: Opened) {
    let ledger = &opened.ledger;
    let mut asked = 0;
    for second in 0..150 {
        hear(ledger, 600 + second, "globex", at(second)).await;
        for stranger in ledger.due_strangers(at(second)).await.unwrap() {
            ledger.met(&stranger, Met::Nobody, at(second)).await.unwrap();
            asked += 1;
        }
    }
    assert_eq!(asked, 3);
}

async fn the_settings_are_remembered_however_many_events_name_others(opened: Opened) {
    let ledger = &opened.ledger;
    let flood: Vec<_> =
        (1..=1_100).map(|n| heard(&format!("g{n}"), 1_000 + n, &format!("org-{n}"))).collect();
    ledger.accept(&flood, PACE, at(0)).await.unwrap();
    assert_eq!(rows(ledger, "strangers").await, 1_000);
    ledger.expect_org("globex", Duration::from_secs(1), at(0)).await.unwrap();
    assert_eq!(rows(ledger, "strangers").await, 1_001);
}
