//! The guard's limits over its window, and the holds that end without a person.

use std::time::Duration;

use serde_json::{Value, json};
use teamlink::{
    mapping::RuleSpec,
    model::{LISTS_LAG, Lane, Time},
    plan::{Limits, Why},
};

use super::{
    Setup,
    grace::{pass, setup},
    sequences::{held, linked, run},
    world::World,
};

/// What is held, each with its reason.
async fn reasons(world: &World) -> Vec<String> {
    let set = world.ledger.held_set(Lane::Org(world.org), world.clock.now()).await.unwrap();
    set.into_iter().flat_map(|set| set.items).map(|item| item.reason.to_string()).collect()
}

async fn approve(world: &World) {
    let now = world.clock.now();
    let set = world.ledger.held_set(Lane::Org(world.org), now).await.unwrap().unwrap();
    world.ledger.approve(&set.hash, "", Duration::from_secs(60), now).await.unwrap().unwrap();
}

/// What the audit trail has of this kind of action.
async fn audited(world: &World, action: &str) -> Vec<String> {
    let lines = world.ledger.audit(None, Time(0)).await.unwrap();
    let of_kind = lines.into_iter().filter(|line| line.action == action);
    of_kind.map(|line| format!("{}: {}", line.connected_team, line.reason)).collect()
}

/// Deletes these teams one after the other, and works for this long after each.
async fn delete_one_by_one(world: &mut World, teams: impl Iterator<Item = usize>, rest: Duration) {
    for team in teams {
        world.delete(&format!("team-{team}")).await;
        let told = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
        world.deliver(told).await;
        world.work(rest).await;
    }
}

fn shared() -> Setup {
    let limits = Limits { max_share: 0.3, above: 10, max_removals: 50 };
    Setup { grace: Duration::from_secs(2), limits, ..setup() }
}

#[test]
fn the_share_counts_all_removals_of_the_window_however_the_looks_divide_them() {
    run(async |dir| {
        let mut world = World::new(1, 30, shared(), dir.path()).await;
        pass(&world, 1).await;
        delete_one_by_one(&mut world, 1..=28, Duration::from_secs(3)).await;
        world.work(Duration::from_secs(10)).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (21, 19));
        // A hold by a limit never lapses, and one approval covers what waits.
        world.clock.advance(Duration::from_secs(24 * 3600));
        pass(&world, 60).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (21, 19));
        approve(&world).await;
        world.work(Duration::from_secs(60)).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (2, 0));
    });
}

#[test]
fn the_number_of_an_organisation_counts_over_the_window_and_begins_again_after_it() {
    run(async |dir| {
        let limits = Limits { max_share: 1.0, above: 0, max_removals: 3 };
        let mut world = World::new(1, 10, Setup { limits, ..shared() }, dir.path()).await;
        pass(&world, 1).await;
        delete_one_by_one(&mut world, 1..=3, Duration::from_secs(5)).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (7, 0));
        world.clock.advance(Duration::from_secs(3601));
        delete_one_by_one(&mut world, 4..=7, Duration::from_secs(5)).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (4, 1));
        assert!(reasons(&world).await[0].contains("`guard.max_removals` (3)"), "{:?}", reasons(&world).await);
    });
}

#[test]
fn what_a_person_approved_and_what_was_replaced_use_up_no_limit() {
    run(async |dir| {
        let limits = Limits { max_share: 1.0, above: 0, max_removals: 1 };
        let mut world = World::new(1, 10, Setup { limits, ..shared() }, dir.path()).await;
        pass(&world, 1).await;
        for team in 1..=3 {
            world.delete(&format!("team-{team}")).await;
        }
        pass(&world, 10).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (10, 3));
        approve(&world).await;
        world.work(Duration::from_secs(10)).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (7, 0));
        for team in 4..=6 {
            world.datadog_team(&format!("New-{team}")).await;
            world.rename(&format!("team-{team}"), &format!("New {team}")).await;
        }
        world.clock.advance(Duration::from_secs(301));
        pass(&world, 10).await;
        assert!(linked(&world).await.contains(&"@acme/new-6".to_owned()), "{:?}", linked(&world).await);
        delete_one_by_one(&mut world, 7..=8, Duration::from_secs(5)).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (6, 1));
    });
}

#[test]
fn a_slot_of_a_time_ahead_of_the_clock_counts_as_taken_now_and_ends_a_window_later() {
    run(async |dir| {
        let limits = Limits { max_share: 1.0, above: 0, max_removals: 2 };
        let mut world = World::new(1, 10, Setup { limits, ..shared() }, dir.path()).await;
        pass(&world, 1).await;
        delete_one_by_one(&mut world, 1..=2, Duration::from_secs(5)).await;
        world.clock.step(-24 * 3600 * 1_000_000);
        delete_one_by_one(&mut world, 3..=3, Duration::from_secs(5)).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (8, 1));
        world.clock.advance(Duration::from_secs(3700));
        delete_one_by_one(&mut world, 4..=4, Duration::from_secs(5)).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (7, 1));
    });
}

#[test]
fn a_hold_that_a_rule_caused_ends_with_the_rule_or_with_the_team_and_both_are_told() {
    run(async |dir| {
        let mut world = World::new(1, 6, shared(), dir.path()).await;
        pass(&world, 1).await;
        let rules = vec![RuleSpec::ignore("acme/team-1"), RuleSpec::ignore("acme/team-2")];
        let before = world.setup.rules.clone();
        world.setup.rules = [rules, before.clone()].concat();
        world.restart().await;
        pass(&world, 10).await;
        assert_eq!(held(&world).await, ["@acme/team-1", "@acme/team-2"]);
        // GitHub proves one of them gone: its removal is one like any other.
        world.delete("team-1").await;
        pass(&world, 30).await;
        assert_eq!(held(&world).await, ["@acme/team-2"]);
        assert_eq!(linked(&world).await.len(), 5);
        // The rules are as they were: nothing would be removed any more.
        world.setup.rules = before;
        world.restart().await;
        pass(&world, 30).await;
        assert_eq!(held(&world).await, [] as [String; 0]);
        assert_eq!(linked(&world).await.len(), 5);
        let told = audited(&world, "end_hold").await;
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("@acme/team-1: ") && told[0].contains("GitHub proves"), "{told:?}");
        assert!(told[1].starts_with("@acme/team-2: ") && told[1].contains("no longer planned"), "{told:?}");
    });
}

#[test]
fn a_hold_that_ends_because_the_team_is_gone_still_meets_the_limits() {
    run(async |dir| {
        let limits = Limits { max_share: 1.0, above: 0, max_removals: 0 };
        let mut world = World::new(1, 6, Setup { limits, ..shared() }, dir.path()).await;
        pass(&world, 1).await;
        world.setup.rules.insert(0, RuleSpec::ignore("acme/team-1"));
        world.restart().await;
        pass(&world, 10).await;
        assert_eq!(reasons(&world).await, ["no change in GitHub caused it"]);
        world.delete("team-1").await;
        pass(&world, 30).await;
        assert_eq!(reasons(&world).await, ["1 removals exceed `guard.max_removals` (0)"]);
    });
}

#[test]
fn the_removal_of_a_protected_team_is_left_alone_and_not_held() {
    run(async |dir| {
        let protected = vec!["acme/team-1".to_owned()];
        let world = World::new(1, 4, Setup { protected, ..shared() }, dir.path()).await;
        pass(&world, 1).await;
        world.delete("team-1").await;
        pass(&world, 30).await;
        assert_eq!((linked(&world).await.len(), held(&world).await), (4, Vec::new()));
        let plan = world.survey().plan("acme").await.unwrap().plan.unwrap();
        assert!(plan.held.is_empty() && plan.ready.actions.is_empty(), "{plan:?}");
        let left = &plan.ready.left_alone;
        assert!(left.iter().any(|left| matches!(left.why, Why::Protected { .. })), "{left:?}");
    });
}

/// Our rows, whether or not Datadog has their connections.
async fn rows(world: &World) -> usize {
    world.state().await.unwrap().size.owned
}

/// Somebody removes the connections of these teams, and a rule ignores the teams from now on.
async fn remove_and_ignore(world: &mut World, slugs: &[&str]) {
    world.clock.advance(LISTS_LAG);
    for (id, connection) in world.connections().await {
        if slugs.iter().any(|slug| connection.github == format!("@acme/{slug}")) {
            world.disconnect(&id).await;
        }
    }
    world.setup.rules.splice(0..0, slugs.iter().map(|slug| RuleSpec::ignore(&format!("acme/{slug}"))));
    world.restart().await;
    pass(world, 60).await;
}

#[test]
fn what_datadog_has_no_more_is_disowned_up_to_the_share_of_the_window() {
    run(async |dir| {
        let mut world = World::new(1, 12, shared(), dir.path()).await;
        pass(&world, 1).await;
        remove_and_ignore(&mut world, &["team-1", "team-2", "team-3"]).await;
        assert_eq!((rows(&world).await, held(&world).await.len()), (9, 0));
        remove_and_ignore(&mut world, &["team-4"]).await;
        assert_eq!((rows(&world).await, held(&world).await.len()), (9, 1));
        assert!(reasons(&world).await[0].contains("4 of our 12 connections"), "{:?}", reasons(&world).await);
        world.clock.advance(Duration::from_secs(3601));
        remove_and_ignore(&mut world, &["team-5"]).await;
        assert_eq!((rows(&world).await, held(&world).await.len()), (8, 1), "a window later");
        approve(&world).await;
        world.work(Duration::from_secs(60)).await;
        assert_eq!((rows(&world).await, held(&world).await.len()), (7, 0));
        let disowned = audited(&world, "forget").await;
        assert_eq!(disowned.len(), 5, "{disowned:?}");
    });
}

#[test]
fn rows_that_are_all_without_a_connection_wait_for_a_person_and_serve_once_they_are_wanted_again() {
    run(async |dir| {
        let mut world = World::new(1, 2, shared(), dir.path()).await;
        pass(&world, 1).await;
        remove_and_ignore(&mut world, &["team-1", "team-2"]).await;
        assert_eq!((rows(&world).await, held(&world).await.len()), (2, 2));
        world.setup.rules.drain(0..2);
        world.restart().await;
        pass(&world, 60).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (2, 0));
    });
}

/// A fault that answers deletes of connections with 500.
fn no_deletes(what: Value) -> Value {
    let mut fault = json!({"method": "DELETE", "path": "/api/v2/team/connections", "status": 500});
    fault.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    fault
}

#[test]
fn a_delete_whose_answer_was_lost_is_counted_once_it_is_seen_to_be_done() {
    run(async |dir| {
        let limits = Limits { max_share: 1.0, above: 0, max_removals: 1 };
        let mut world = World::new(1, 6, Setup { limits, ..shared() }, dir.path()).await;
        pass(&world, 1).await;
        let mut lost = no_deletes(json!({"reset": true, "times": 1}));
        lost.as_object_mut().unwrap().remove("status");
        world.faults(&[lost]).await;
        delete_one_by_one(&mut world, 1..=1, Duration::from_secs(60)).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (5, 0));
        delete_one_by_one(&mut world, 2..=2, Duration::from_secs(60)).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (5, 1));
        // One that failed was none.
        approve(&world).await;
        world.work(Duration::from_secs(60)).await;
        world.clock.advance(Duration::from_secs(3601));
        world.faults(&[no_deletes(json!({"times": 1}))]).await;
        delete_one_by_one(&mut world, 3..=3, Duration::from_secs(60)).await;
        assert_eq!((linked(&world).await.len(), held(&world).await.len()), (3, 0));
    });
}
