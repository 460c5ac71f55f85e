//! `teamlink integrations put` beside a daemon that keeps the same document.

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::sandbox;

use crate::support::{
    documents::{become_, config, names, puts, repo, repositories, repository, set},
    eventually,
    world::{World, text},
};

/// The document with one entry more, in a file.
async fn with(world: &World, name: &str) -> String {
    let mut config = config(world, "github").await;
    config["enabled_repos"].as_array_mut().unwrap().push(repository(name));
    world.file("github.json", &config.to_string())
}

async fn put(world: &World, file: &str) -> (Option<i32>, String) {
    let output = world.teamlink(&["integrations", "put", "github", "--file", file, "--yes"]).await;
    (output.status.code(), text(&output))
}

/// How often the document was read.
async fn reads(world: &World) -> usize {
    let of = |it: &&Value| it["method"] == "GET" && it["path"].as_str().unwrap().starts_with("/api/v2/idp/");
    world.requests(0).await.iter().filter(of).count()
}

#[tokio::test]
async fn a_person_and_a_daemon_do_not_write_at_the_same_time() {
    let mut world = repositories(&["app"], &[]).await;
    world.pass().await;
    world.start().await;
    let file = with(&world, "by-hand").await;
    // The last read before the daemon's PUT is answered late.
    let read = json!({"method": "GET", "path": "/api/v2/idp/*", "times": 1});
    let mut late = read.clone();
    late["latency_ms"] = json!(3_000);
    world.faults(json!([read, late])).await;
    let before = reads(&world).await;
    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "new"})).await;
    eventually("the daemon reads for its PUT", true, async || reads(&world).await >= before + 2).await;
    let (code, said) = put(&world, &file).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("changed since it was shown; nothing was written"), "{said}");
    assert_eq!(names(&world).await, set(&["app", "new"]), "the daemon came first");
    let file = with(&world, "by-hand").await;
    let (code, said) = put(&world, &file).await;
    assert_eq!((code, said.contains("written, and read back")), (Some(0), true), "{said}");
    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "later"})).await;
    become_(&world, &["app", "by-hand", "later", "new"]).await;
    world.stop().await;
    let audit = text(&world.teamlink(&["audit"]).await);
    assert!(audit.contains("a person replaced the document"), "{audit}");
}

#[tokio::test]
async fn what_a_person_puts_back_by_hand_is_not_removed_once_more() {
    let world = repositories(&["app", "lib"], &[]).await;
    world.pass().await;
    repo(&world, "lib", json!({"archived": true})).await;
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app"]));
    let file = with(&world, "lib").await;
    assert_eq!(put(&world, &file).await.0, Some(0));
    let sent = puts(&world).await.len();
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app", "lib"]));
    assert_eq!(puts(&world).await.len(), sent);
}

#[tokio::test]
async fn a_document_of_another_datadog_organisation_is_not_replaced_by_hand() {
    let world = repositories(&["app"], &[]).await;
    world.pass().await;
    world.pass().await;
    let file = with(&world, "by-hand").await;
    let other = json!({"data": {"id": "x", "type": "entity_integration_configs", "attributes": {
        "integration_id": "github", "org_id": 7, "config": {"enabled_repos": []},
    }}});
    world.faults(json!([{"method": "GET", "path": "/api/v2/idp/*", "body": other}])).await;
    let (code, said) = put(&world, &file).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the keys belong to Datadog organisation 7"), "{said}");
    assert_eq!(puts(&world).await.len(), 1);
}

#[tokio::test]
async fn with_keys_of_an_organisation_that_has_no_such_document_nothing_is_written() {
    let mut world = repositories(&["app"], &[]).await;
    world.pass().await;
    let options = sandbox::Options { seed: 8, datadog_org: 7, ..Default::default() };
    let other = sandbox::start(options).await.unwrap();
    world.set(&[("TEAMLINK_DATADOG__BASE_URL", &other.url())]);
    let written = async || {
        let url = format!("{}/_sandbox/requests", other.url());
        let all: Value = world.http.get(url).send().await.unwrap().json().await.unwrap();
        all.as_array().unwrap().iter().filter(|it| it["method"] != "GET").count()
    };
    // The other organisation has no document, so no answer names its id.
    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "new"})).await;
    let sync = world.teamlink(&["sync"]).await;
    assert_ne!(sync.status.code(), Some(0), "{}", text(&sync));
    assert!(text(&sync).contains("teamlink ledger rebind"), "{}", text(&sync));
    let file = world.file("github.json", &json!({"enabled_repos": [repository("app")]}).to_string());
    let (code, said) = put(&world, &file).await;
    assert!(code == Some(1) && said.contains("(Organisation 7)"), "{said}");
    assert_eq!(written().await, 0);
}

#[tokio::test]
async fn without_a_ledger_a_document_is_replaced_after_a_warning() {
    let world = World::new(0, &[]).await;
    let file = world.file("github.json", &json!({"enabled_repos": [repository("app")]}).to_string());
    let (code, said) = put(&world, &file).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning: no ledger was found"), "{said}");
}
