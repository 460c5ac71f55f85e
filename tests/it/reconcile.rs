//! The worker against the sandbox, with webhooks straight into the ledger and full passes off: what events do.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{
    ledger::{Intended, IntentKind},
    model::{ConnectionKey, GithubHandle, Lane, TeamId, Time},
};

use crate::support::world::{World, linked};

const SOON: Duration = Duration::from_secs(10);

async fn slugs(world: &World) -> Vec<String> {
    let teams = world.github(Method::GET, "/orgs/acme/teams?per_page=100", Value::Null).await;
    teams.as_array().unwrap().iter().map(|team| team["slug"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_create_rename_and_delete_connections() {
    let mut world = World::new(5, &[]).await;
    world.pass().await;
    let mut expected = linked(slugs(&world).await);
    world.becomes(&expected, SOON).await;
    world.start().await;

    world.seed(json!({"datadog_teams": [{"handle": "observability", "name": "Observability"}]})).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "Observability"})).await;
    expected.extend(linked(["observability"]));
    world.becomes(&expected, SOON).await;

    world.seed(json!({"datadog_teams": [{"handle": "telemetry", "name": "Telemetry"}]})).await;
    world.github(Method::PATCH, "/orgs/acme/teams/observability", json!({"name": "Telemetry"})).await;
    expected.remove("observability = @acme/observability");
    expected.extend(linked(["telemetry"]));
    world.becomes(&expected, SOON).await;

    world.github(Method::DELETE, "/orgs/acme/teams/telemetry", Value::Null).await;
    expected.remove("telemetry = @acme/telemetry");
    world.becomes(&expected, SOON).await;
    world.stop().await;
}

/// Writes to connections since a sequence number, as `METHOD body`.
async fn writes(world: &World, since: u64) -> Vec<String> {
    let path = "/api/v2/team/connections";
    let requests = world.requests(since).await;
    let writes = requests.iter().filter(|request| request["path"] == path && request["method"] != "GET");
    writes.map(|request| format!("{} {}", request["method"].as_str().unwrap(), request["body"])).collect()
}

/// Waits until nothing is due any more, follow-up reads aside.
async fn idle(world: &World) {
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    let mut quiet = 0;
    while quiet < 5 {
        let now = teamlink::model::Time::from(std::time::SystemTime::now());
        quiet = if ledger.counts(now).await.unwrap().due == 0 { quiet + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The pairs that existed at every moment since `since`, of those that existed then: replayed from the log.
async fn never_without(world: &World, slug_of: &[&str], since: u64, before: &[(String, String)]) {
    let mut alive: std::collections::BTreeMap<String, String> = before.iter().cloned().collect();
    let mut teams: std::collections::BTreeMap<String, i64> = Default::default();
    let count = |alive: &std::collections::BTreeMap<String, String>, team: &str| {
        alive.values().filter(|datadog_team| *datadog_team == team).count() as i64
    };
    for datadog_team in slug_of {
        teams.insert((*datadog_team).to_owned(), count(&alive, datadog_team));
    }
    for request in world.requests(since).await {
        if request["path"] != "/api/v2/team/connections" || request["status"].as_u64().unwrap() >= 300 {
            continue;
        }
        match request["method"].as_str().unwrap() {
            "POST" => {
                for (index, item) in request["body"]["data"].as_array().unwrap().iter().enumerate() {
                    let team = item["relationships"]["team"]["data"]["id"].as_str().unwrap();
                    alive.insert(format!("{}#{index}", request["seq"]), team.to_owned());
                }
            }
            "DELETE" => {
                for item in request["body"]["data"].as_array().unwrap() {
                    alive.remove(item["id"].as_str().unwrap());
                }
            }
            _ => {}
        }
        for team in slug_of {
            assert!(count(&alive, team) > 0, "Datadog team {team} had no connection after {request}");
        }
    }
}

/// Connection id and Datadog team id of every connection.
async fn pairs(world: &World) -> Vec<(String, String)> {
    let list = world.datadog(Method::GET, "/api/v2/team/connections?page[size]=100", Value::Null).await;
    list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|connection| {
            let team = connection["relationships"]["team"]["data"]["id"].as_str().unwrap();
            (connection["id"].as_str().unwrap().to_owned(), team.to_owned())
        })
        .collect()
}

async fn rename(world: &World, slug: &str, name: &str) {
    world.github(Method::PATCH, &format!("/orgs/acme/teams/{slug}"), json!({"name": name})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_leaves_no_moment_without_a_connection() {
    let mut world = World::new(3, &[]).await;
    world.pass().await;
    world.start().await;
    let slugs = slugs(&world).await;
    let (before, since) = (pairs(&world).await, world.seq().await);
    let team = world.datadog_teams().await[&slugs[0]].clone();
    // Datadog has no team of the new name: the connection keeps its Datadog team and follows the rename.
    rename(&world, &slugs[0], "Brand new").await;
    let mut expected = linked(&slugs[1..]);
    expected.insert(format!("{} = @acme/brand-new", slugs[0]));
    world.becomes(&expected, SOON).await;
    never_without(&world, &[&team], since, &before).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slugs_swapped_between_two_teams_end_right_whatever_order_the_events_have() {
    let mut world = World::new(4, &[]).await;
    world.pass().await;
    world.start().await;
    let slugs = slugs(&world).await;
    let (before, since) = (pairs(&world).await, world.seq().await);
    let teams = world.datadog_teams().await;
    rename(&world, &slugs[0], "On the way").await;
    rename(&world, &slugs[1], &slugs[0]).await;
    rename(&world, "on-the-way", &slugs[1]).await;
    idle(&world).await;
    world.becomes(&linked(&slugs), SOON).await;
    never_without(&world, &[&teams[&slugs[0]], &teams[&slugs[1]]], since, &before).await;
    // The rows changed hands with the slugs: deleting one team removes the connection that it has now.
    world.github(Method::DELETE, &format!("/orgs/acme/teams/{}", slugs[1]), Value::Null).await;
    let rest: Vec<&String> = slugs.iter().filter(|slug| **slug != slugs[1]).collect();
    world.becomes(&linked(rest), SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_made_anew_under_the_same_slug_takes_the_connection_over_without_a_write() {
    let mut world = World::new(3, &[]).await;
    world.pass().await;
    let slugs = slugs(&world).await;
    let since = world.seq().await;
    world.start().await;
    world.github(Method::DELETE, &format!("/orgs/acme/teams/{}", slugs[0]), Value::Null).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": slugs[0]})).await;
    idle(&world).await;
    world.becomes(&linked(&slugs), SOON).await;
    assert_eq!(writes(&world, since).await, [] as [String; 0]);
    // It is owned by the new id now: when that goes, so does the connection.
    world.github(Method::DELETE, &format!("/orgs/acme/teams/{}", slugs[0]), Value::Null).await;
    world.becomes(&linked(&slugs[1..]), SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_organisation_keeps_every_team_connected_and_leaves_nothing_behind() {
    let mut world = World::new(300, &[]).await;
    world.pass().await;
    let teams = world.datadog_teams().await;
    let slugs: Vec<String> = teams.keys().cloned().collect();
    world.start().await;
    let since = world.seq().await;
    let mut before = Vec::new();
    for page in 0..3 {
        let path = format!("/api/v2/team/connections?page[size]=100&page[number]={page}");
        let list = world.datadog(Method::GET, &path, Value::Null).await;
        before.extend(list["data"].as_array().unwrap().iter().map(|connection| {
            let team = connection["relationships"]["team"]["data"]["id"].as_str().unwrap();
            (connection["id"].as_str().unwrap().to_owned(), team.to_owned())
        }));
    }
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "acme-corp"})).await;
    let expected = slugs.iter().map(|slug| format!("{slug} = @acme-corp/{slug}")).collect();
    world.becomes(&expected, SOON).await;
    let ids: Vec<&str> = teams.values().map(String::as_str).collect();
    never_without(&world, &ids, since, &before).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_connections_are_never_touched_and_satisfy_what_is_wanted() {
    let mut world = World::new(3, &[]).await;
    let slugs = slugs(&world).await;
    let teams = world.datadog_teams().await;
    // One is just what we would make; the other sits on the same GitHub team with another Datadog team.
    let by_hand = |team: &str, slug: &str| {
        json!({"type": "team_connection",
            "attributes": {"source": "github", "managed_by": "terraform"},
            "relationships": {
                "team": {"data": {"id": team, "type": "team"}},
                "connected_team": {"data": {"id": format!("@Acme/{slug}"), "type": "github_team"}}}})
    };
    let data = [by_hand(&teams[&slugs[0]], &slugs[0]), by_hand(&teams[&slugs[2]], &slugs[1])];
    world.datadog(Method::POST, "/api/v2/team/connections", json!({"data": data})).await;
    let since = world.seq().await;
    world.pass().await;
    world.start().await;
    let mut expected = linked(&slugs[1..]);
    expected.insert(format!("{0} = @Acme/{0} (terraform)", slugs[0]));
    expected.insert(format!("{} = @Acme/{} (terraform)", slugs[2], slugs[1]));
    world.becomes(&expected, SOON).await;
    assert_eq!(writes(&world, since).await.len(), 1, "one create of two pairs");
    // Both GitHub teams go; what others made of them stays.
    for slug in &slugs[..2] {
        world.github(Method::DELETE, &format!("/orgs/acme/teams/{slug}"), Value::Null).await;
    }
    expected.remove(&format!("{0} = @acme/{0}", slugs[1]));
    world.becomes(&expected, SOON).await;
    idle(&world).await;
    world.becomes(&expected, SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_github_that_lags_three_seconds_behind_its_webhooks_comes_right_by_events_alone() {
    let mut world = World::new(3, &[]).await;
    world.pass().await;
    world.start().await;
    let slugs = slugs(&world).await;
    world.seed(json!({"datadog_teams": [{"handle": "late", "name": "Late"}]})).await;
    world.faults(json!([{"method": "GET", "path": "/org*", "stale_ms": 3000}])).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "late"})).await;
    world.github(Method::DELETE, &format!("/orgs/acme/teams/{}", slugs[0]), Value::Null).await;
    let mut expected = linked(&slugs[1..]);
    expected.extend(linked(["late"]));
    world.becomes(&expected, Duration::from_secs(20)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_that_waits_for_its_handle_still_waits_after_a_look_that_had_no_need_of_datadog() {
    let mut world = World::new(2, &[("TEAMLINK_DATADOG__TEAMS_TTL", "1s")]).await;
    world.pass().await;
    let mut expected = linked(slugs(&world).await);
    world.start().await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "late"})).await;
    idle(&world).await;
    world.github(Method::PATCH, "/orgs/acme/teams/late", json!({"description": "no news for Datadog"})).await;
    idle(&world).await;
    world.seed(json!({"datadog_teams": [{"handle": "late", "name": "Late"}]})).await;
    expected.extend(linked(["late"]));
    world.becomes(&expected, SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_datadog_delays_and_loses_nothing() {
    let mut world = World::new(3, &[]).await;
    world.pass().await;
    world.start().await;
    let slugs = slugs(&world).await;
    world.seed(json!({"datadog_teams": [{"handle": "new", "name": "New"}]})).await;
    world
        .faults(json!([
            {"path": "/api/v2/team*", "times": 2, "status": 429, "headers": {"X-RateLimit-Reset": "1"}},
            {"path": "/api/v2/team*", "times": 3, "status": 500},
            {"path": "/api/v2/team*", "times": 1, "reset": true},
        ]))
        .await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "new"})).await;
    world.github(Method::DELETE, &format!("/orgs/acme/teams/{}", slugs[0]), Value::Null).await;
    // The log is asked, not Datadog: this test must not use the faults up itself.
    let all_met = async {
        loop {
            let requests = world.requests(0).await;
            let answered =
                |status: u64| requests.iter().filter(|request| request["status"] == status).count();
            if answered(429) == 2 && answered(500) == 3 && answered(201) > 1 && answered(204) > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all_met).await.unwrap();
    let mut expected = linked(&slugs[1..]);
    expected.extend(linked(["new"]));
    world.faults(json!([])).await;
    world.becomes(&expected, Duration::from_secs(30)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_in_an_organisation_of_2000_teams_costs_at_most_ten_requests_to_each_upstream() {
    let mut world = World::new(2000, &[]).await;
    world.pass().await;
    world.start().await;
    world.seed(json!({"datadog_teams": [{"handle": "fresh", "name": "Fresh"}]})).await;
    let cost = |requests: &[Value]| {
        let of = |datadog: bool| {
            let ours = requests.iter().filter(|request| {
                let path = request["path"].as_str().unwrap();
                path.starts_with("/api/v2/") == datadog && !path.starts_with("/_sandbox")
            });
            ours.count()
        };
        (of(false), of(true))
    };
    for (method, path, body) in [
        (Method::POST, "/orgs/acme/teams", json!({"name": "fresh"})),
        (Method::PATCH, "/orgs/acme/teams/fresh", json!({"name": "fresher"})),
        (Method::DELETE, "/orgs/acme/teams/fresher", Value::Null),
    ] {
        let since = world.seq().await;
        world.github(method, path, body).await;
        // Through the first of the reads against lag, which come 5 s, 30 s and 120 s after the event.
        tokio::time::sleep(Duration::from_secs(7)).await;
        let (github, datadog) = cost(&world.requests(since).await);
        // One request of GitHub's is this test's own write; two reads of one request each are still to come.
        println!("{path}: {} requests to GitHub, {datadog} to Datadog", github - 1 + 2);
        // A removal needs the whole list once: 2,000 teams on 20 pages, and the page that ends it.
        let list = if path.ends_with("fresher") { 21 } else { 0 };
        assert!(github - 1 + 2 <= 10 + list, "{github} requests to GitHub");
        assert!(datadog <= 10, "{datadog} requests to Datadog");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_cut_off_for_a_team_that_is_gone_before_anything_else_was_stored_of_it_is_undone() {
    let mut world = World::new(3, &[]).await;
    world.pass().await;
    let expected = world.connections().await;
    world.seed(json!({"datadog_teams": [{"handle": "brief", "name": "Brief"}]})).await;
    let team = world.github(Method::POST, "/orgs/acme/teams", json!({"name": "brief"})).await;

    // What a worker leaves behind that dies between its write and its settle.
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    let now = Time::from(std::time::SystemTime::now());
    let org = ledger.orgs().await.unwrap()[0].facts.id;
    let fence = ledger.lease(Lane::Org(org), "dead", now, Duration::from_secs(30)).await.unwrap().unwrap();
    let datadog_team = world.datadog_teams().await["brief"].clone();
    let key = ConnectionKey::new(datadog_team.as_str().into(), &GithubHandle::new("acme", "brief"));
    let team_id = Some(TeamId(team["id"].as_i64().unwrap()));
    let intent = Intended { kind: IntentKind::Create, key, team: team_id, written: None };
    ledger.intend(org, fence, &[intent], "teamlink", now).await.unwrap();
    ledger.release(Lane::Org(org), fence).await.unwrap();
    let connection = json!({"data": [{
        "type": "team_connection",
        "attributes": {"source": "github", "managed_by": "teamlink"},
        "relationships": {
            "team": {"data": {"type": "team", "id": datadog_team}},
            "connected_team": {"data": {"type": "github_team", "id": "@acme/brief"}},
        },
    }]});
    world.datadog(Method::POST, "/api/v2/team/connections", connection).await;

    // Gone before anybody looks again.
    world.github(Method::DELETE, "/orgs/acme/teams/brief", Value::Null).await;
    world.start().await;
    // Nobody answered the create: until it can arrive no more, its removal waits.
    world.becomes(&expected, Duration::from_secs(60)).await;
    world.stop().await;
}
