//! Rate limits that are enforced, lists that miscount, teams of an enterprise, and requests outside of all that.

use super::*;

/// Status, remaining requests, and the end of the window as the headers tell them.
fn limit(answer: &Answer) -> (u16, u64, u64) {
    let number = |name: &str| answer.headers[name].to_str().unwrap().parse().unwrap();
    (answer.status, number("x-ratelimit-remaining"), number("x-ratelimit-reset"))
}

#[tokio::test]
async fn a_limit_refuses_what_is_above_it_and_tells_when_its_window_ends() {
    let world = acme(1).await;
    // No window ends while the test runs.
    let (seconds, ends) = (10_000_000_000_u64, 10_000_000_000_u64);
    let limits = json!({
        "github": {"requests": 2, "seconds": seconds, "status": 403},
        "datadog": {"requests": 1, "seconds": seconds},
    });
    world.write("PUT", "/_sandbox/limits", limits).await;
    let first = world.get("/orgs/acme").await;
    assert_eq!(limit(&first), (200, 1, ends));
    // What a caller has already is free at GitHub.
    let again = world.request("GET", "/orgs/acme").header("if-none-match", first.headers["etag"].clone());
    assert_eq!(limit(&answer(again).await), (304, 1, ends));
    assert_eq!(limit(&world.get("/orgs/acme/teams").await), (200, 0, ends));
    let refused = world.get("/orgs/acme").await;
    assert_eq!(limit(&refused), (403, 0, ends));
    assert!(refused.body["message"].as_str().unwrap().contains("rate limit"));
    let told = world.get("/api/v2/team").await;
    assert_eq!((limit(&told).0, limit(&told).1), (200, 0));
    assert_eq!(told.headers["x-ratelimit-period"], seconds.to_string());
    let refused = world.get("/api/v2/team").await;
    assert_eq!((limit(&refused).0, limit(&refused).1), (429, 0));
    assert!(limit(&refused).2 > 1_000_000, "{:?}", refused.headers);
    // The world goes on without us, and a limit can be lifted.
    let exempt = world.request("POST", "/orgs/acme/teams").header("x-sandbox-exempt", "1");
    assert_eq!(answer(exempt.json(&json!({"name": "Core"}))).await.status, 201);
    world.write("PUT", "/_sandbox/limits", json!({})).await;
    assert_eq!(world.slugs().await, ["core", "team-1"]);
    let wrong = world.ask("PUT", "/_sandbox/limits", json!({"github": {"requests": 1, "seconds": 0}})).await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn an_exempt_request_meets_no_fault_and_leaves_no_trace() {
    let world = acme(1).await;
    world.faults(json!([{"path": "*", "status": 500, "times": 1}])).await;
    let exempt = world.request("GET", "/orgs/acme").header("x-sandbox-exempt", "1");
    assert_eq!(answer(exempt).await.status, 200);
    assert_eq!(world.get("/orgs/acme").await.status, 500);
    assert_eq!(world.get("/_sandbox/requests").await.body.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_total_can_be_wrong_while_the_items_are_right() {
    let world = acme(3).await;
    world
        .faults(json!([{"path": "/api/v2/team", "total_off": -1}, {"path": "/api/*", "total_off": 2}]))
        .await;
    let teams = world.get("/api/v2/team?page[size]=100").await.body;
    let count = teams["data"].as_array().unwrap().len();
    assert_eq!((count, &teams["meta"]["pagination"]["total"]), (3, &json!(2)));
    let connections = world.get("/api/v2/team/connections").await.body;
    assert_eq!((&connections["data"], &connections["meta"]["page"]["total"]), (&json!([]), &json!(2)));
}

#[tokio::test]
async fn a_list_of_full_pages_can_lack_one_team() {
    let world = acme(5).await;
    world.faults(json!([{"path": "/orgs/acme/teams", "lacks": "team-2"}])).await;
    let page = async |number| {
        fields(&world.get(&format!("/orgs/acme/teams?per_page=2&page={number}")).await.body, "slug")
    };
    assert_eq!([page(1).await, page(2).await], [["team-1", "team-3"], ["team-4", "team-5"]]);
    assert_eq!(world.get("/orgs/acme/teams/team-2").await.status, 200);
}

#[tokio::test]
async fn teams_of_the_enterprise_are_listed_and_have_no_path_by_id() {
    let world = acme(1).await;
    let seed = json!({"orgs": [{"login": "acme", "enterprise_teams": [{"name": "All Staff"}]}]});
    let seeded = world.write("POST", "/_sandbox/seed", seed).await;
    let team = &seeded["orgs"][0]["enterprise_teams"][0];
    assert_eq!(team["slug"], "ent:all-staff");
    let listed = world.get("/orgs/acme/teams").await.body;
    assert_eq!(fields(&listed, "slug"), ["ent:all-staff", "team-1"]);
    assert_eq!(fields(&listed, "type"), ["enterprise", "organization"]);
    assert_eq!((&listed[0]["enterprise_id"], &listed[1]["enterprise_id"]), (&json!(1), &Value::Null));
    let own = world.get("/orgs/acme/teams?team_type=organization").await.body;
    assert_eq!(fields(&own, "slug"), ["team-1"]);
    let org = &seeded["orgs"][0]["id"];
    assert_eq!(world.get(&format!("/organizations/{org}/team/{}", team["id"])).await.status, 404);
    assert_eq!(world.get("/orgs/acme/teams/ent:all-staff").await.status, 200);
    for (method, body) in [("PATCH", json!({"name": "Nobody"})), ("DELETE", Value::Null)] {
        assert_eq!(world.ask(method, "/orgs/acme/teams/ent:all-staff", body).await.status, 422);
    }
}
