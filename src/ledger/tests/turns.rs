//! Which lane's turn it is, and which of its teams are looked at together.

use super::*;
use crate::model::{Asks, Integration};

on_both! {
    an_event_of_any_organisation_goes_before_the_passes_of_all,
    a_lane_tells_what_is_due_in_it,
    teams_of_a_pass_are_not_looked_at_together_with_those_of_an_event,
    what_is_due_is_found_however_much_is,
    the_next_mark_is_found_however_many_are_due,
}

async fn bind(ledger: &Ledger, orgs: impl IntoIterator<Item = i64>) {
    for id in orgs {
        let org = OrgFacts { id: OrgId(id), login: format!("org-{id}") };
        ledger.bind_org(&org, at(0)).await.unwrap();
    }
}

fn team(org: i64, team: i64) -> Target {
    Target::Team(TeamKey { org: OrgId(org), team: TeamId(team) })
}

async fn an_event_of_any_organisation_goes_before_the_passes_of_all(opened: Opened) {
    let ledger = &opened.ledger;
    bind(ledger, 2..=5).await;
    for org in [2, 1, 3] {
        let teams: Vec<Target> = (1..=5).map(|id| team(org, id)).chain([Target::Org(OrgId(org))]).collect();
        ledger.mark(&teams, Cause::Pass, Asks::PASS, at(10 - org)).await.unwrap();
    }
    let lanes = async || {
        let due = ledger.due_lanes(at(20)).await.unwrap();
        due.iter().map(|due| (due.lane.org().map(|org| org.0), due.since)).collect::<Vec<_>>()
    };
    assert_eq!(lanes().await, [(Some(3), at(7)), (Some(2), at(8)), (Some(1), at(9))]);
    ledger.mark(&[team(5, 1)], Cause::Event, Asks::EVENT, at(19)).await.unwrap();
    ledger.mark(&[team(1, 2)], Cause::Event, Asks::EVENT, at(20)).await.unwrap();
    ledger.mark(&[Target::Document(Integration::Jira)], Cause::Person, Asks::PERSON, at(20)).await.unwrap();
    // No organisation of ours yet.
    ledger.mark(&[team(6, 1)], Cause::Person, Asks::PERSON, at(20)).await.unwrap();
    let expected = [(None, at(20)), (Some(1), at(9)), (Some(5), at(19)), (Some(3), at(7)), (Some(2), at(8))];
    assert_eq!(lanes().await, expected);
}

async fn a_lane_tells_what_is_due_in_it(opened: Opened) {
    let ledger = &opened.ledger;
    let told = async || {
        let due = ledger.due_lanes(at(9)).await.unwrap().remove(0);
        (due.cause, due.since, [due.event, due.urgent, due.passes, due.whole, due.at_once])
    };
    ledger.mark(&[team(1, 1)], Cause::Pass, Asks::PASS, at(1)).await.unwrap();
    assert_eq!(told().await, (Cause::Pass, at(1), [false, false, true, false, false]));
    ledger.mark(&[team(1, 2), Target::Org(ORG)], Cause::Event, Asks::EVENT, at(3)).await.unwrap();
    ledger.mark(&[team(1, 3)], Cause::Event, Asks::EVENT, at(2)).await.unwrap();
    assert_eq!(told().await, (Cause::Event, at(2), [true, true, true, true, false]));
    ledger.mark(&[team(1, 1)], Cause::Person, Asks::PERSON, at(4)).await.unwrap();
    assert_eq!(told().await, (Cause::Person, at(1), [true, true, false, true, true]));
}

/// The steps by which the database finds the answer to a query.
async fn plan(opened: &Opened, query: &str) -> String {
    use sqlx::Row as _;
    let sqlite = opened.url.starts_with("sqlite");
    let mut db = opened.ledger.write.acquire().await.unwrap();
    if !sqlite {
        // A handful of rows is read faster than an index: this asks whether there is one to use.
        sqlx::query("SET enable_seqscan = off").execute(&mut *db).await.unwrap();
    }
    let explain = if sqlite { "EXPLAIN QUERY PLAN " } else { "EXPLAIN " };
    let query = query.replace("$1", "1000").replace("$2", "1000");
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(format!("{explain}{query}"))).fetch_all(&mut *db).await.unwrap();
    if !sqlite {
        sqlx::query("RESET enable_seqscan").execute(&mut *db).await.unwrap();
    }
    let step = |row: &sqlx::any::AnyRow| row.get::<String, _>(if sqlite { "detail" } else { "QUERY PLAN" });
    rows.iter().map(step).collect::<Vec<_>>().join("\n")
}

async fn what_is_due_is_found_however_much_is(opened: Opened) {
    let plan = plan(&opened, &super::super::work::first_due()).await;
    assert!(!plan.contains("SCAN marks") && !plan.contains("Seq Scan on marks"), "{plan}");
    assert!(plan.contains("marks_due_of_org"), "{plan}");
}

async fn the_next_mark_is_found_however_many_are_due(opened: Opened) {
    let ledger = &opened.ledger;
    assert_eq!(ledger.next_after(at(0)).await.unwrap(), None);
    let fence = ledger.lease(LANE, "t", at(0), TTL).await.unwrap().unwrap();
    ledger.mark(&[team(1, 1), team(1, 2), team(2, 1)], Cause::Pass, Asks::PASS, at(1)).await.unwrap();
    for (team, next) in [(1, 30), (2, 20)] {
        ledger.settle(LANE, fence, &done(team, 1, Next::At(at(next))), at(2)).await.unwrap();
    }
    assert_eq!(ledger.next_after(at(0)).await.unwrap(), Some(at(20)), "not that of an unknown organisation");
    assert_eq!(ledger.next_after(at(20)).await.unwrap(), Some(at(30)));
    // One is due, though its lane is leased, and one was marked again while a backoff holds it up.
    let floor = at(25);
    let retry = Next::Retry { at: floor, floor, error: Trouble::new(Class::Transient, "503"), burns: true };
    ledger.settle(LANE, fence, &done(1, 1, retry), at(21)).await.unwrap();
    ledger.mark(&[team(1, 1)], Cause::Pass, Asks::PASS, at(22)).await.unwrap();
    assert_eq!(ledger.next_due(at(23)).await.unwrap(), Some(floor));
}

async fn teams_of_a_pass_are_not_looked_at_together_with_those_of_an_event(opened: Opened) {
    let ledger = &opened.ledger;
    let pass: Vec<Target> = (1..=9).map(|id| team(1, id)).collect();
    ledger.mark(&pass, Cause::Pass, Asks::PASS, at(0)).await.unwrap();
    ledger.accept(&[entry("a", 7)], PACE, at(0)).await.unwrap();
    ledger.mark(&[team(1, 20)], Cause::Person, Asks::PERSON, at(1)).await.unwrap();
    assert_eq!(due(ledger, at(2)).await, [20, 7]);
    let fence = ledger.lease(LANE, "t", at(2), TTL).await.unwrap().unwrap();
    for (team, generation) in [(20, 1), (7, 2)] {
        ledger.settle(LANE, fence, &done(team, generation, Next::Nothing), at(2)).await.unwrap();
    }
    assert_eq!(due(ledger, at(3)).await, [1, 2, 3, 4, 5, 6, 8, 9]);
    let some = ledger.due_teams(ORG, at(3), 3).await.unwrap();
    assert_eq!(some.len(), 3);
}
