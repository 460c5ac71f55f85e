//! GitHub as it answers: teams, pages, ETags, credentials.

use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::*;

#[tokio::test]
async fn teams_live_through_create_rename_and_delete() {
    let world = acme(0).await;
    let team = world.write("POST", "/orgs/acme/teams", json!({"name": "My TEam Näme"})).await;
    assert_eq!((&team["slug"], &team["privacy"]), (&json!("my-team-name"), &json!("secret")));
    let by_id = format!("/organizations/{}/team/{}", team["organization"]["id"], team["id"]);
    assert_eq!(world.get(&by_id).await.body["slug"], "my-team-name");
    world.write("PATCH", "/orgs/acme/teams/my-team-name", json!({"name": "Core"})).await;
    assert_eq!(world.get("/orgs/acme/teams/my-team-name").await.status, 404);
    assert_eq!(world.get(&by_id).await.body["slug"], "core");
    world.write("DELETE", "/orgs/acme/teams/core", Value::Null).await;
    let gone = world.get(&by_id).await;
    assert_eq!(
        (gone.status, &gone.body["message"], &gone.body["status"]),
        (404, &json!("Not Found"), &json!("404"))
    );
    let again = world.write("POST", "/orgs/acme/teams", json!({"name": "Core"})).await;
    assert!(again["id"].as_u64() > team["id"].as_u64());
}

#[tokio::test]
async fn a_name_whose_slug_is_taken_is_refused() {
    let world = acme(1).await;
    let answer = world.ask("POST", "/orgs/acme/teams", json!({"name": "TEAM 1!"})).await;
    assert_eq!((answer.status, &answer.body["errors"][0]["field"]), (422, &json!("name")));
    assert_eq!(world.ask("POST", "/orgs/acme/teams", json!({})).await.status, 422);
    world.write("POST", "/orgs/acme/teams", json!({"name": "Other"})).await;
    assert_eq!(world.ask("PATCH", "/orgs/acme/teams/other", json!({"name": "team-1"})).await.status, 422);
}

#[tokio::test]
async fn a_team_cannot_be_its_own_ancestor() {
    let world = acme(2).await;
    let id = async |slug: &str| world.get(&format!("/orgs/acme/teams/{slug}")).await.body["id"].clone();
    world.write("PATCH", "/orgs/acme/teams/team-2", json!({"parent_team_id": id("team-1").await})).await;
    let answer =
        world.ask("PATCH", "/orgs/acme/teams/team-1", json!({"parent_team_id": id("team-2").await})).await;
    assert_eq!(answer.status, 422);
}

#[tokio::test]
async fn lists_come_in_pages_with_links() {
    let world = acme(250).await;
    let mut path = "/orgs/acme/teams?per_page=1000".to_owned();
    let mut slugs = Vec::new();
    for _ in 0..10 {
        let page = world.get(&path).await;
        slugs.extend(fields(&page.body, "slug"));
        let links = page.headers["link"].to_str().unwrap().to_owned();
        let Some(next) = links.split(", ").find(|link| link.ends_with("rel=\"next\"")) else {
            assert!(links.contains("rel=\"prev\"") && links.contains("rel=\"first\""), "{links}");
            break;
        };
        assert!(links.contains("page=3>; rel=\"last\""), "{links}");
        let url = next.split(['<', '>']).nth(1).unwrap();
        path = url.strip_prefix(&world.sandbox.url()).unwrap().to_owned();
    }
    let mut unique = slugs.clone();
    unique.sort();
    unique.dedup();
    assert_eq!((slugs.len(), unique.len()), (250, 250));
    assert_eq!(world.get("/orgs/acme/teams").await.body.as_array().unwrap().len(), 30);
    assert!(!world.get("/orgs/acme/repos").await.headers.contains_key("link"));
}

#[tokio::test]
async fn a_known_etag_is_answered_with_304_until_something_changes() {
    let world = acme(1).await;
    let etag = world.get("/orgs/acme/teams/team-1").await.headers["etag"].clone();
    let again = || answer(world.request("GET", "/orgs/acme/teams/team-1").header("if-none-match", &etag));
    let unchanged = again().await;
    assert_eq!((unchanged.status, unchanged.body), (304, Value::Null));
    world.write("PATCH", "/orgs/acme/teams/team-1", json!({"description": "new"})).await;
    assert_eq!(again().await.status, 200);
}

#[tokio::test]
async fn github_wants_credentials_and_counts_what_is_left() {
    let world = acme(0).await;
    let bare = reqwest::Client::builder().no_proxy().build().unwrap();
    let refused = answer(bare.get(world.sandbox.url() + "/orgs/acme")).await;
    assert_eq!((refused.status, &refused.body["message"]), (401, &json!("Requires authentication")));
    assert!(refused.headers.contains_key("x-ratelimit-remaining"));
    assert_eq!(world.get("/user").await.body["login"], "sandbox-admin");
    assert_eq!(world.get("/user/memberships/orgs/acme").await.body["role"], "admin");
}

#[tokio::test]
async fn an_installation_token_is_nobodys() {
    let world = acme(0).await;
    let installation = world.get("/orgs/acme/installation").await.body["id"].to_string();
    assert_eq!(fields(&world.get("/app/installations").await.body, "id"), [installation.as_str()]);
    let path = format!("/app/installations/{installation}/access_tokens");
    let token = world.write("POST", &path, Value::Null).await["token"].as_str().unwrap().to_owned();
    let ask = |path| answer(world.request("GET", path).header("authorization", format!("Bearer {token}")));
    assert_eq!(ask("/orgs/acme/teams").await.status, 200);
    assert_eq!(ask("/user/memberships/orgs/acme").await.status, 403);
    assert_eq!(world.ask("POST", "/app/installations/5/access_tokens", Value::Null).await.status, 404);
}

#[tokio::test]
async fn an_app_signs_with_its_own_id_and_reads_only_where_it_is_installed() {
    let world = acme(1).await;
    let other = json!({"orgs": [{"login": "other", "teams": [{"name": "Theirs"}]}]});
    answer(world.request("POST", "/_sandbox/seed").json(&other)).await;
    let with = |method: &str, path: &str, credential: &str| {
        answer(world.request(method, path).header("authorization", format!("Bearer {credential}")))
    };
    // Header, claims, and a signature that nobody looks at.
    let jwt = |claims: &str| format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims =
        |issuer: u64, issued: u64, ends: u64| json!({"iss": issuer, "iat": issued, "exp": ends}).to_string();
    let app = jwt(&claims(1, now - 60, now + 300));
    assert_eq!(with("GET", "/app", &app).await.status, 200);
    let (of_another, over) = (claims(2, now - 60, now + 300), claims(1, now - 600, now - 300));
    let (too_long, not_yet) = (claims(1, now - 60, now + 3600), claims(1, now + 300, now + 500));
    for wrong in [of_another.as_str(), &over, &too_long, &not_yet, "{}", "no claims"] {
        assert_eq!(with("GET", "/app", &jwt(wrong)).await.status, 401, "{wrong}");
    }

    let installation = with("GET", "/orgs/acme/installation", &app).await.body["id"].to_string();
    let path = format!("/app/installations/{installation}");
    let given = with("POST", &format!("{path}/access_tokens"), &app).await;
    let token = given.body["token"].as_str().unwrap().to_owned();
    assert_eq!(with("GET", "/orgs/acme/teams", &token).await.status, 200);
    assert_eq!(with("GET", "/orgs/other/teams", &token).await.status, 403);

    assert_eq!(with("PUT", &format!("{path}/suspended"), &app).await.status, 204);
    assert!(with("GET", &path, &app).await.body["suspended_at"].is_string());
    assert_eq!(with("GET", "/orgs/acme/teams", &token).await.status, 403);
    let refused = with("POST", &format!("{path}/access_tokens"), &app).await;
    assert_eq!(
        (refused.status, &refused.body["message"]),
        (403, &json!("This installation has been suspended"))
    );
    assert_eq!(with("DELETE", &format!("{path}/suspended"), &app).await.status, 204);
    assert_eq!(with("GET", "/orgs/acme/teams", &token).await.status, 200);

    assert_eq!(with("DELETE", &path, &app).await.status, 204);
    assert_eq!(with("GET", "/orgs/acme/teams", &token).await.status, 401);
    assert_eq!(with("GET", "/orgs/acme/installation", &app).await.status, 404);
    assert_eq!(fields(&with("GET", "/app/installations", &app).await.body, "app_slug").len(), 1);
}
