//! Rows that pass to the organisation that has their login now.

use std::collections::BTreeSet;

use super::*;
use crate::model::Subject;

on_both! {
    a_create_of_who_gets_the_row_ends_with_that,
    what_was_sent_holds_the_row_only_until_lists_would_show_it,
    what_was_sent_is_ended_by_another_organisation_once_lists_would_show_it,
    a_delete_that_another_organisation_ends_counts_as_a_removal,
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
    (fence, PassedOn { key, id: "c".into(), from: ORG, to, waits, over: at(0) })
}

async fn a_create_of_who_gets_the_row_ends_with_that(opened: Opened) {
    let ledger = &opened.ledger.on_machine(Clock::simulated(at(1), 1), None);
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

async fn what_was_sent_holds_the_row_only_until_lists_would_show_it(opened: Opened) {
    let ledger = &opened.ledger;
    let (fence, passed) = between_two(ledger).await;
    let (to, lane) = (passed.to.org, Lane::Org(passed.to.org));
    let others = ledger.lease(lane, "t", at(2), TTL).await.unwrap().unwrap();
    let key = |github: &str| ConnectionKey { datadog_team: "d".into(), github: github.to_owned() };
    let (made, deleted) = (key("@acme/made"), key("@acme/deleted"));
    let mut rows = Vec::new();
    for (key, kind) in [(&made, IntentKind::Create), (&deleted, IntentKind::Delete)] {
        let owned = Owned { key: key.clone(), id: "c".into(), team: TeamId(7), managed_by: None };
        let recorded = Settlement { owned: vec![owned], ..Settlement::default() };
        ledger.settle(LANE, fence, &recorded, at(1)).await.unwrap();
        let write = Intended { key: key.clone(), kind, team: Some(TeamId(7)), written: None };
        assert_eq!(ledger.intend(ORG, fence, &[write], "teamlink", at(2)).await.unwrap(), [].into());
        rows.push(PassedOn { key: key.clone(), ..passed.clone() });
    }
    ledger.note_answered(ORG, fence, &[(&deleted, &"c".into())], at(2)).await.unwrap();
    for (over, passes) in [(2, 0), (3, 2)] {
        let passed_on = rows.iter().map(|row| PassedOn { over: at(over), ..row.clone() }).collect();
        let look = Settlement { passed_on, ..Settlement::default() };
        ledger.settle(lane, others, &look, at(20)).await.unwrap();
        assert_eq!(ledger.org_state(to).await.unwrap().unwrap().owned.len(), passes, "before {over}");
    }
    assert_eq!(ledger.counts(at(20)).await.unwrap().intents, 0);
}

/// Stores writes of organisation 1 at 2, whose connections Datadog's lists lack: a create that nobody answered, one that
/// was answered, and a delete. Returns their keys.
async fn sent(ledger: &Ledger, fence: i64, row: ConnectionKey) -> [ConnectionKey; 3] {
    let key = |github: &str| ConnectionKey { datadog_team: "d".into(), github: github.to_owned() };
    let (lost, answered) = (key("@acme/lost"), key("@acme/answered"));
    let write =
        |key: &ConnectionKey, kind| Intended { key: key.clone(), kind, team: Some(TeamId(7)), written: None };
    let kinds = [(&lost, IntentKind::Create), (&answered, IntentKind::Create), (&row, IntentKind::Delete)];
    let writes: Vec<_> = kinds.iter().map(|(key, kind)| write(key, *kind)).collect();
    assert_eq!(ledger.intend(ORG, fence, &writes, "teamlink", at(2)).await.unwrap(), [].into());
    ledger.note_answered(ORG, fence, &[(&answered, &"a".into()), (&row, &"c".into())], at(2)).await.unwrap();
    [lost, answered, row]
}

async fn what_was_sent_is_ended_by_another_organisation_once_lists_would_show_it(opened: Opened) {
    let ledger = &opened.ledger;
    let (fence, passed) = between_two(ledger).await;
    let to = passed.to;
    let keys = sent(ledger, fence, passed.key).await;
    let others = ledger.lease(Lane::Org(to.org), "t", at(2), TTL).await.unwrap().unwrap();
    let create = |key: &ConnectionKey| Intended {
        key: key.clone(),
        kind: IntentKind::Create,
        team: Some(to.team),
        written: None,
    };
    let creates: Vec<_> = keys.iter().map(create).collect();
    let refused = async |now| ledger.intend(to.org, others, &creates, "teamlink", at(now)).await.unwrap();
    let all: BTreeSet<ConnectionKey> = keys.iter().cloned().collect();
    for (over, left) in [(2, all.clone()), (3, [keys[1].clone()].into())] {
        ledger.end_writes_of_others(to.org, others, &all, at(over), at(20)).await.unwrap();
        assert_eq!(refused(20).await, left, "those before {over} end");
    }
}

async fn a_delete_that_another_organisation_ends_counts_as_a_removal(opened: Opened) {
    let ledger = &opened.ledger;
    let (fence, passed) = between_two(ledger).await;
    let (to, window) = (passed.to.org, Duration::from_secs(60));
    let removals = [Subject::Connection(passed.key.clone())];
    ledger.take_slots(LANE, &removals, 1, window, at(2)).await.unwrap();
    let keys: BTreeSet<ConnectionKey> = sent(ledger, fence, passed.key).await.into();
    let others = ledger.lease(Lane::Org(to), "t", at(2), TTL).await.unwrap().unwrap();
    let done = async || ledger.removals_done(LANE, window, at(20)).await.unwrap();
    assert_eq!(done().await, 0);
    ledger.end_writes_of_others(to, others, &keys, at(3), at(20)).await.unwrap();
    assert_eq!(done().await, 1);
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
