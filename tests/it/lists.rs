//! Lists of upstreams that limit, miscount, refuse and change: a pass comes to its end, and what is proven stays so.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{
    ledger::{Ledger, Progress},
    model::Lane,
};

use crate::support::world::{World, linked, text};

/// Nothing here hangs on how fast it is; what takes longer than this does not come.
const LONG: Duration = Duration::from_secs(60);

/// Asks the sandbox something that meets no fault and no limit.
async fn ask(world: &World, method: Method, path: &str, body: Value) -> Value {
    let request = world.http.request(method, format!("{}{path}", world.sandbox.url()));
    let request = request.header("authorization", "token t").header("x-sandbox-exempt", "1");
    let request = request.header("dd-api-key", "api").header("dd-application-key", "app");
    let answer = if body.is_null() { request } else { request.json(&body) };
    answer.send().await.unwrap().json().await.unwrap_or_default()
}

/// How many items a list of Datadog's has, by its own count.
async fn count(world: &World, path: &str, total: &str) -> u64 {
    let list = ask(world, Method::GET, &format!("{path}?page[size]=1&page[number]=0"), Value::Null).await;
    list.pointer(total).and_then(Value::as_u64).unwrap()
}

async fn connections(world: &World) -> u64 {
    count(world, "/api/v2/team/connections", "/meta/page/total").await
}

async fn progress(ledger: &Ledger) -> Progress {
    let org = ledger.orgs().await.unwrap()[0].facts.id;
    ledger.progress(Lane::Org(org), ledger.clock().now()).await.unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_more_pages_than_a_window_allows_is_complete_in_the_next() {
    let env = [("TEAMLINK_GUARD__FIRST_CREATES", "100000"), ("TEAMLINK_RECONCILE__EVERY", "1h")];
    // 20 pages of Datadog's teams.
    let mut world = World::new(1950, &env).await;
    let limits = json!({"datadog": {"requests": 15, "seconds": 8}});
    ask(&world, Method::PUT, "/_sandbox/limits", limits).await;
    world.start().await;
    let started = Instant::now();
    until("a connection is made", async || connections(&world).await > 0).await;
    println!("20 pages, 15 requests in 8 s: the first connections after {:.1?}", started.elapsed());
    ask(&world, Method::PUT, "/_sandbox/limits", json!({})).await;
    let requests = world.requests(0).await;
    let of_teams = |it: &&Value| it["path"] == "/api/v2/team" && it["method"] == "GET" && it["status"] == 200;
    let pages: Vec<_> = requests.iter().filter(of_teams).map(|it| it["query"].to_string()).collect();
    let distinct: BTreeSet<_> = pages.iter().filter(|query| query.contains("100")).collect();
    assert_eq!(distinct.len(), 20);
    let again = pages.iter().filter(|query| query.contains("100")).count();
    assert_eq!(again, 20, "each page was read once");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pass_fails_while_somebody_writes_and_totals_are_wrong() {
    let mut world = World::new(150, &[("TEAMLINK_RECONCILE__EVERY", "1s")]).await;
    world.faults(json!([{"method": "GET", "path": "/api/v2/team*", "total_off": -1}])).await;
    world.start().await;
    until("all is connected", async || connections(&world).await == 150).await;
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    let teams = world.datadog_teams().await;
    for (number, id) in teams.values().take(10).enumerate() {
        let connection = json!({"data": [{
            "type": "team_connection",
            "attributes": {"managed_by": "terraform", "source": "github"},
            "relationships": {
                "team": {"data": {"id": id, "type": "team"}},
                "connected_team": {"data": {"id": format!("@other/team-{number}"), "type": "github_team"}},
            },
        }]});
        ask(&world, Method::POST, "/api/v2/team/connections", connection).await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let unread = progress(&ledger).await.unread;
            assert_eq!(unread, None, "a pass failed");
        }
    }
    assert_eq!(connections(&world).await, 160);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_of_many_deleted_datadog_teams_do_not_wait_for_reads_that_fail() {
    let env = [("TEAMLINK_RECONCILE__EVERY", "5s"), ("TEAMLINK_DATADOG__TEAMS_TTL", "1s")];
    let mut world = World::new(401, &env).await;
    world.set(&[("TEAMLINK_GUARD__FIRST_CREATES", "100000")]);
    world.start().await;
    until("all is connected", async || connections(&world).await == 401).await;
    let fault = json!({"method": "GET", "path": "/api/v2/team/*-*-*", "status": 500, "probability": 0.02});
    world.faults(json!([fault])).await;
    let since = world.seq().await;
    for id in world.datadog_teams().await.into_values().skip(1) {
        ask(&world, Method::DELETE, &format!("/api/v2/team/{id}"), Value::Null).await;
    }
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    let started = Instant::now();
    until("all are proven", async || progress(&ledger).await.owned == 1).await;
    let surveys =
        |it: &&Value| it["path"] == "/api/v2/team/connections" && it["query"].to_string().contains("sources");
    let passes = world.requests(since).await.iter().filter(surveys).count();
    println!("400 proofs with 2 % failing reads: {:.1?}, {passes} passes", started.elapsed());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_refused_stays_refused_while_its_teams_answer() {
    let mut world = World::new(5, &[("TEAMLINK_RECONCILE__EVERY", "1h")]).await;
    world.start().await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    world.becomes(&linked(&slugs), LONG).await;
    world.faults(json!([{"method": "GET", "path": "/orgs/acme/teams", "status": 403}])).await;
    for slug in &slugs[..2] {
        world.github(Method::DELETE, &format!("/orgs/acme/teams/{slug}"), Value::Null).await;
    }
    let said = async || {
        let url = format!("http://{}/readyz", world.daemon.as_ref().unwrap().addr);
        let report: Value = world.http.get(url).send().await.unwrap().json().await.unwrap();
        report["upstreams"]["github"].as_str().unwrap().to_owned()
    };
    until("the refusal is known", async || said().await.contains("teams:read since")).await;
    let (refused, since) = (said().await, world.seq().await);
    for _ in 0..110 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(said().await, refused, "it opened once");
    }
    let asked = world.requests(since).await.len();
    assert!(asked <= 12, "{asked} requests in 11 s");
    world.faults(json!([])).await;
    world.becomes(&linked(&slugs[2..]), LONG).await;
    world.stop().await;
}

/// A connection of ours that was made just now and is missing may be one that Datadog's lists do not show yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_says_in_sync_only_of_teams_that_a_look_found_in_step() {
    let world = World::new(3, &[]).await;
    assert_eq!(world.teamlink(&["sync"]).await.status.code(), Some(0));
    let list = world.datadog(Method::GET, "/api/v2/team/connections", Value::Null).await;
    let id = &list["data"][0]["id"];
    let gone = json!({"data": [{"id": id, "type": "team_connection"}]});
    world.datadog(Method::DELETE, "/api/v2/team/connections", gone).await;

    let sync = world.teamlink(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(0), "{}", text(&sync));
    assert_eq!(connections(&world).await, 3, "it waited until the lists had to show what they lacked");
}
