//! The release of a login: what ends with it, and that an approval is for what was shown.

use super::*;
use crate::model::{ConnectionId, HeldKey, HeldKind, HoldReason, HoldRule};

on_both! {
    an_approved_release_ends_the_binding_and_all_that_hangs_on_it,
    a_renamed_organisation_is_bound_to_its_login_of_today_and_keeps_its_rows,
    what_was_approved_of_a_release_ends_with_it,
    the_event_that_an_organisation_was_deleted_is_kept_until_it_was_seen_a_day_later,
}

fn connection(slug: &str) -> ConnectionKey {
    ConnectionKey { datadog_team: "dd".into(), github: format!("@acme/{slug}") }
}

fn held(rule: HoldRule) -> Held {
    Held { key: release_of(ORG), team: None, reason: HoldReason::new(rule, "gone") }
}

async fn settle(ledger: &Ledger, settlement: Settlement, now: Time) {
    let fence = ledger.lease(LANE, "t", now, TTL).await.unwrap().unwrap();
    ledger.settle(LANE, fence, &settlement, now).await.unwrap();
    ledger.release(LANE, fence).await.unwrap();
}

/// An organisation with a connection and a due team, whose release is held, printed and approved. Returns the hash.
async fn approved(ledger: &Ledger, now: Time) -> String {
    let id = ConnectionId::from("c");
    let owned = Owned { key: connection("a"), id, team: TeamId(7), managed_by: None };
    let settlement = Settlement {
        teams: vec![settled(7, None)],
        owned: vec![owned],
        held: vec![held(HoldRule::OrgDeleted)],
        looked_at: vec![None],
        absent_since: Some(Some(now)),
        ..Settlement::default()
    };
    settle(ledger, settlement, now).await;
    ledger.accept(&[entry("a", 7)], PACE, now).await.unwrap();
    let hash = ledger.held_set(LANE, now).await.unwrap().unwrap().hash;
    let keys = ledger.approve(&hash, "why", Duration::from_secs(60), now).await.unwrap();
    assert_eq!(keys, Some(vec![release_of(ORG)]));
    let (_, approved) = ledger.held_release(ORG, now).await.unwrap().unwrap();
    assert!(approved);
    hash
}

async fn an_approved_release_ends_the_binding_and_all_that_hangs_on_it(opened: Opened) {
    let ledger = &opened.ledger;
    approved(ledger, at(1)).await;
    assert!(ledger.due_whole(LANE, at(2)).await.unwrap().is_some(), "an approval asks for a look");
    let released =
        Settlement { released: Some(Released::Gone), looked_at: vec![None], ..Settlement::default() };
    settle(ledger, released, at(3)).await;
    assert_eq!(ledger.orgs().await.unwrap(), []);
    let org = ledger.released_orgs().await.unwrap().remove(0);
    assert_eq!((org.facts.id, org.released_at), (ORG, Some(at(3))));
    for table in ["connections", "held", "approvals", "printed_sets"] {
        assert_eq!(rows(ledger, table).await, 0, "{table}");
    }
    assert_eq!(due(ledger, at(100)).await, [] as [i64; 0]);

    // Whoever has the login may be bound to it, and so may the organisation itself if it is back.
    let newcomer = OrgFacts { id: OrgId(2), login: "acme".into() };
    ledger.bind_org(&newcomer, at(300)).await.unwrap();
    assert_eq!(ledger.find_org("acme").await.unwrap().unwrap().facts, newcomer);
    ledger.bind_org(&OrgFacts { id: ORG, login: "back".into() }, at(300)).await.unwrap();
    let bound = ledger.orgs().await.unwrap().into_iter().map(|org| (org.bound_login, org.absent_since));
    assert_eq!(bound.collect::<Vec<_>>(), [("back".to_owned(), None), ("acme".to_owned(), None)]);
}

async fn a_renamed_organisation_is_bound_to_its_login_of_today_and_keeps_its_rows(opened: Opened) {
    let ledger = &opened.ledger;
    approved(ledger, at(1)).await;
    let org = Some(OrgFacts { id: ORG, login: "legacy".into() });
    settle(ledger, Settlement { org, released: Some(Released::Renamed), ..Settlement::default() }, at(3))
        .await;
    let org = ledger.orgs().await.unwrap().remove(0);
    assert_eq!((org.bound_login.as_str(), org.released_at), ("legacy", None));
    assert_eq!(rows(ledger, "connections").await, 1);
    assert_eq!((rows(ledger, "held").await, rows(ledger, "approvals").await), (0, 0), "it works once");
}

async fn what_was_approved_of_a_release_ends_with_it(opened: Opened) {
    let ledger = &opened.ledger;
    approved(ledger, at(1)).await;
    // Shown to two people, and approved by one of them.
    let hash = ledger.remember_held(LANE, &[held(HoldRule::OrgDeleted)], at(2)).await.unwrap();
    let ended = Settlement { ends_release: true, looked_at: vec![None], ..Settlement::default() };
    settle(ledger, ended, at(3)).await;
    assert_eq!(ledger.held_release(ORG, at(3)).await.unwrap(), None);
    assert_eq!(ledger.approve(&hash, "late", Duration::from_secs(60), at(4)).await.unwrap(), None);
    // A release of another kind has the same hash. It needs an approval of its own.
    let other = Settlement { held: vec![held(HoldRule::OrgReplaced)], ..Settlement::default() };
    settle(ledger, other, at(5)).await;
    let (_, approved) = ledger.held_release(ORG, at(5)).await.unwrap().unwrap();
    assert!(!approved);
    // A set with more in it, from before: what is held no more is not approved.
    let removal = HeldKey::new(HeldKind::Delete, connection("a"));
    let both = [
        held(HoldRule::OrgReplaced),
        Held {
            key: removal.clone(),
            team: Some(TeamId(7)),
            reason: HoldReason::new(HoldRule::MaxShare, "many"),
        },
    ];
    let hash = ledger.remember_held(LANE, &both, at(6)).await.unwrap();
    sqlx::query("DELETE FROM held").execute(&ledger.write).await.unwrap();
    let keys = ledger.approve(&hash, "some", Duration::from_secs(60), at(7)).await.unwrap();
    assert_eq!(keys, Some(vec![removal]));
}

async fn the_event_that_an_organisation_was_deleted_is_kept_until_it_was_seen_a_day_later(opened: Opened) {
    let ledger = &opened.ledger;
    let told = Accepting { deleted: Some(Target::Org(ORG)), received_at: at(5), ..entry("a", 1) };
    ledger.accept(&[told], PACE, at(6)).await.unwrap();
    let event = async || ledger.orgs().await.unwrap()[0].deleted_event_at;
    let seen =
        || Settlement { org: Some(OrgFacts { id: ORG, login: "acme".into() }), ..Settlement::default() };
    settle(ledger, Settlement { absent_since: Some(Some(at(6))), ..Settlement::default() }, at(6)).await;
    settle(ledger, seen(), at(60)).await;
    assert_eq!(event().await, Some(at(5)), "GitHub's replicas may lag");
    assert_eq!(ledger.orgs().await.unwrap()[0].absent_since, None, "what answers is not absent");
    settle(ledger, seen(), at(90_000)).await;
    assert_eq!(event().await, None);
}
