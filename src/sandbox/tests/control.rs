//! The control routes and what faults do.

use super::*;

#[tokio::test]
async fn a_made_up_answer_leaves_the_world_alone() {
    let world = acme(1).await;
    world.faults(json!([{"method": "DELETE", "path": "/orgs/*", "status": 502, "times": 1, "headers": {"retry-after": "7"}, "body": "oops"}])).await;
    let refused = world.request("DELETE", "/orgs/acme/teams/team-1").send().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (502, &"7".parse().unwrap()));
    assert_eq!(refused.text().await.unwrap(), "oops");
    assert_eq!(world.slugs().await, ["team-1"]);
    world.write("DELETE", "/orgs/acme/teams/team-1", Value::Null).await;
}

#[tokio::test]
async fn a_cut_connection_hides_that_the_write_took_place() {
    let world = acme(0).await;
    world.faults(json!([{"method": "POST", "path": "/orgs/acme/teams", "reset": true, "times": 1}])).await;
    let cut = world.request("POST", "/orgs/acme/teams").json(&json!({"name": "Core"})).send().await;
    assert!(cut.is_err());
    assert_eq!(world.slugs().await, ["core"]);
    let log = world.get("/_sandbox/requests").await.body;
    assert_eq!(
        (&log[0]["cut"], &log[0]["status"], &log[1]["cut"]),
        (&json!(true), &json!(201), &json!(false))
    );
}

#[tokio::test]
async fn lists_can_be_empty_or_short() {
    let world = acme(5).await;
    world.faults(json!([{"path": "/*", "empty": true}])).await;
    assert_eq!(world.get("/orgs/acme/teams").await.body, json!([]));
    assert_eq!(world.get("/orgs/nobody/teams").await.status, 200);
    let teams = world.get("/api/v2/team?page[size]=2").await.body;
    assert_eq!((&teams["data"], &teams["meta"]["pagination"]["total"]), (&json!([]), &json!(0)));
    world.faults(json!([{"path": "/*", "truncate": true}])).await;
    let page = world.get("/orgs/acme/teams?per_page=4").await;
    assert_eq!(fields(&page.body, "slug"), ["team-1", "team-2"]);
    assert!(!page.headers.contains_key("link"));
    let teams = world.get("/api/v2/team?page[size]=4").await.body;
    assert_eq!(teams["data"].as_array().unwrap().len(), 2);
    assert_eq!((&teams["meta"]["pagination"]["total"], &teams["links"]["next"]), (&json!(5), &Value::Null));
    world.faults(json!([])).await;
    assert_eq!(world.slugs().await.len(), 5);
}

#[tokio::test]
async fn a_stale_read_shows_the_world_as_it_was() {
    let world = acme(1).await;
    world.write("POST", "/orgs/acme/teams", json!({"name": "New"})).await;
    world.write("DELETE", "/orgs/acme/teams/team-1", Value::Null).await;
    // A minute ago there was nothing at all.
    world.faults(json!([{"path": "/orgs/acme/teams*", "stale_ms": 60_000}])).await;
    assert_eq!(world.get("/orgs/acme/teams").await.status, 404);
    // Writes are never stale.
    world.write("PATCH", "/orgs/acme/teams/new", json!({"name": "Newer"})).await;
    world.faults(json!([])).await;
    assert_eq!(world.slugs().await, ["newer"]);
    // A short while later, a short while ago is the same as now.
    world.write("DELETE", "/orgs/acme/teams/newer", Value::Null).await;
    world.faults(json!([{"path": "/orgs/*", "stale_ms": 50}])).await;
    let caught_up = tokio::time::timeout(Duration::from_secs(10), async {
        while world.get("/orgs/acme/teams").await.body != json!([]) {}
    });
    caught_up.await.unwrap();
}

#[tokio::test]
async fn latency_holds_the_answer_back() {
    let world = world_of(Options { latency: Duration::from_millis(60), ..Options::default() }).await;
    world.faults(json!([{"path": "/user", "latency_ms": 60}])).await;
    let started = std::time::Instant::now();
    world.get("/user").await;
    assert!(started.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn a_dropped_webhook_is_lost_while_the_write_stands() {
    let (url, mut inbox) = receiver(&[]).await;
    let world =
        world_of(Options { org: Some("acme".into()), webhook_url: Some(url), ..Options::default() }).await;
    world
        .faults(json!([{"method": "POST", "path": "/orgs/acme/teams", "drop_webhooks": true, "times": 1}]))
        .await;
    for name in ["Silent", "Loud"] {
        world.write("POST", "/orgs/acme/teams", json!({"name": name})).await;
    }
    assert_eq!(next(&mut inbox).await.1["team"]["name"], "Loud");
    assert_eq!(world.slugs().await, ["loud", "silent"]);
}

#[tokio::test]
async fn requests_are_noted_with_fence_and_body_and_counted_by_route() {
    let world = acme(1).await;
    let body = json!({"data": []});
    let request =
        world.request("POST", "/api/v2/team/connections?a=b").header("x-teamlink-fence", "7").json(&body);
    assert_eq!(answer(request).await.status, 400);
    world.get("/orgs/acme/teams/team-1").await;
    let log = world.get("/_sandbox/requests").await.body;
    let (first, second) = (&log[0], &log[1]);
    assert_eq!(first["seq"], 1);
    assert_eq!((&first["fence"], &first["body"], &first["query"]), (&json!("7"), &body, &json!("a=b")));
    assert_eq!(
        (&second["fence"], &second["body"], &second["status"]),
        (&Value::Null, &Value::Null, &json!(200))
    );
    assert!(first["at_us"].as_u64() <= second["at_us"].as_u64());
    assert_eq!(world.get("/_sandbox/requests?since=1").await.body.as_array().unwrap().len(), 1);
    let counts = world.get("/_sandbox/stats").await.body["requests"].clone();
    assert_eq!(counts, json!({"POST /api/v2/team/connections": 1, "GET /orgs/{org}/teams/{slug}": 1}));
}

#[tokio::test]
async fn a_seed_that_cannot_be_is_refused_with_the_reason() {
    let world = acme(0).await;
    for (seed, why) in [
        (
            json!({"orgs": [{"login": "acme", "teams": [{"name": "A"}, {"name": "a"}]}]}),
            "cannot create team \"a\"",
        ),
        (json!({"org": []}), "unknown field `org`"),
    ] {
        let response = world.request("POST", "/_sandbox/seed").json(&seed).send().await.unwrap();
        assert_eq!(response.status(), 400);
        let text = response.text().await.unwrap();
        assert!(text.contains(why), "{text}");
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_world() {
    let look = async |seed| {
        let world =
            world_of(Options { org: Some("acme".into()), teams: 9, seed, ..Options::default() }).await;
        let teams = world.get("/api/v2/team?page[size]=100").await.body["data"].clone();
        let ids = fields(&teams, "id");
        let mut created = Vec::new();
        for id in &ids {
            let item = json!({
                "type": "team_connection",
                "attributes": {"source": "github"},
                "relationships": {
                    "team": {"data": {"id": id, "type": "team"}},
                    "connected_team": {"data": {"id": "@acme/x", "type": "github_team"}},
                },
            });
            let body = world.write("POST", "/api/v2/team/connections", json!({"data": [item]})).await;
            created.push(body["data"][0]["id"].as_str().unwrap().to_owned());
        }
        let listed = fields(&world.get("/api/v2/team/connections").await.body["data"], "id");
        world.sandbox.stop().await.unwrap();
        (ids, created, listed)
    };
    let (first, second, other) = (look(4).await, look(4).await, look(5).await);
    assert_eq!(first, second);
    assert_ne!(first.0, other.0);
    // Neither by id nor by creation.
    let mut by_id = first.2.clone();
    by_id.sort();
    assert_ne!(first.2, by_id);
    assert_ne!(first.2, first.1);
}

#[tokio::test]
async fn what_a_writer_overwrites_unseen_is_counted_with_the_length_of_its_gap() {
    let world = acme(0).await;
    let path = "/api/v2/idp/entity_integrations/github";
    let put = async |agent: &str, names: &[&str]| {
        let repos: Vec<_> = names
            .iter()
            .map(|name| json!({"hostname": "github.com", "github_org_name": "acme", "repo_name": name}))
            .collect();
        let body = json!({"data": {
            "type": "entity_integration_config_requests", "attributes": {"config": {"enabled_repos": repos}},
        }});
        let answer = world.request("PUT", path).header("user-agent", agent).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    };
    put("person", &["one"]).await;
    let seen = world.request("GET", path).header("user-agent", "worker").send().await.unwrap();
    assert_eq!(seen.status().as_u16(), 200);
    put("person", &["one", "two"]).await;
    put("worker", &["one", "three"]).await;
    let stats = world.get("/_sandbox/stats").await.body["integrations"]["github"].clone();
    assert_eq!((&stats["worker"]["overwritten"], &stats["person"]["overwritten"]), (&json!(1), &json!(0)));
    assert!(stats["worker"]["gap_us"]["max"].as_u64().unwrap() > 0, "{stats}");
}
