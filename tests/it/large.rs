//! What an organisation costs the built worker: requests, seconds and memory for a first pass, a pass in step and one
//! event. `TEAMLINK_TEAMS=100000` measures the largest organisation that is promised.

use std::time::{Duration, Instant};

use crate::support::{process::Process, world::World};
use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{ledger::Ledger, model::Lane};

/// Nothing here hangs on how fast it is; what takes longer than this does not come.
const LONG: Duration = Duration::from_secs(900);

/// Teams on a page of each list, and connections in one write and in its read-back.
const PAGE: usize = 100;
const BATCH: usize = 50;

/// The most memory that a worker may take, in MB, however large its organisation is.
const MEMORY: u64 = 350;

/// Requests that a rename and a new team may take together. Later reads against lag are among them.
const FEW: u64 = 30;

/// How many teams the organisation has.
fn teams() -> usize {
    std::env::var("TEAMLINK_TEAMS").map_or(1_000, |teams| teams.parse().unwrap())
}

/// How many requests the services have answered.
async fn requests(world: &World) -> u64 {
    let stats = world.remote.stats().await.unwrap();
    let routes = stats["requests"].as_object().unwrap();
    routes
        .iter()
        .filter(|(route, _)| !route.contains("_sandbox"))
        .map(|(_, count)| count.as_u64().unwrap())
        .sum()
}

/// Waits until this many connections are ours, nothing is due, and no request came for a second after the first `least`.
/// Returns how many requests came, and how long that took.
async fn until_done(world: &World, ledger: &Ledger, owned: usize, least: u64) -> (u64, Duration) {
    let (before, started) = (requests(world).await, Instant::now());
    let (mut last, mut since) = (before, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = requests(world).await;
        if now > last {
            (last, since) = (now, Instant::now());
        }
        let quiet = last >= before + least && since.elapsed() > Duration::from_secs(1);
        if quiet && let Some(org) = ledger.orgs().await.unwrap().first() {
            let lane = Lane::Org(org.facts.id);
            let progress = ledger.progress(lane, ledger.clock().now()).await.unwrap();
            if progress.owned == owned as i64 && progress.due == 0 {
                return (last - before, since - started);
            }
        }
        assert!(started.elapsed() < LONG, "{last} requests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_costs_requests_in_proportion_and_bounded_memory() {
    let teams = teams();
    let (pages, writes) = ((teams / PAGE + 1) as u64, teams.div_ceil(BATCH) as u64);
    let env = [("TEAMLINK_GUARD__FIRST_CREATES", "1000000"), ("TEAMLINK_RECONCILE__EVERY", "1h")];
    let world = World::new(teams, &env).await;
    world.seed(json!({"datadog_teams": [{"handle": "brand-new", "name": "Brand new"}]})).await;
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();

    let worker = Process::start(&world).await;
    let (first, took) = until_done(&world, &ledger, teams, 2 * (pages + writes)).await;
    println!("first pass of {teams} teams: {first} requests, {took:.1?}, {} MB", worker.peak());
    assert!(first as f64 <= 1.3 * (2 * pages + 1 + 2 * writes) as f64 + 10.0, "{first} requests");
    assert!(worker.peak() <= MEMORY);
    worker.stop().await;

    let worker = Process::start(&world).await;
    let (in_step, took) = until_done(&world, &ledger, teams, 3 * pages).await;
    println!("pass in step: {in_step} requests, {took:.1?}, {} MB", worker.peak());
    assert!(in_step as f64 <= 1.3 * (3 * pages) as f64 + 10.0, "{in_step} requests");
    assert!(worker.peak() <= MEMORY);

    worker.hook(&world, "acme").await;
    let first = world.github(Method::GET, "/orgs/acme/teams?per_page=1", Value::Null).await;
    let slug = first[0]["slug"].as_str().unwrap().to_owned();
    let path = format!("/orgs/acme/teams/{slug}");
    let renamed = world.github(Method::PATCH, &path, json!({"name": "Renamed"})).await;
    assert_eq!(renamed["slug"], "renamed");
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "brand-new"})).await;
    let (event, took) = until_done(&world, &ledger, teams + 1, 4).await;
    println!("a rename and a new team: {event} requests, {took:.1?}, {} MB", worker.peak());
    assert!(event <= FEW, "{event} requests");
    let keys = ledger.owned_keys().await.unwrap();
    let ours = |github: &str| keys.keys().any(|key| key.github == github);
    assert!(ours("@acme/renamed") && ours("@acme/brand-new") && !ours(&format!("@acme/{slug}")));
    assert!(worker.peak() <= MEMORY);
    worker.stop().await;
}
