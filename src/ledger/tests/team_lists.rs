//! Which teams' lists of repositories are read again.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::{Integration, RepositoryId};

on_both! {
    a_new_parent_has_the_lists_of_the_team_and_of_all_below_read_again,
}

async fn a_new_parent_has_the_lists_of_the_team_and_of_all_below_read_again(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = ledger.lease(LANE, "a", at(0), TTL).await.unwrap().unwrap();
    let family = [(1, None), (7, Some(1)), (8, Some(7)), (9, Some(8)), (10, Some(1)), (11, None)];
    let teams = |family: &[(i64, Option<i64>)]| Settlement {
        teams: family.iter().map(|(team, parent)| settled(*team, *parent)).collect(),
        ..Settlement::default()
    };
    ledger.settle(LANE, fence, &teams(&family), at(1)).await.unwrap();
    let lists: BTreeMap<TeamKey, BTreeSet<RepositoryId>> =
        family.iter().map(|(team, _)| (key(*team), [RepositoryId(*team)].into())).collect();
    let read = async |time| {
        let mut connection = ledger.write.acquire().await.unwrap();
        super::super::team_lists::store(&mut connection, &lists, time).await.unwrap();
    };
    let good = async || {
        let lists = ledger.team_lists(ORG, TTL).await.unwrap();
        lists.into_keys().map(|team| team.0).collect::<Vec<_>>()
    };
    let document = Lane::Document(Integration::Github);
    let marked = async || ledger.due_whole(document, at(100)).await.unwrap();

    read(at(50)).await;
    assert_eq!(
        (good().await, marked().await),
        (vec![1, 7, 8, 9, 10, 11], None),
        "the mirror knew none of them"
    );
    ledger.settle(LANE, fence, &teams(&family), at(60)).await.unwrap();
    assert_eq!((good().await, marked().await), (vec![1, 7, 8, 9, 10, 11], None), "every parent is the same");

    ledger.settle(LANE, fence, &teams(&[(7, Some(11)), (10, Some(1))]), at(60)).await.unwrap();
    assert_eq!(good().await, [1, 10, 11]);
    assert_eq!(marked().await.unwrap().event_at, Some(at(60)), "GitHub's lists may lag");
    read(at(60)).await;
    assert_eq!(good().await, [1, 10, 11], "GitHub's lists may lag");
    read(at(60) + TTL).await;
    assert_eq!(good().await, [1, 7, 8, 9, 10, 11]);
    // A team that has no parent any more, and one whose parent is new.
    ledger.settle(LANE, fence, &teams(&[(8, None), (10, Some(11))]), at(99)).await.unwrap();
    assert_eq!(good().await, [1, 7, 11]);
}
