//! What one change costs where there is much of everything: counted in requests and in looks, not in seconds.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{
    ledger::Ledger,
    model::{Asks, Cause, Lane, Target, TeamId, TeamKey},
    reconcile::Worker,
};

use crate::support::{eventually, world::World};

/// Requests that one change may take.
const FEW: usize = 8;

async fn worker(world: &World) -> (Worker, Ledger) {
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    let worker = teamlink::app::worker(&world.settings, ledger.clone(), "command", Arc::default()).unwrap();
    (worker, ledger)
}

async fn due(ledger: &Ledger, lane: Lane) -> i64 {
    ledger.progress(lane, ledger.clock().now()).await.unwrap().due
}

#[tokio::test(flavor = "multi_thread")]
async fn of_thousands_of_teams_that_wait_a_new_handle_wakes_the_one_that_wants_it() {
    const WAITING: usize = 2_000;
    let world = World::new(2, &[("TEAMLINK_DATADOG__TEAMS_TTL", "1s")]).await;
    let teams: Vec<Value> = (0..WAITING).map(|n| json!({"name": format!("Wait {n}")})).collect();
    world.seed(json!({"orgs": [{"login": "acme", "teams": teams}]})).await;
    let (worker, ledger) = worker(&world).await;
    let lanes = worker.begin_pass(&["acme".into()], Cause::Person, Asks::PERSON).await.unwrap().lanes;
    let progress = worker.work_off(&lanes).await.unwrap();
    assert_eq!(progress[&lanes[0]].waiting, WAITING as i64);
    for _ in 0..3 {
        worker.refresh_directory().await.unwrap();
        assert_eq!(due(&ledger, lanes[0]).await, 0, "no handle appeared");
    }
    let since = world.seq().await;
    // Names are compared without case.
    world.seed(json!({"datadog_teams": [{"handle": "Wait-77", "name": "Wait 77"}]})).await;
    eventually("teams that are due", 1, async || {
        worker.refresh_directory().await.unwrap();
        due(&ledger, lanes[0]).await
    })
    .await;
    worker.work_off(&lanes).await.unwrap();
    let requests = world.requests(since).await;
    let paths: Vec<&str> = requests.iter().filter_map(|request| request["path"].as_str()).collect();
    assert!(paths.len() <= FEW, "{} requests: {paths:?}", paths.len());
    assert_eq!(world.connections().await.into_iter().filter(|it| it.contains("wait")).count(), 1);
    assert_eq!(ledger.progress(lanes[0], ledger.clock().now()).await.unwrap().waiting, WAITING as i64 - 1);
}

/// Pages of connections, and all requests, that a look at these teams takes.
async fn look(world: &World, worker: &Worker, ledger: &Ledger, lane: Lane, teams: &[i64]) -> (usize, usize) {
    let Lane::Org(org) = lane else { panic!("{lane:?}") };
    let since = world.seq().await;
    let target = |team: &i64| Target::Team(TeamKey { org, team: TeamId(*team) });
    let targets: Vec<Target> = teams.iter().map(target).collect();
    ledger.mark(&targets, Cause::Person, Asks::PERSON, ledger.clock().now()).await.unwrap();
    worker.work_off(&[lane]).await.unwrap();
    let requests = world.requests(since).await;
    let pages = |it: &&Value| it["path"] == "/api/v2/team/connections" && it["method"] == "GET";
    (requests.iter().filter(pages).count(), requests.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_one_of_thousands_of_teams_on_one_datadog_team_does_not_list_what_the_others_have() {
    const TEAMS: usize = 2_000;
    let mut world = World::new(1, &[("TEAMLINK_GUARD__FIRST_CREATES", "100000")]).await;
    let rules = "[[mapping]]\ngithub = \"*/*\"\ndatadog = \"team-1\"\n";
    let file = world.file("rules.toml", rules);
    world.settings = teamlink::settings::Settings::load(&[file.into()], &world.env).unwrap().settings;
    let teams: Vec<Value> = (0..TEAMS).map(|n| json!({"name": format!("One {n}")})).collect();
    world.seed(json!({"orgs": [{"login": "acme", "teams": teams}]})).await;
    let (worker, ledger) = worker(&world).await;
    let lanes = worker.begin_pass(&["acme".into()], Cause::Person, Asks::PERSON).await.unwrap().lanes;
    let progress = worker.work_off(&lanes).await.unwrap();
    assert_eq!(progress[&lanes[0]].owned, TEAMS as i64 + 1);
    let id = async |slug: &str| {
        let team = world.github(Method::GET, &format!("/orgs/acme/teams/{slug}"), Value::Null).await;
        team["id"].as_i64().unwrap()
    };
    let (one, two) = (id("one-77").await, id("one-78").await);

    let (pages, requests) = look(&world, &worker, &ledger, lanes[0], &[one]).await;
    println!(
        "a look at one of {TEAMS} teams that is in step: {pages} pages of connections, {requests} requests"
    );
    assert!(pages == 1 && requests <= FEW, "{pages} pages, {requests} requests");

    world.github(Method::DELETE, "/orgs/acme/teams/one-77", Value::Null).await;
    let (mut pages, mut requests) = (0, 0);
    while ledger.progress(lanes[0], ledger.clock().now()).await.unwrap().owned > TEAMS as i64 {
        let look = look(&world, &worker, &ledger, lanes[0], &[one]).await;
        (pages, requests) = (pages + look.0, requests + look.1);
        assert!(requests < 100, "the connection of a team that is gone stays");
    }
    println!("one of {TEAMS} teams is deleted: {pages} pages of connections, {requests} requests");
    assert!(pages <= 6, "{pages} pages, {requests} requests");

    // Who makes a connection knows of all that are there.
    world.github(Method::PATCH, "/orgs/acme/teams/one-78", json!({"name": "Two 78"})).await;
    let (pages, requests) = look(&world, &worker, &ledger, lanes[0], &[two]).await;
    println!("one of {TEAMS} teams is renamed: {pages} pages of connections, {requests} requests");
    assert!(pages > TEAMS / 100, "{pages} pages, {requests} requests");
    let connections = world.connections().await;
    let named = |slug: &str| connections.iter().any(|it| it.ends_with(&format!("/{slug}")));
    assert!(named("two-78") && !named("one-78") && !named("one-77"));
}
