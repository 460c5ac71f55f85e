//! Marking many targets at once.

use std::cell::Cell;

use tracing::Level;
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::{self, SubscriberExt as _},
};

use super::*;

on_both! {
    marking_many_teams_asks_for_each_of_them_once_and_for_no_other,
}

async fn marking_many_teams_asks_for_each_of_them_once_and_for_no_other(opened: Opened) {
    let ledger = &opened.ledger;
    let other = OrgId(2);
    ledger.bind_org(&OrgFacts { id: other, login: "globex".into() }, at(0)).await.unwrap();
    for org in [ORG, other] {
        let lane = Lane::Org(org);
        let fence = ledger.lease(lane, "t", at(1), TTL).await.unwrap().unwrap();
        let teams = (1..=300).map(|team| settled(team, None)).collect();
        ledger.settle(lane, fence, &Settlement { teams, ..Settlement::default() }, at(1)).await.unwrap();
    }
    ledger.accept(&[entry("a", 5)], PACE, at(1)).await.unwrap();
    // In any order, with one of them twice, one that the mirror doesn't have, an organisation, and one team of another.
    let mut targets: Vec<Target> = (1..=200).rev().map(|team| Target::Team(key(team))).collect();
    let elsewhere = Target::Team(TeamKey { org: other, team: TeamId(9) });
    targets.extend([Target::Team(key(7)), Target::Team(key(999)), Target::Org(ORG), elsewhere]);
    ledger.mark(&targets, Cause::Person, Asks::PERSON, at(2)).await.unwrap();

    let out_of_step = async |org: OrgId| -> Vec<i64> {
        let state = ledger.org_state(org).await.unwrap().unwrap();
        state.teams.iter().filter(|(_, team)| !team.in_step).map(|(id, _)| id.0).collect()
    };
    assert_eq!(out_of_step(ORG).await, (1..=200).collect::<Vec<_>>());
    assert_eq!(out_of_step(other).await, [9]);
    assert_eq!(rows(ledger, "teams").await, 600);
    let marks = ledger.due_teams(ORG, at(2), 1_000).await.unwrap();
    assert_eq!(marks.len(), 201);
    for mark in marks {
        let marked_before = mark.team == Some(TeamId(5));
        assert_eq!(mark.generation, if marked_before { 2 } else { 1 }, "{mark:?}");
        assert_eq!(mark.asks, Asks { event: marked_before, ..Asks::PERSON });
        assert_eq!(mark.received_at, marked_before.then_some(at(0)));
    }
    assert!(ledger.due_whole(LANE, at(2)).await.unwrap().is_some());
}

thread_local! {
    /// The statements that sqlx sent from this thread.
    static SENT: Cell<usize> = const { Cell::new(0) };
}

/// Counts the statements that sqlx sends, for each thread.
struct Statements;

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, _: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        SENT.set(SENT.get() + 1);
    }
}

#[tokio::test]
async fn marking_a_thousand_teams_takes_few_statements() {
    // For all threads: what is set for one thread alone is lost where another was the first to send a statement.
    let statements = Statements.with_filter(Targets::new().with_target("sqlx::query", Level::TRACE));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(statements)).unwrap();
    let schema = Schema::create().await;
    let ledger = open(schema.url.clone()).await.ledger;
    let before = SENT.get();
    let targets: Vec<Target> = (1..=1_024).map(|team| Target::Team(key(team))).collect();
    ledger.mark(&targets, Cause::Pass, Asks::PASS, at(1)).await.unwrap();
    // 1,024 teams are 8 batches.
    let statements = SENT.get() - before;
    assert!((16..=18).contains(&statements), "{statements} statements");
    schema.remove().await;
}
