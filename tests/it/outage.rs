//! What an upstream in trouble costs: an outage pauses, a refused credential waits for another, a rate limit stops all
//! callers at once, and only poison is parked. `TEAMLINK_OUTAGE` says how many seconds the outages last.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::ledger::Ledger;

use crate::support::{
    documents::approve_held,
    world::{self, World, linked},
};

/// Nothing here hangs on how fast it is; what takes longer than this does not come.
const LONG: Duration = Duration::from_secs(60);

/// Events of a team in an outage.
const RENAMES: usize = 50;

async fn ledger(world: &World) -> Ledger {
    teamlink::app::ledger(&world.settings).await.unwrap()
}

async fn slugs(world: &World) -> Vec<String> {
    let teams = world.github(Method::GET, "/orgs/acme/teams?per_page=100", Value::Null).await;
    teams.as_array().unwrap().iter().map(|team| team["slug"].as_str().unwrap().to_owned()).collect()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the daemon says of an upstream: `ok`, or what fails.
async fn said_of(world: &World, upstream: &str) -> String {
    let url = format!("http://{}/readyz", world.daemon.as_ref().unwrap().addr);
    let report: Value = world.http.get(url).send().await.unwrap().json().await.unwrap();
    report["upstreams"][upstream].as_str().unwrap().to_owned()
}

/// Renames a team, which GitHub tells, and answers its slug.
async fn rename(world: &World, slug: &str, name: &str) -> String {
    let team = world.github(Method::PATCH, &format!("/orgs/acme/teams/{slug}"), json!({"name": name})).await;
    team["slug"].as_str().unwrap().to_owned()
}

/// When requests to Datadog arrived that were answered so, in seconds.
async fn answered(world: &World, since: u64, status: u16) -> Vec<f64> {
    let of_datadog =
        |it: &&Value| it["path"].as_str().unwrap().starts_with("/api/") && it["status"] == status;
    let requests = world.requests(since).await;
    requests.iter().filter(of_datadog).map(|it| it["at_us"].as_f64().unwrap() / 1e6).collect()
}

/// Datadog answers 500 in the middle of 5,000 events about 100 teams.
async fn outage(fault: Value) {
    let mut world = World::new(100, &[]).await;
    world.pass().await;
    world.start().await;
    let handles = slugs(&world).await;
    let mut now = handles.clone();
    let length = std::env::var("TEAMLINK_OUTAGE").map_or(20, |seconds| seconds.parse().unwrap());
    for round in 0..RENAMES {
        if round == RENAMES / 2 {
            world.faults(json!([fault])).await;
        }
        for (number, slug) in now.iter_mut().enumerate() {
            *slug = rename(&world, slug, &format!("squad {number} {round}")).await;
        }
    }
    until("the outage is known", async || said_of(&world, "datadog").await != "ok").await;
    // Requests that were under way by then are not counted.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let since = world.seq().await;
    tokio::time::sleep(Duration::from_secs(length)).await;
    let probes = answered(&world, since, 500).await;
    let most = usize::try_from(length).unwrap() / 5 + 1;
    assert!((1..=most).contains(&probes.len()), "probes in {length} s: {probes:?}");
    assert!(probes.windows(2).all(|pair| pair[1] - pair[0] > 3.0), "{probes:?}");
    assert!(ledger(&world).await.parked().await.unwrap().is_empty(), "an outage parks nothing");

    world.faults(json!([])).await;
    let back = Instant::now();
    let expected: BTreeSet<String> =
        handles.iter().zip(&now).map(|(handle, slug)| format!("{handle} = @acme/{slug}")).collect();
    world.becomes(&expected, LONG).await;
    println!("after an outage of {length} s and {} probes right in {:.1?}", probes.len(), back.elapsed());
    assert!(ledger(&world).await.parked().await.unwrap().is_empty(), "an outage parks nothing");
    assert_eq!(said_of(&world, "datadog").await, "ok");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datadog_is_away_for_a_while_in_the_middle_of_5000_events() {
    outage(json!({"path": "/api/*", "status": 500})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datadog_takes_no_creates_for_a_while_in_the_middle_of_5000_events() {
    outage(json!({"method": "POST", "path": "/api/*", "status": 500})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_corrected_in_its_file_and_no_event_is_burned() {
    let mut world = World::new(3, &[]).await;
    let key = world.file("api-key", "a-wrong-one\n");
    world.env.remove("DD_API_KEY");
    world.set(&[("DD_API_KEY_FILE", &key), ("TEAMLINK_RECONCILE__MAX_ATTEMPTS", "1")]);
    world.faults(json!([{"path": "/api/*", "contains": "a-wrong-one", "status": 403}])).await;
    world.start().await;
    let mut slugs = slugs(&world).await;
    let handles = slugs.clone();
    for slug in &mut slugs {
        *slug = rename(&world, slug, slug).await;
    }
    until("the refusal is known", async || said_of(&world, "datadog").await.contains("403")).await;
    let explained = world.teamlink(&["explain", &format!("acme/{}", slugs[0])]).await;
    assert!(world::text(&explained).contains("datadog:teams:read"), "{}", world::text(&explained));
    assert!(ledger(&world).await.parked().await.unwrap().is_empty());

    world.file("api-key", "api\n");
    world.becomes(&linked(&handles), LONG).await;
    assert!(ledger(&world).await.parked().await.unwrap().is_empty());
    assert_eq!(said_of(&world, "datadog").await, "ok");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_on_integrations_stops_them_and_nothing_else() {
    let env = [("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "org"), ("TEAMLINK_RECONCILE__EVERY", "1h")];
    let mut world = World::new(3, &env).await;
    world.seed(json!({"orgs": [{"login": "acme", "repos": [{"name": "api"}]}]})).await;
    approve_held(&world, &[]).await;
    world.faults(json!([{"path": "/api/v2/idp/*", "status": 403}])).await;
    world.start().await;
    world.becomes(&linked(slugs(&world).await), LONG).await;
    let refused = async || said_of(&world, "datadog").await.contains("datadog:integrations:read since");
    until("the refusal is known", refused).await;
    assert!(!said_of(&world, "datadog").await.contains("connections"));

    world.faults(json!([])).await;
    until("the document is written", async || {
        let url = format!("{}/api/v2/idp/entity_integrations/github", world.sandbox.url());
        let request = world.http.get(url).header("DD-API-KEY", "api").header("DD-APPLICATION-KEY", "app");
        request.send().await.unwrap().text().await.unwrap().contains("\"api\"")
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_stops_all_callers_at_once_until_it_ends() {
    const RESET: f64 = 8.0;
    let orgs = [("TEAMLINK_GITHUB__ORGS", "acme,second,third")];
    let mut world = World::new(3, &orgs).await;
    for org in ["second", "third"] {
        let teams: Vec<Value> = (0..3).map(|n| json!({"name": format!("{org} {n}")})).collect();
        world.seed(json!({"orgs": [{"login": org, "teams": teams}]})).await;
    }
    let mut expected = linked(slugs(&world).await);
    for slug in ["second-0", "third-0"] {
        world.seed(json!({"datadog_teams": [{"handle": slug, "name": slug}]})).await;
        expected.insert(format!("{slug} = @{}/{slug}", &slug[..slug.len() - 2]));
    }
    let headers = json!({"x-ratelimit-remaining": "0", "x-ratelimit-reset": RESET.to_string()});
    let limit = json!({"method": "POST", "path": "/api/*", "status": 429, "headers": headers, "times": 1});
    world.faults(json!([limit])).await;
    world.set(&[("TEAMLINK_RECONCILE__EVERY", "1h")]);
    let since = world.seq().await;
    world.start().await;
    until("the limit is hit", async || !answered(&world, since, 429).await.is_empty()).await;
    let hit = answered(&world, since, 429).await[0];
    // What the test itself asks would be counted too.
    tokio::time::sleep(Duration::from_secs_f64(RESET)).await;
    let asked = [answered(&world, since, 200).await, answered(&world, since, 201).await].concat();
    // A second for what was under way, and one for what comes after.
    let meanwhile = asked.iter().filter(|at| (hit + 1.0..hit + RESET - 1.0).contains(*at)).count();
    assert_eq!(meanwhile, 0, "asked at {asked:?}, the limit was hit at {hit}");
    world.becomes(&expected, LONG).await;
    assert!(ledger(&world).await.parked().await.unwrap().is_empty());
    world.stop().await;
}

/// One of 1,000 teams cannot be connected, whatever it is sent with.
async fn poison(status: u16) {
    let mut world = World::new(1000, &[("TEAMLINK_GUARD__FIRST_CREATES", "100000")]).await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    let culprit = &slugs[500];
    let path = "/api/v2/team/connections";
    let contains = format!("\"@acme/{culprit}\"");
    world.faults(json!([{"method": "POST", "path": path, "contains": contains, "status": status}])).await;
    world.set(&[("TEAMLINK_RECONCILE__EVERY", "1h")]);
    world.start().await;
    let healthy = linked(slugs.iter().filter(|slug| *slug != culprit));
    world.becomes(&healthy, LONG).await;
    let ledger = ledger(&world).await;
    until("the poison is parked", async || !ledger.parked().await.unwrap().is_empty()).await;
    let parked = ledger.parked().await.unwrap();
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert!(format!("{parked:?}").contains(&status.to_string()), "{parked:?}");
    assert!(format!("{parked:?}").contains(culprit.as_str()), "{parked:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_of_1000_that_is_answered_400_is_parked_and_the_others_are_made() {
    poison(400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_of_1000_that_is_answered_500_is_parked_and_the_others_are_made() {
    poison(500).await;
}
