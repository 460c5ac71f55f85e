//! What passes and renames cost in requests. They grow with the pages of the lists and with the writes, whatever the size
//! of the organisation. `TEAMLINK_TEAMS` tries another size.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{ledger::Ledger, model::Lane};

use crate::support::world::World;

/// Nothing here hangs on how fast it is; what takes longer than this does not come.
const LONG: Duration = Duration::from_secs(600);

/// Teams on a page of each list.
const PAGE: usize = 100;

/// Connections in one write and in its read-back, as in the default settings.
const BATCH: usize = 50;

/// How many teams the organisation has: so many that single reads of all of them would be seen.
fn teams() -> usize {
    std::env::var("TEAMLINK_TEAMS").map_or(1_500, |teams| teams.parse().unwrap())
}

/// How many requests of teamlink there are among these, by route, without those that were answered 304.
fn counts(requests: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    // The test's own requests write their brackets as they are.
    let own =
        |request: &&Value| request["method"] == "PATCH" || request["query"].to_string().contains("page[");
    for request in requests.iter().filter(|request| request["status"] != 304 && !own(request)) {
        let path = request["path"].as_str().unwrap();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let route = match parts[..] {
            ["orgs", _, "teams"] if request["query"].to_string().contains("per_page=1\"") => "teams answer",
            ["orgs", _, "teams"] => "list of teams",
            ["orgs", _, "teams", ..] => "team by slug",
            ["organizations", _, "team", ..] => "team by id",
            ["api", "v2", "team", "connections"] => "connections",
            ["api", "v2", "team"] => "Datadog teams",
            _ => "other",
        };
        *counts.entry(format!("{} {route}", request["method"].as_str().unwrap())).or_default() += 1;
    }
    counts
}

async fn until_idle(ledger: &Ledger) {
    let org = ledger.orgs().await.unwrap()[0].facts.id;
    let deadline = Instant::now() + LONG;
    loop {
        let progress = ledger.progress(Lane::Org(org), ledger.clock().now()).await.unwrap();
        if progress.due == 0 && progress.passing == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{progress:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_and_renames_cost_requests_in_proportion() {
    let teams = teams();
    let pages = teams / PAGE + 1;
    let env = [("TEAMLINK_GUARD__FIRST_CREATES", "1000000"), ("TEAMLINK_RECONCILE__EVERY", "1h")];
    let mut world = World::new(teams, &env).await;
    let handles = world.handles().await;
    let slugs: Vec<String> = handles.values().cloned().collect();

    let (since, started) = (world.seq().await, Instant::now());
    world.start().await;
    let deadline = started + LONG;
    while world.connections_of(&handles).await.len() < teams {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    until_idle(&ledger).await;
    let first = measured(&world, since).await;
    println!("first pass of {teams} teams: {first:#?} in {:.1?}", started.elapsed());
    // The list of connections has one page, which is empty.
    let writes = teams.div_ceil(BATCH);
    assert_at_most(&first, 1.3 * (pages + pages + 1 + writes + writes) as f64);

    let (since, started) = (world.seq().await, Instant::now());
    world.pass().await;
    let in_step = measured(&world, since).await;
    println!("pass in step: {in_step:#?} in {:.1?}", started.elapsed());
    assert_at_most(&in_step, 1.3 * (3 * pages) as f64);

    let renames = teams / 5;
    let since = world.seq().await;
    let renamed = stream::iter(slugs.iter().take(renames)).for_each_concurrent(8, async |slug| {
        world
            .github(Method::PATCH, &format!("/orgs/acme/teams/{slug}"), json!({"name": format!("{slug} b")}))
            .await;
    });
    renamed.await;
    let started = Instant::now();
    let right = slugs.iter().enumerate().map(|(index, slug)| {
        if index < renames { format!("{slug} = @acme/{slug}-b") } else { format!("{slug} = @acme/{slug}") }
    });
    world.becomes(&right.collect(), Duration::from_secs(60)).await;
    let took = started.elapsed();
    until_idle(&ledger).await;
    let of_renames = measured(&world, since).await;
    println!("{renames} renames: {of_renames:#?}, right after {took:.1?}");
    assert_at_most(&of_renames, 4.0 * renames as f64);
    world.stop().await;
}

/// The counts of what teamlink asked since then.
async fn measured(world: &World, since: u64) -> BTreeMap<String, usize> {
    counts(&world.requests(since).await)
}

fn assert_at_most(counts: &BTreeMap<String, usize>, most: f64) {
    let all: usize = counts.values().sum();
    assert!(all as f64 <= most, "{all} requests, more than {most}: {counts:#?}");
}
