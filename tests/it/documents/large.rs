//! What GitHub's document costs the built worker: requests, seconds and memory for a first pass, for one event and for a
//! hundred. `TEAMLINK_REPOSITORIES=10000` measures the largest organisation that is promised.

use std::time::Instant;

use reqwest::Method;
use serde_json::json;
use teamlink::sandbox;

use crate::support::{
    documents::{ORG, approve_held, names, repo},
    eventually,
    process::Process,
    world::World,
};

/// Repositories on a page of the list.
const PAGE: usize = 100;

/// The most memory that a worker may take, in MB.
const MEMORY: u64 = 120;

fn repositories() -> usize {
    std::env::var("TEAMLINK_REPOSITORIES").map_or(1_000, |repositories| repositories.parse().unwrap())
}

/// Counts the pages of the list of repositories that GitHub answered with 200, not 304, since then.
async fn changed_pages(world: &World, since: u64) -> usize {
    let all = world.requests(since).await;
    all.iter()
        .filter(|it| it["path"] == "/orgs/acme/repos" && it["method"] == "GET" && it["status"] == 200)
        .count()
}

/// What was asked since then: what GitHub answered 304, which costs nothing, and the rest.
async fn asked(world: &World, since: u64) -> (usize, usize) {
    let all = world.requests(since).await;
    let unchanged = all.iter().filter(|it| it["status"] == 304).count();
    (all.len() - unchanged, unchanged)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_costs_requests_in_proportion_to_what_changed_and_bounded_memory() {
    let count = repositories();
    let pages = count.div_ceil(PAGE) + 1;
    let options = sandbox::Options { repos: count, ..Default::default() };
    let env = [
        ORG,
        ("TEAMLINK_RECONCILE__EVERY", "1h"),
        ("TEAMLINK_GUARD__MAX_SHARE", "1"),
        ("TEAMLINK_GUARD__MAX_REMOVALS", "1000"),
        ("TEAMLINK_GUARD__MAX_PER_WINDOW", "1000"),
    ];
    let world = World::with(options, &env).await;
    approve_held(&world, &[]).await;

    let (since, started) = (world.seq().await, Instant::now());
    let worker = Process::start(&world).await;
    eventually("every repository is in the document", count, async || names(&world).await.len()).await;
    let (paid, unchanged) = asked(&world, since).await;
    println!(
        "first pass of {count} repositories: {paid} requests and {unchanged} unchanged, {:.1?}, {} MB",
        started.elapsed(),
        worker.peak()
    );
    assert!(paid <= 2 * pages + 40, "{paid} requests");

    worker.hook(&world, "acme").await;
    let (since, started) = (world.seq().await, Instant::now());
    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "brand-new"})).await;
    eventually("it is in the document", true, async || names(&world).await.contains("brand-new")).await;
    let (paid, unchanged) = asked(&world, since).await;
    println!(
        "one event: {paid} requests and {unchanged} unchanged, {:.1?}, {} MB",
        started.elapsed(),
        worker.peak()
    );
    assert!(paid <= 40, "{paid} requests");
    let changed = changed_pages(&world, since).await;
    assert!(
        changed <= 2,
        "a new repository stands on the last page of its list, and GitHub answered {changed} pages with 200"
    );

    let (since, started) = (world.seq().await, Instant::now());
    let some: Vec<String> =
        names(&world).await.into_iter().filter(|name| name.starts_with("repo-")).take(100).collect();
    for name in &some {
        repo(&world, name, json!({"archived": true})).await;
    }
    let gone = async || {
        let left = names(&world).await;
        some.iter().filter(|name| left.contains(*name)).count()
    };
    eventually("the archived ones are out of the document", 0, gone).await;
    let (paid, unchanged) = asked(&world, since).await;
    println!(
        "100 events: {paid} requests and {unchanged} unchanged, {:.1?}, {} MB",
        started.elapsed(),
        worker.peak()
    );
    // GitHub answers each page that an archived repository stands on with 200, and hardly twice.
    let changed = changed_pages(&world, since).await;
    assert!(changed <= 2 * pages.min(100), "GitHub answered {changed} pages with 200 for 100 events");
    assert!(worker.peak() <= MEMORY, "{} MB", worker.peak());
    worker.stop().await;
}
