//! Held sets that were printed: how many rows they take, and which of them can be approved.

use super::*;
use crate::model::{HeldKey, HeldKind, HoldReason, HoldRule};

on_both! {
    each_printed_set_takes_one_row_however_large_it_is,
    a_hash_that_only_the_table_of_older_versions_has_can_be_approved_once,
    the_hash_of_a_set_is_that_of_one_organisation,
    an_action_of_a_kind_that_only_a_later_version_knows_is_left_to_that_version,
}

fn held(team: i64) -> Held {
    let connection = ConnectionKey { datadog_team: "d".into(), github: format!("@acme/s{team}") };
    let key = HeldKey::new(HeldKind::Delete, connection);
    Held { key, team: Some(TeamId(team)), reason: HoldReason::new(HoldRule::MaxShare, "many") }
}

async fn each_printed_set_takes_one_row_however_large_it_is(opened: Opened) {
    let ledger = &opened.ledger;
    let all: Vec<Held> = (1..=3_000).map(held).collect();
    for known in (100..=all.len()).step_by(100) {
        ledger.remember_held(LANE, &all[..known], at(1)).await.unwrap();
    }
    assert_eq!(rows(ledger, "held_sets").await + rows(ledger, "printed_sets").await, 30);
    let first = ledger.remember_held(LANE, &all[..100], at(2)).await.unwrap();
    assert_eq!(rows(ledger, "printed_sets").await, 30, "printed again");
    // The newcomers didn't spoil the hash that was printed before them.
    let approved = ledger.approve(&first, "why", TTL, at(3)).await.unwrap().unwrap();
    assert_eq!(approved.len(), 100);
    assert_eq!(ledger.held_and_approved(ORG, at(3)).await.unwrap().1, approved.into_iter().collect());
    assert_eq!(due(ledger, at(3)).await, (1..=100).collect::<Vec<_>>());
    assert_eq!(ledger.approve(&first, "why", TTL, at(3)).await.unwrap(), None, "once");
    assert_eq!(rows(ledger, "printed_sets").await, 29);
}

async fn a_hash_that_only_the_table_of_older_versions_has_can_be_approved_once(opened: Opened) {
    let ledger = &opened.ledger;
    for slug in ["b", "a"] {
        sqlx::query(
            "INSERT INTO held_sets (hash, org_id, kind, datadog_team_id, github, team_id, shown_at)
             VALUES ('0123456789ab', 1, 'delete', 'd', $1, 7, 5)",
        )
        .bind(format!("@acme/{slug}"))
        .execute(&ledger.write)
        .await
        .unwrap();
    }
    let approved = ledger.approve("0123456789ab", "why", TTL, at(1)).await.unwrap().unwrap();
    let github: Vec<String> = approved.iter().map(|key| key.subject.names().1).collect();
    assert_eq!(github, ["@acme/a", "@acme/b"]);
    assert_eq!(due(ledger, at(1)).await, [7]);
    assert_eq!(ledger.approve("0123456789ab", "why", TTL, at(1)).await.unwrap(), None, "once");
}

async fn the_hash_of_a_set_is_that_of_one_organisation(opened: Opened) {
    let (ledger, other) = (&opened.ledger, OrgId(2));
    let hash = ledger.remember_held(LANE, &[held(7)], at(1)).await.unwrap();
    assert_ne!(ledger.remember_held(Lane::Org(other), &[held(7)], at(1)).await.unwrap(), hash);
    assert_eq!(ledger.approve(&hash, "why", TTL, at(1)).await.unwrap().unwrap(), [held(7).key]);
    assert_eq!(ledger.held_and_approved(ORG, at(1)).await.unwrap().1, [held(7).key].into());
    assert_eq!(ledger.held_and_approved(other, at(1)).await.unwrap().1, [].into());
}

async fn an_action_of_a_kind_that_only_a_later_version_knows_is_left_to_that_version(opened: Opened) {
    let ledger = &opened.ledger;
    let hash = ledger.remember_held(LANE, &[held(7)], at(1)).await.unwrap();
    sqlx::query("UPDATE printed_sets SET actions = REPLACE(actions, 'delete', 'rename')")
        .execute(&ledger.write)
        .await
        .unwrap();
    assert_eq!(ledger.approve(&hash, "why", TTL, at(1)).await.unwrap(), Some(vec![]));
    assert_eq!(rows(ledger, "approvals").await, 0);
}
