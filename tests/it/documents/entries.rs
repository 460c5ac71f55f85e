//! Entries that somebody puts back, entries that Datadog rejects, and entries that it drops: each concerns itself alone.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    documents::{become_, config, names, put, puts, repo, repositories, repository, set},
    eventually,
    world::{World, text},
};

async fn audit(world: &World) -> String {
    text(&world.teamlink(&["audit"]).await)
}

/// How often the audit trail says so.
async fn audited(world: &World, what: &str) -> usize {
    audit(world).await.matches(what).count()
}

/// PUTs with the entry of `bad` meet this.
async fn poison(world: &World, mut fault: Value) {
    fault["method"] = json!("PUT");
    fault["path"] = json!("/api/v2/idp/*");
    fault["contains"] = json!("\"bad\"");
    world.faults(json!([fault])).await;
}

fn rejection() -> Value {
    let error =
        json!({"status": "400", "title": "Bad Request", "detail": "repository acme/bad is not known"});
    json!({"status": 400, "body": {"errors": [error]}})
}

/// `acme` with a repository less than its document has, because a person wrote what they had read before.
async fn put_back() -> (World, Value) {
    let world = repositories(&["app", "lib"], &[]).await;
    world.pass().await;
    let mut open = config(&world, "github").await;
    repo(&world, "lib", json!({"archived": true})).await;
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app"]));
    open["enabled_repos"].as_array_mut().unwrap().push(repository("by-hand"));
    put(&world, "github", &open).await;
    (world, open)
}

#[tokio::test]
async fn a_removal_that_somebody_undid_unknowingly_is_made_once_more_and_then_the_entry_is_theirs() {
    let (world, open) = put_back().await;
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app", "by-hand"]), "their own entry stays");
    put(&world, "github", &open).await;
    let sent = puts(&world).await.len();
    for _ in 0..2 {
        world.pass().await;
        assert_eq!(names(&world).await, set(&["app", "by-hand", "lib"]));
    }
    assert_eq!(puts(&world).await.len(), sent);
    let told = "put_back_by_others 127.0.0.1/acme/lib = integration:github: done";
    assert_eq!(audited(&world, told).await, 1, "{}", audit(&world).await);
    // Nor does a wish that ends make it ours.
    repo(&world, "lib", json!({"archived": false})).await;
    world.pass().await;
    repo(&world, "lib", json!({"archived": true})).await;
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app", "by-hand", "lib"]));
}

#[tokio::test]
async fn a_document_is_read_again_after_a_put_without_any_event() {
    let mut world = repositories(&["app", "lib"], &[]).await;
    world.start().await;
    world.pass().await;
    let open = config(&world, "github").await;
    repo(&world, "lib", json!({"archived": true})).await;
    become_(&world, &["app"]).await;
    let asked = requests(&world).await;
    put(&world, "github", &open).await;
    become_(&world, &["app"]).await;
    world.stop().await;
    assert!(asked < requests(&world).await, "a removal needs GitHub's word");
    assert_eq!(audited(&world, "somebody put it back").await, 1, "{}", audit(&world).await);
}

/// What GitHub was asked.
async fn requests(world: &World) -> usize {
    let all = world.requests(0).await;
    all.iter()
        .filter(|it| it["method"] == "GET" && !it["path"].as_str().unwrap().starts_with("/api/"))
        .count()
}

#[tokio::test]
async fn one_entry_that_datadog_rejects_blocks_no_other() {
    let mut world = repositories(&["app", "lib", "old"], &[]).await;
    world.pass().await;
    world.start().await;
    poison(&world, rejection()).await;
    for name in ["bad", "good"] {
        world.github(Method::POST, "/orgs/acme/repos", json!({"name": name})).await;
    }
    become_(&world, &["app", "good", "lib", "old"]).await;
    repo(&world, "old", json!({"archived": true})).await;
    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "later"})).await;
    become_(&world, &["app", "good", "later", "lib"]).await;
    let parked = async || text(&world.teamlink(&["parked", "list"]).await);
    let said = parked().await;
    for part in ["add_entry", "127.0.0.1/acme/bad", "repository acme/bad is not known"] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    assert!(!said.contains("127.0.0.1/acme/good"), "{said}");
    world.faults(json!([])).await;
    world.pass().await;
    eventually("what was parked", "nothing is parked that matches\n".to_owned(), parked).await;
    assert_eq!(names(&world).await, set(&["app", "bad", "good", "later", "lib"]));
    world.stop().await;
}

#[tokio::test]
async fn a_hundred_good_entries_beside_a_bad_one_cost_few_puts() {
    let many: Vec<String> = (0..100).map(|n| format!("repo-{n}")).collect();
    let mut all: Vec<&str> = many.iter().map(String::as_str).collect();
    let world = repositories(&["app"], &[]).await;
    world.pass().await;
    let before = puts(&world).await.len();
    poison(&world, rejection()).await;
    for name in all.iter().chain(&["bad"]) {
        world.github(Method::POST, "/orgs/acme/repos", json!({"name": name})).await;
    }
    world.pass().await;
    all.push("app");
    assert_eq!(names(&world).await, set(&all));
    let sent = puts(&world).await.len() - before;
    assert!(sent <= 15, "{sent} PUTs");
}

#[tokio::test]
async fn an_entry_that_datadog_drops_is_parked_and_neither_sent_for_ever_nor_ours() {
    let mut world = repositories(&["app"], &[]).await;
    world.pass().await;
    world.start().await;
    let before = puts(&world).await.len();
    poison(&world, json!({"drops": "\"bad\""})).await;
    for name in ["bad", "good"] {
        world.github(Method::POST, "/orgs/acme/repos", json!({"name": name})).await;
    }
    become_(&world, &["app", "good"]).await;
    let parked = async || {
        let said = text(&world.teamlink(&["parked", "list"]).await);
        said.contains("Datadog accepted the PUT and left 127.0.0.1/acme/bad out")
    };
    eventually("the entry is parked", true, parked).await;
    for number in 0..5 {
        world.github(Method::POST, "/orgs/acme/repos", json!({"name": format!("more-{number}")})).await;
    }
    become_(&world, &["app", "good", "more-0", "more-1", "more-2", "more-3", "more-4"]).await;
    world.stop().await;
    let sent = puts(&world).await.len() - before;
    assert!(sent <= 7, "{sent} PUTs for 7 entries");
    assert_eq!(audited(&world, "add_entry 127.0.0.1/acme/bad = integration:github: done").await, 0);
    // A person adds what we could not: it is theirs, and stays when it is wanted no longer.
    world.faults(json!([])).await;
    let mut by_hand = config(&world, "github").await;
    by_hand["enabled_repos"].as_array_mut().unwrap().push(repository("bad"));
    put(&world, "github", &by_hand).await;
    repo(&world, "bad", json!({"archived": true})).await;
    world.pass().await;
    assert!(names(&world).await.contains("bad"));
}
