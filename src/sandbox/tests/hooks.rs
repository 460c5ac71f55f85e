//! GitHub as it tells: which webhooks follow which change, how they are signed and sent.

use super::*;
use crate::sandbox::hooks::signature;

#[tokio::test]
async fn a_parent_takes_its_descendants_along_and_only_it_is_announced() {
    let (url, mut inbox) = receiver(&[]).await;
    let world = world_of(Options { webhook_url: Some(url), ..Options::default() }).await;
    let teams = json!([{"name": "Top"}, {"name": "Middle", "parent": "Top"}, {"name": "Leaf", "parent": "middle"}, {"name": "Alone"}]);
    world.write("POST", "/_sandbox/seed", json!({"orgs": [{"login": "acme", "teams": teams}]})).await;
    assert_eq!(world.get("/orgs/acme/teams/leaf").await.body["parent"]["slug"], "middle");
    world.write("DELETE", "/orgs/acme/teams/top", Value::Null).await;
    world.write("PATCH", "/orgs/acme/teams/alone", json!({"description": "d"})).await;
    assert_eq!(world.slugs().await, ["alone"]);
    let (first, second) = (next(&mut inbox).await, next(&mut inbox).await);
    assert_eq!(
        (first.0.as_str(), &first.1["action"], &first.1["team"]["slug"]),
        ("team", &json!("deleted"), &json!("top"))
    );
    assert_eq!((second.0.as_str(), &second.1["changes"]), ("team", &json!({"description": {"from": null}})));
}

#[tokio::test]
async fn a_renamed_organisation_is_known_by_its_new_login_only() {
    let (url, mut inbox) = receiver(&[]).await;
    let world = acme(1).await;
    let hook = json!({"config": {"url": url, "content_type": "json"}});
    world.write("POST", "/orgs/acme/hooks", hook).await;
    let org = world.write("PATCH", "/orgs/acme", json!({"login": "Globex"})).await;
    assert_eq!(world.get("/orgs/acme/teams").await.status, 404);
    assert_eq!(world.get("/orgs/globex/teams").await.body.as_array().unwrap().len(), 1);
    assert_eq!(world.get(&format!("/organizations/{}", org["id"])).await.body["login"], "Globex");
    world.write("DELETE", "/orgs/globex", Value::Null).await;
    assert_eq!(world.get(&format!("/organizations/{}", org["id"])).await.status, 404);
    assert_eq!(next(&mut inbox).await.0, "ping");
    let (renamed, deleted) = (next(&mut inbox).await, next(&mut inbox).await);
    assert_eq!(
        (&renamed.1["action"], &renamed.1["changes"]),
        (&json!("renamed"), &json!({"login": {"from": "acme"}}))
    );
    assert_eq!((deleted.0.as_str(), &deleted.1["action"]), ("organization", &json!("deleted")));
    assert_eq!(deleted.1["organization"]["id"], org["id"]);
}

#[tokio::test]
async fn repositories_tell_of_each_change_and_transfers_are_told_to_the_receiver() {
    let (url, mut inbox) = receiver(&[]).await;
    let world = world_of(Options { webhook_url: Some(url), ..Options::default() }).await;
    world
        .write(
            "POST",
            "/_sandbox/seed",
            json!({"orgs": [{"login": "acme", "teams": [{"name": "Core"}]}, {"login": "globex"}]}),
        )
        .await;
    world.write("POST", "/orgs/acme/repos", json!({"name": "App", "private": true})).await;
    world.write("PUT", "/orgs/acme/teams/core/repos/acme/app", json!({"permission": "push"})).await;
    world.write("PUT", "/orgs/acme/teams/core/repos/acme/app", json!({"permission": "admin"})).await;
    assert_eq!(world.get("/orgs/acme/teams/core/repos").await.body[0]["role_name"], "admin");
    world
        .write(
            "PATCH",
            "/repos/acme/app",
            json!({"name": "Web", "archived": true, "private": false, "description": "d"}),
        )
        .await;
    let moved = world.get("/repos/acme/app").await;
    assert_eq!(moved.status, 301);
    assert_eq!(world.get(moved.headers["location"].to_str().unwrap()).await.body["name"], "Web");
    world.write("POST", "/repos/acme/web/transfer", json!({"new_owner": "globex"})).await;
    assert_eq!(world.get("/orgs/acme/teams/core/repos/globex/web").await.status, 404);
    world.write("DELETE", "/repos/globex/web", Value::Null).await;
    let mut heard = Vec::new();
    for _ in 0..10 {
        let (event, body) = next(&mut inbox).await;
        let action = body["action"].as_str().unwrap_or("-");
        heard.push(format!("{event} {action} {}", body["organization"]["login"].as_str().unwrap()));
        if action == "transferred" {
            assert_eq!(body["changes"]["owner"]["from"]["organization"]["login"], "acme");
        }
    }
    assert_eq!(
        heard,
        [
            "repository created acme",
            "team added_to_repository acme",
            "team_add - acme",
            "team edited acme",
            "repository renamed acme",
            "repository archived acme",
            "repository publicized acme",
            "repository edited acme",
            "repository transferred globex",
            "repository deleted globex",
        ]
    );
}

#[tokio::test]
async fn memberships_are_told_and_a_deleted_teams_members_without_its_slug() {
    let (url, mut inbox) = receiver(&[]).await;
    let world = world_of(Options {
        org: Some("acme".into()),
        teams: 1,
        webhook_url: Some(url),
        ..Options::default()
    })
    .await;
    world.write("PUT", "/orgs/acme/teams/team-1/memberships/Ada", json!({"role": "maintainer"})).await;
    assert_eq!(world.get("/orgs/acme/teams/team-1/memberships/ada").await.body["role"], "maintainer");
    assert_eq!(fields(&world.get("/orgs/acme/teams/team-1/members").await.body, "login"), ["Ada"]);
    world.write("DELETE", "/orgs/acme/teams/team-1", Value::Null).await;
    let (added, deleted, removed) = (next(&mut inbox).await, next(&mut inbox).await, next(&mut inbox).await);
    assert_eq!((added.0.as_str(), &added.1["member"]["login"]), ("membership", &json!("Ada")));
    assert_eq!(deleted.0, "team");
    let team = &removed.1["team"];
    assert_eq!((removed.0.as_str(), &team["deleted"], team.get("slug")), ("membership", &json!(true), None));
}

#[tokio::test]
async fn webhooks_are_signed_ordered_and_tried_once() {
    let (url, mut inbox) = receiver(&[200, 500]).await;
    let options = Options { webhook_url: Some(url), webhook_secret: Some("s3".into()), ..Options::default() };
    let world = world_of(options).await;
    world.write("POST", "/_sandbox/seed", json!({"orgs": [{"login": "acme"}]})).await;
    for number in 0..20 {
        world.write("POST", "/orgs/acme/teams", json!({"name": format!("T{number}")})).await;
    }
    let mut guids = Vec::new();
    for number in 0..20 {
        let (headers, body) = inbox.recv().await.unwrap();
        assert_eq!(headers["x-hub-signature-256"], signature("s3", &body));
        let event: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(event["team"]["name"], format!("T{number}"));
        assert!(event["organization"]["id"].is_u64() && event["sender"]["login"].is_string());
        guids.push(uuid::Uuid::parse_str(headers["x-github-delivery"].to_str().unwrap()).unwrap());
    }
    guids.sort();
    guids.dedup();
    assert_eq!(guids.len(), 20);
    let webhooks = loop {
        let stats = world.get("/_sandbox/stats").await.body["webhooks"].clone();
        if stats["pending"] == 0 {
            break stats;
        }
    };
    assert_eq!((&webhooks["sent"], &webhooks["failed"]), (&json!(19), &json!(1)));
    assert!(inbox.is_empty());
}

#[tokio::test]
async fn a_registered_hook_may_want_forms_and_some_events_only() {
    let (url, mut inbox) = receiver(&[]).await;
    let world = acme(0).await;
    let hook = json!({"config": {"url": url, "secret": "s", "content_type": "form"}, "events": ["team"]});
    let id = world.write("POST", "/orgs/acme/hooks", hook).await["id"].clone();
    world.write("POST", "/orgs/acme/repos", json!({"name": "quiet"})).await;
    world.write("POST", "/orgs/acme/teams", json!({"name": "Core"})).await;
    for event in ["ping", "team"] {
        let (headers, body) = inbox.recv().await.unwrap();
        assert_eq!(headers["x-github-event"], event);
        assert_eq!(headers["x-github-hook-id"], id.to_string());
        assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(headers["x-hub-signature-256"], signature("s", &body));
        let (name, payload) = form_urlencoded::parse(&body).next().unwrap();
        assert_eq!(name, "payload");
        assert!(serde_json::from_str::<Value>(&payload).unwrap()["organization"].is_object());
    }
    world.write("DELETE", &format!("/orgs/acme/hooks/{id}"), Value::Null).await;
    assert_eq!(world.get("/orgs/acme/hooks").await.body, json!([]));
}

#[tokio::test]
async fn bodies_have_every_field_of_real_ones() {
    let (url, mut inbox) = receiver(&[]).await;
    let world = acme(0).await;
    world.write("POST", "/orgs/acme/hooks", json!({"config": {"url": url, "content_type": "json"}})).await;
    world.write("POST", "/orgs/acme/teams", json!({"name": "Core"})).await;
    world.write("PUT", "/orgs/acme/teams/core/memberships/ada", Value::Null).await;
    world.write("PUT", "/orgs/acme/teams/core/repos/acme/repo-1", Value::Null).await;
    world.write("PATCH", "/orgs/acme/teams/core", json!({"name": "Heart"})).await;
    world.write("DELETE", "/orgs/acme/teams/heart/memberships/ada", Value::Null).await;
    world.write("DELETE", "/orgs/acme/teams/heart", Value::Null).await;
    for example in [
        "ping/with-organization",
        "team/created",
        "membership/added",
        "team/added_to_repository",
        "team/edited",
        "membership/removed",
        "team/deleted",
    ] {
        let text = std::fs::read_to_string(format!("tests/payloads/{example}.payload.json")).unwrap();
        let (mut event, mut body) = next(&mut inbox).await;
        if event == "team_add" {
            // Told along with `team.added_to_repository`; there is no example of it.
            (event, body) = next(&mut inbox).await;
        }
        assert!(example.starts_with(&event), "{event} instead of {example}");
        lacks_nothing(&serde_json::from_str(&text).unwrap(), &body, example);
    }
}

/// Fails unless each field of the example is in the body too. Only apps have an `installation`; `created_at` and
/// `updated_at` of a hook are left out.
fn lacks_nothing(example: &Value, body: &Value, at: &str) {
    for (name, value) in example.as_object().into_iter().flatten() {
        if !["installation", "created_at", "updated_at"].contains(&name.as_str()) {
            assert!(body.get(name).is_some(), "{at} lacks {name}");
            lacks_nothing(value, &body[name], &format!("{at}.{name}"));
        }
    }
}

#[tokio::test]
async fn only_an_app_hears_that_it_was_suspended_or_removed() {
    let (everybodys, mut app) = receiver(&[]).await;
    let (of_org, mut org) = receiver(&[]).await;
    let options = Options { webhook_url: Some(everybodys), org: Some("acme".into()), ..Options::default() };
    let world = world_of(options).await;
    let hook = json!({"config": {"url": of_org, "content_type": "json"}});
    world.write("POST", "/orgs/acme/hooks", hook).await;
    let installation = world.get("/orgs/acme/installation").await.body;
    let path = format!("/app/installations/{}", installation["id"]);
    world.write("PUT", &format!("{path}/suspended"), Value::Null).await;
    world.write("DELETE", &format!("{path}/suspended"), Value::Null).await;
    world.write("DELETE", &path, Value::Null).await;
    world.write("POST", "/orgs/acme/teams", json!({"name": "Last"})).await;
    let mut heard = Vec::new();
    loop {
        let (event, body) = next(&mut app).await;
        if event == "team" {
            break;
        }
        if event == "installation" {
            assert_eq!(body["installation"]["account"]["id"], installation["account"]["id"]);
            heard.push(body["action"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(heard, ["suspend", "unsuspend", "deleted"]);
    assert_eq!([next(&mut org).await.0, next(&mut org).await.0], ["ping", "team"]);
}
