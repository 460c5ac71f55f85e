//! What a mark asks for: of several requests, and of rows that version 0.1.0 wrote.

use super::*;
use crate::model::{Asks, Integration};

on_both! {
    a_mark_asks_for_what_any_of_its_requests_asked_for_until_a_look_answers_it,
    a_mark_of_version_0_1_0_asks_for_what_its_cause_decided,
    what_asks_for_it_does_not_wait_until_its_lane_has_rested,
    a_mark_that_was_not_looked_at_stays_as_it_is_until_its_turn,
    the_audit_of_a_person_names_no_event_that_was_answered_before,
}

/// What the mark of team 7 asks for.
async fn asks(ledger: &Ledger) -> (Cause, Asks) {
    let mark = ledger.due_teams(ORG, at(100), 1).await.unwrap().remove(0);
    (mark.cause, mark.asks)
}

async fn a_mark_asks_for_what_any_of_its_requests_asked_for_until_a_look_answers_it(opened: Opened) {
    let (ledger, team) = (&opened.ledger, [Target::Team(key(7))]);
    ledger.mark(&team, Cause::Pass, Asks::PASS, at(0)).await.unwrap();
    assert_eq!(asks(ledger).await, (Cause::Pass, Asks::PASS));
    ledger.accept(&[entry("a", 7)], PACE, at(1)).await.unwrap();
    assert_eq!(asks(ledger).await, (Cause::Event, Asks::EVENT));
    ledger.mark(&team, Cause::Person, Asks::PERSON, at(2)).await.unwrap();
    let all = Asks { event: true, ..Asks::PERSON };
    assert_eq!(asks(ledger).await, (Cause::Person, all));
    ledger.mark(&team, Cause::Pass, Asks::PASS, at(3)).await.unwrap();
    assert_eq!(asks(ledger).await, (Cause::Person, all));

    // A look that repeats an answered one asks for the same. The next request replaces the flags.
    let fence = ledger.lease(LANE, "t", at(4), TTL).await.unwrap().unwrap();
    ledger.settle(LANE, fence, &done(7, 4, Next::At(at(50))), at(4)).await.unwrap();
    assert_eq!(asks(ledger).await, (Cause::Person, all));
    ledger.mark(&team, Cause::Pass, Asks::PASS, at(5)).await.unwrap();
    assert_eq!(asks(ledger).await, (Cause::Pass, Asks::PASS));
}

async fn a_mark_of_version_0_1_0_asks_for_what_its_cause_decided(opened: Opened) {
    let (ledger, team) = (&opened.ledger, [Target::Team(key(7))]);
    ledger.mark(&team, Cause::Pass, Asks::PASS, at(0)).await.unwrap();
    for (stored, cause, decided) in
        [(0, Cause::Person, Asks::PERSON), (1, Cause::Event, Asks::EVENT), (2, Cause::Pass, Asks::PASS)]
    {
        sqlx::query(
            "UPDATE marks SET cause = $1, answers_event = NULL, asks_datadog = NULL, asks_reserve = NULL,
                 asks_at_once = NULL, lifts_creates = NULL",
        )
        .bind(stored)
        .execute(&ledger.write)
        .await
        .unwrap();
        assert_eq!(asks(ledger).await, (cause, decided));
        assert_eq!(ledger.due_lanes(at(100)).await.unwrap()[0].at_once, decided.at_once);
        ledger.accept(&[entry(&format!("{stored}"), 7)], PACE, at(1)).await.unwrap();
        let with_event = Asks { event: true, reserve: true, ..decided };
        assert_eq!(asks(ledger).await.1, with_event, "an event adds to what {cause:?} asked for");
    }
}

async fn what_asks_for_it_does_not_wait_until_its_lane_has_rested(opened: Opened) {
    let ledger = &opened.ledger;
    let jira = Target::Document(Integration::Jira);
    ledger.mark(&[jira, Target::Team(key(7))], Cause::Pass, Asks::PASS, at(0)).await.unwrap();
    let due = ledger.due_lanes(at(1)).await.unwrap();
    let lanes: Vec<_> = due.iter().map(|due| (due.lane, due.at_once)).collect();
    assert_eq!(lanes, [(jira.lane(), false), (LANE, false)]);
    ledger.mark(&[Target::Team(key(7))], Cause::Person, Asks::PERSON, at(1)).await.unwrap();
    let due = ledger.due_lanes(at(1)).await.unwrap();
    let lanes: Vec<_> = due.iter().map(|due| (due.lane, due.at_once)).collect();
    assert_eq!(lanes, [(LANE, true), (jira.lane(), false)], "a person comes first");
}

async fn the_audit_of_a_person_names_no_event_that_was_answered_before(opened: Opened) {
    let ledger = &opened.ledger;
    ledger.accept(&[entry("a", 7)], PACE, at(0)).await.unwrap();
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let key = ConnectionKey { datadog_team: "d".into(), github: "@acme/s7".into() };
    let line = |cause, of_event| AuditEntry {
        team: Some(TeamId(7)),
        action: AuditAction::Adopt,
        subject: key.clone().into(),
        connection: None,
        cause,
        of_event,
        reason: "why".into(),
        proof: None,
        outcome: AuditOutcome::Done,
        detail: None,
    };
    let look = Settlement { audit: vec![line(Cause::Event, true)], ..done(7, 1, Next::At(at(6))) };
    ledger.settle(LANE, fence, &look, at(2)).await.unwrap();
    // The look that repeats it answers the event as well.
    ledger.settle(LANE, fence, &look, at(6)).await.unwrap();
    ledger
        .begin_adoption(ORG, fence, (&key, TeamId(7)), line(Cause::Person, false), "teamlink", at(8))
        .await
        .unwrap();
    let audit = ledger.audit(None, at(0)).await.unwrap();
    let deliveries: Vec<_> = audit.iter().map(|line| line.deliveries.len()).collect();
    assert_eq!(deliveries, [1, 1, 0]);
}

async fn a_mark_that_was_not_looked_at_stays_as_it_is_until_its_turn(opened: Opened) {
    let ledger = &opened.ledger;
    ledger.accept(&[entry("a", 7)], PACE, at(0)).await.unwrap();
    let before = ledger.due_teams(ORG, at(1), 1).await.unwrap();
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    ledger.settle(LANE, fence, &done(7, before[0].generation, Next::Waits(at(20))), at(2)).await.unwrap();
    assert_eq!(due(ledger, at(19)).await, [] as [i64; 0]);
    assert_eq!(ledger.due_teams(ORG, at(20), 1).await.unwrap(), before);
    // An event that came meanwhile has a turn of its own.
    ledger.accept(&[entry("b", 7)], PACE, at(5)).await.unwrap();
    let generation = ledger.due_teams(ORG, at(20), 1).await.unwrap()[0].generation;
    ledger.accept(&[entry("c", 7)], PACE, at(6)).await.unwrap();
    ledger.settle(LANE, fence, &done(7, generation, Next::Waits(at(60))), at(7)).await.unwrap();
    assert_eq!(due(ledger, at(20)).await, [7]);
}
