//! Lists that contradict themselves, are cut, or do not fit into a rate limit's window, and the proofs of what they lack.

use std::{future::Future, time::Duration};

use serde_json::{Value, json};
use teamlink::{
    mapping::RuleSpec,
    model::{LISTS_LAG, Lane, MissingTeam},
};

use super::{
    Setup,
    grace::{pass, setup},
    scratch,
    world::{World, rustls},
};

fn run<F: Future<Output = ()>>(life: impl FnOnce(tempfile::TempDir) -> F) {
    rustls();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(life(scratch()));
}

async fn linked(world: &World) -> Vec<String> {
    let mut slugs: Vec<String> = world.connections().await.into_values().map(|it| it.github).collect();
    slugs.sort_unstable();
    slugs
}

async fn owned(world: &World) -> i64 {
    world.ledger.progress(Lane::Org(world.org), world.clock.now()).await.unwrap().owned
}

fn get(path: &str, what: &str, value: Value) -> Value {
    let mut fault = json!({"method": "GET", "path": path});
    fault[what] = value;
    fault
}

#[test]
fn a_total_that_is_always_wrong_stops_nothing() {
    for off in [-1, 1] {
        run(|dir| async move {
            let creating = Setup { missing_team: MissingTeam::Create, ..setup() };
            let world = World::new(1, 3, creating, dir.path()).await;
            world.faults(&[get("/api/v2/team*", "total_off", json!(off))]).await;
            pass(&world, 10).await;
            assert_eq!(linked(&world).await, ["@acme/team-1", "@acme/team-2", "@acme/team-3"], "{off}");
            world.rename("team-1", "Core").await;
            world.delete("team-2").await;
            pass(&world, 400).await;
            assert_eq!(linked(&world).await, ["@acme/core", "@acme/team-3"], "{off}");
            assert_eq!(owned(&world).await, 2);
            world.create("Edge").await;
            pass(&world, 400).await;
            assert!(world.datadog_teams().await.contains_key("edge"), "{off}: a team for a handle");
            assert_eq!(linked(&world).await, ["@acme/core", "@acme/edge", "@acme/team-3"], "{off}");
        });
    }
}

#[test]
fn a_cut_list_disowns_nothing_and_creates_no_team_that_is_there() {
    for cut in ["/api/v2/team", "/api/v2/team/connections", "/api/v2/team*"] {
        run(|dir| async move {
            let creating = Setup { missing_team: MissingTeam::Create, ..setup() };
            let mut world = World::new(1, 5, creating, dir.path()).await;
            pass(&world, 1).await;
            assert_eq!(owned(&world).await, 5);
            // No list may lag behind the creates any more.
            world.clock.advance(LISTS_LAG);
            world.requests().await;
            world.faults(&[get(cut, "truncate", json!(true))]).await;
            // Nothing is remembered of the lists that were whole.
            world.restart().await;
            world.delete("team-5").await;
            world.rename("team-4", "X four").await;
            world.create("Team 6").await;
            world.datadog_team("Team-6").await;
            pass(&world, 300).await;
            let made =
                |it: &Value| it["method"] == "POST" && it["path"] == "/api/v2/team" && it["fence"] != "";
            let requests = world.requests().await;
            assert!(!requests.iter().any(|it| made(it) && it["fence"].is_string()), "{cut}");
            world.faults(&[]).await;
            pass(&world, 900).await;
            let expected = ["@acme/team-1", "@acme/team-2", "@acme/team-3", "@acme/team-6"];
            assert_eq!(linked(&world).await, expected, "{cut}: nothing was disowned");
            assert_eq!(owned(&world).await, 4, "{cut}");
        });
    }
}

#[test]
fn reads_that_fail_take_nothing_back_of_the_proofs_of_other_teams() {
    run(|dir| async move {
        let world = World::new(1, 150, setup(), dir.path()).await;
        pass(&world, 1).await;
        assert_eq!(owned(&world).await, 150);
        let gone = world.datadog_teams().await;
        for id in gone.values() {
            world.ask("DELETE", &format!("/api/v2/team/{id}"), Value::Null).await;
        }
        let mut fails = get("/api/v2/team/*-*", "status", json!(500));
        fails["probability"] = json!(0.05);
        world.faults(&[fails]).await;
        world.clock.advance(Duration::from_secs(600));
        pass(&world, 60).await;
        let left = 150 - i64::try_from(gone.len()).unwrap();
        assert!(owned(&world).await < left + 20, "most are proven: {}", owned(&world).await);
        pass(&world, 60).await;
        assert_eq!(owned(&world).await, left);
    });
}

#[test]
fn a_list_that_needs_more_than_one_window_is_complete_in_the_next() {
    run(|dir| async move {
        let wide = Setup { first_creates: 100_000, ..setup() };
        let mut world = World::new(1, 450, wide, dir.path()).await;
        // Five pages of Datadog's teams, of which a window allows three.
        let limits = json!({"datadog": {"requests": 3, "seconds": 60}});
        let (status, _) = world.ask("PUT", "/_sandbox/limits", limits).await;
        assert_eq!(status, 204);
        world.requests().await;
        pass(&world, 130).await;
        let requests = world.requests().await;
        let pages = requests.iter().filter(|it| it["path"] == "/api/v2/team" && it["status"] == 200).count();
        assert_eq!(pages, 5, "each was read once");
        world.ask("PUT", "/_sandbox/limits", json!({})).await;
        assert!(world.state().await.unwrap().org.passed, "the pass is made");
    });
}

#[test]
fn a_look_whose_lists_fill_a_window_or_more_comes_to_its_writes() {
    // Fourteen connections of one Datadog team: seven pages.
    for requests in [5, 7] {
        run(|dir| async move {
            let rules = vec![RuleSpec::handles("acme/*", ["team-1"])];
            let mut world = World::new(1, 14, Setup { page: 2, rules, ..setup() }, dir.path()).await;
            pass(&world, 10).await;
            assert_eq!(owned(&world).await, 14);
            let limits = json!({"datadog": {"requests": requests, "seconds": 60}});
            world.ask("PUT", "/_sandbox/limits", limits).await;
            world.rename("team-3", "Core").await;
            let told = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
            world.deliver(told).await;
            world.work(Duration::from_secs(900)).await;
            let linked = linked(&world).await;
            let is = |name: &str| linked.contains(&format!("@acme/{name}"));
            assert!(is("core") && !is("team-3"), "with {requests} requests a window: {linked:?}");
        });
    }
}

#[test]
fn a_release_whose_lists_fill_a_window_or_more_comes_to_its_removals() {
    for requests in 5..10 {
        run(|dir| async move {
            let rules = vec![RuleSpec::handles("acme/*", ["team-1"])];
            let mut world = World::new(1, 14, Setup { page: 2, rules, ..setup() }, dir.path()).await;
            pass(&world, 10).await;
            assert_eq!(owned(&world).await, 14);
            world.ask("DELETE", "/orgs/acme", Value::Null).await;
            let told = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
            world.deliver(told).await;
            world.work(Duration::from_secs(60)).await;
            let now = world.clock.now();
            let hash = world.ledger.held_set(Lane::Org(world.org), now).await.unwrap().unwrap().hash;
            world.ledger.approve(&hash, "", Duration::from_secs(3600), now).await.unwrap().unwrap();
            let limits = json!({"datadog": {"requests": requests, "seconds": 60}});
            world.ask("PUT", "/_sandbox/limits", limits).await;
            world.work(Duration::from_secs(900)).await;
            world.ask("PUT", "/_sandbox/limits", json!({})).await;
            assert_eq!(linked(&world).await, [] as [String; 0], "with {requests} requests a window");
        });
    }
}

#[test]
fn teams_that_a_limit_stops_together_are_retried_together() {
    run(|dir| async move {
        let rules = vec![RuleSpec::handles("acme/*", ["team-1"])];
        let mut world = World::new(1, 14, Setup { page: 2, rules, ..setup() }, dir.path()).await;
        pass(&world, 10).await;
        let limits = json!({"datadog": {"requests": 3, "seconds": 60}});
        world.ask("PUT", "/_sandbox/limits", limits).await;
        for team in 3..7 {
            world.rename(&format!("team-{team}"), &format!("Core {team}")).await;
        }
        let told = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
        world.deliver(told).await;
        world.work(Duration::from_secs(10)).await;
        let next = world.ledger.next_due(world.clock.now()).await.unwrap().unwrap();
        let due = world.ledger.due_teams(world.org, next, 100).await.unwrap();
        assert_eq!(due.len(), 4, "what is read for one of them serves all");
    });
}

#[test]
fn a_list_that_is_refused_stays_refused_whatever_its_items_answer() {
    run(|dir| async move {
        let mut world = World::new(1, 4, setup(), dir.path()).await;
        pass(&world, 1).await;
        world.faults(&[json!({"method": "GET", "path": "/orgs/*/teams", "status": 403})]).await;
        world.delete("team-1").await;
        world.delete("team-2").await;
        world.rename("team-3", "Core").await;
        let told = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
        world.deliver(told).await;
        let [(upstream, gate), _] = world.worker.gates();
        world.work(Duration::from_secs(10)).await;
        let refused = gate.trouble(upstream).unwrap();
        world.requests().await;
        for _ in 0..30 {
            world.work(Duration::from_secs(2)).await;
            assert_eq!(gate.trouble(upstream).as_ref(), Some(&refused), "it opened once, and is open since");
        }
        let asked = world.requests().await.len();
        assert!(asked <= 3 * 12 + 3, "{asked} requests in a minute");
        world.faults(&[]).await;
        world.work(Duration::from_secs(6)).await;
        assert_eq!(gate.trouble(upstream), None);
        world.work(Duration::from_secs(120)).await;
        assert_eq!(linked(&world).await, ["@acme/core", "@acme/team-4"]);
    });
}
