//! Rows that pass to the organisation that has their login now.

use std::collections::BTreeSet;

use super::*;

on_both! {
    a_create_of_who_gets_the_row_ends_with_that,
    a_create_that_nobody_answered_holds_the_row_only_until_lists_would_show_it,
    a_create_that_nobody_answered_is_ended_by_another_organisation_once_lists_would_show_it,
    a_row_that_is_being_written_is_asked_for_later_and_later_and_one_that_went_at_once,
}

/// Organisation 2, and a row of organisation 1 that a team of it is to get.
async fn between_two(ledger: &Ledger) -> (i64, PassedOn) {
    let to = TeamKey { org: OrgId(2), team: TeamId(5) };
    ledger.bind_org(&OrgFacts { id: to.org, login: "globex".into() }, at(0)).await.unwrap();
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let key = ConnectionKey { datadog_team: "d".into(), github: "@acme/s7".into() };
    let owned = Owned { key: key.clone(), id: "c".into(), team: TeamId(7), managed_by: None };
    let recorded = Settlement { owned: vec![owned], ..Settlement::default() };
    ledger.settle(LANE, fence, &recorded, at(1)).await.unwrap();
    let waits = (Duration::from_secs(2), Duration::from_secs(60));
    (fence, PassedOn { key, id: "c".into(), from: ORG, to, waits, shown: Duration::from_secs(12) })
}

async fn a_create_of_who_gets_the_row_ends_with_that(opened: Opened) {
    let ledger = &opened.ledger;
    let (_, passed) = between_two(ledger).await;
    let (key, to, other) = (passed.key.clone(), passed.to, Lane::Org(passed.to.org));
    let fence = ledger.lease(other, "t", at(2), TTL).await.unwrap().unwrap();
    let create =
        Intended { key: passed.key.clone(), kind: IntentKind::Create, team: Some(to.team), written: None };
    ledger.intend(to.org, fence, &[create], "teamlink", at(2)).await.unwrap();
    let look = Settlement { passed_on: vec![passed], ..Settlement::default() };
    ledger.settle(other, fence, &look, at(3)).await.unwrap();
    let state = ledger.org_state(to.org).await.unwrap().unwrap();
    let owned: Vec<_> = state.owned.iter().map(|it| (it.id.to_string(), it.team)).collect();
    assert_eq!((owned, state.intents.len()), (vec![("c".to_owned(), to.team)], 0));
    assert_eq!(state.late_creates, [(key, at(3))].into(), "nobody answered it, and it may arrive still");
}

async fn a_create_that_nobody_answered_holds_the_row_only_until_lists_would_show_it(opened: Opened) {
    let ledger = &opened.ledger;
    let (fence, passed) = between_two(ledger).await;
    let create =
        Intended { key: passed.key.clone(), kind: IntentKind::Create, team: Some(TeamId(7)), written: None };
    ledger.intend(ORG, fence, &[create], "teamlink", at(2)).await.unwrap();
    let (to, other) = (passed.to.org, Lane::Org(passed.to.org));
    let others = ledger.lease(other, "t", at(2), TTL).await.unwrap().unwrap();
    let look = Settlement { passed_on: vec![passed], ..Settlement::default() };
    for (now, passes) in [(14, false), (15, true)] {
        ledger.settle(other, others, &look, at(now)).await.unwrap();
        let state = ledger.org_state(to).await.unwrap().unwrap();
        assert_eq!(!state.owned.is_empty(), passes, "at {now}");
    }
    assert_eq!(ledger.counts(at(15)).await.unwrap().intents, 0);
}

async fn a_create_that_nobody_answered_is_ended_by_another_organisation_once_lists_would_show_it(
    opened: Opened,
) {
    let ledger = &opened.ledger;
    let (fence, passed) = between_two(ledger).await;
    let (to, other) = (passed.to, Lane::Org(passed.to.org));
    let key = |github: &str| ConnectionKey { datadog_team: "d".into(), github: github.to_owned() };
    let (lost, answered) = (key("@acme/lost"), key("@acme/answered"));
    let keys: BTreeSet<ConnectionKey> = [lost.clone(), answered.clone()].into();
    let create = |key: &ConnectionKey, team| Intended {
        key: key.clone(),
        kind: IntentKind::Create,
        team: Some(TeamId(team)),
        written: None,
    };
    let of_one: Vec<_> = keys.iter().map(|key| create(key, 7)).collect();
    ledger.intend(ORG, fence, &of_one, "teamlink", at(2)).await.unwrap();
    ledger.note_answered(ORG, fence, &[(&answered, &"c".into())], at(2)).await.unwrap();
    let others = ledger.lease(other, "t", at(2), TTL).await.unwrap().unwrap();
    let of_other: Vec<_> = keys.iter().map(|key| create(key, to.team.0)).collect();
    let refused = async |now| ledger.intend(to.org, others, &of_other, "teamlink", at(now)).await.unwrap();
    for (over, left) in [(2, keys.clone()), (3, [answered].into())] {
        ledger.end_creates_of_others(to.org, others, &keys, at(over)).await.unwrap();
        assert_eq!(refused(20).await, left, "those before {over} end");
    }
}

async fn a_row_that_is_being_written_is_asked_for_later_and_later_and_one_that_went_at_once(opened: Opened) {
    let ledger = &opened.ledger;
    let (fence, passed) = between_two(ledger).await;
    let (key, to, other) = (passed.key.clone(), passed.to, Lane::Org(passed.to.org));
    let delete =
        Intended { key: key.clone(), kind: IntentKind::Delete, team: Some(TeamId(7)), written: None };
    ledger.intend(ORG, fence, &[delete], "teamlink", at(2)).await.unwrap();

    let others = ledger.lease(other, "t", at(2), TTL).await.unwrap().unwrap();
    ledger.mark(&[Target::Team(to)], Cause::Event, Asks::EVENT, at(2)).await.unwrap();
    let look = Settlement { passed_on: vec![passed], ..done(5, 1, Next::Nothing) };
    let due = async |now| !ledger.due_teams(to.org, now, 100).await.unwrap().is_empty();
    for (now, again) in [(3, 5), (10, 18), (100, 160)] {
        ledger.settle(other, others, &look, at(now)).await.unwrap();
        assert_eq!((due(at(again - 1)).await, due(at(again)).await), (false, true), "at {now}");
    }
    let gone = Settlement { disowned: vec![key.clone()], closed_intents: vec![key], ..Settlement::default() };
    ledger.settle(LANE, fence, &gone, at(161)).await.unwrap();
    ledger.settle(other, others, &look, at(162)).await.unwrap();
    assert!(due(at(162)).await, "its team looks at once what became of it");
}
