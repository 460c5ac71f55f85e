//! Reads of a document that lack what was there, and documents that are absent or empty.

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::model::{Asks, Cause, Integration, Target};

use crate::support::{
    documents::{approve_held, become_, config, names, path, put, puts, repo, repositories, repository, set},
    eventually,
    process::Process,
    world::{World, text},
};

/// What a read of the document is answered instead of the truth.
fn lies() -> [(&'static str, Value); 5] {
    let answer = |config: Value| {
        let attributes = json!({"integration_id": "github", "org_id": 321_813, "config": config});
        json!({"body": {"data": {"id": "x", "type": "entity_integration_configs", "attributes": attributes}}})
    };
    [
        (
            "404 in JSON",
            json!({"status": 404, "body": {"errors": [{"status": "404", "title": "Not Found"}]}}),
        ),
        ("404 of something between", json!({"status": 404, "body": "<html>404 Not Found</html>"})),
        ("no list", answer(json!({}))),
        ("null", answer(json!({"enabled_repos": null}))),
        ("an empty list", answer(json!({"enabled_repos": []}))),
    ]
}

/// GitHub's document with these entries alone.
fn only(names: &[&str]) -> Value {
    let entries: Vec<Value> = names.iter().map(|name| repository(name)).collect();
    let attributes =
        json!({"integration_id": "github", "org_id": 321_813, "config": {"enabled_repos": entries}});
    json!({"body": {"data": {"id": "x", "type": "entity_integration_configs", "attributes": attributes}}})
}

async fn lie(world: &World, lie: &Value, times: Option<u32>) {
    let mut fault = json!({"method": "GET", "path": "/api/v2/idp/*"});
    for (name, value) in lie.as_object().unwrap() {
        fault[name] = value.clone();
    }
    if let Some(times) = times {
        fault["times"] = json!(times);
    }
    world.faults(json!([fault])).await;
}

/// `acme` with a repository, whose document has an entry and a field of somebody else.
async fn beside_a_person() -> World {
    let world = repositories(&["app"], &[]).await;
    world.pass().await;
    let theirs = json!({"enabled_repos": [repository("by-hand"), repository("app")], "beside": {"any": 1.5}});
    put(&world, "github", &theirs).await;
    world.pass().await;
    world
}

#[tokio::test]
async fn one_read_that_lacks_what_was_there_takes_nothing_from_anybody() {
    let world = beside_a_person().await;
    let mut expected = set(&["app", "by-hand"]);
    for (number, (what, answer)) in lies().iter().enumerate() {
        let new = format!("new-{number}");
        world.github(Method::POST, "/orgs/acme/repos", json!({"name": new})).await;
        lie(&world, answer, Some(1)).await;
        world.pass().await;
        expected.insert(new);
        assert_eq!(names(&world).await, expected, "{what}");
        assert_eq!(config(&world, "github").await["beside"], json!({"any": 1.5}), "{what}");
    }
    let lacking = puts(&world).await.len();
    assert_eq!(lacking, 1 + lies().len(), "the first, and one for each repository");
}

#[tokio::test]
async fn a_read_that_is_not_confirmed_yet_is_no_green_light() {
    let mut world = beside_a_person().await;
    world.set(&[("TEAMLINK_GUARD__GRACE", "1h")]);
    put(&world, "github", &json!({"enabled_repos": [repository("app")], "beside": {"any": 1.5}})).await;
    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "new"})).await;
    let before = puts(&world).await.len();
    let sync = world.teamlink(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(2), "{}", text(&sync));
    assert!(text(&sync).contains("integration:github"), "{}", text(&sync));
    assert_eq!(puts(&world).await.len(), before, "somebody took an entry out, or a read lies");
}

#[tokio::test]
async fn two_reads_that_lack_everything_wait_for_a_person() {
    for (what, answer) in lies() {
        let world = beside_a_person().await;
        let before = puts(&world).await.len();
        world.github(Method::POST, "/orgs/acme/repos", json!({"name": "new"})).await;
        lie(&world, &answer, None).await;
        let sync = world.teamlink(&["sync"]).await;
        assert_eq!(puts(&world).await.len(), before, "{what}");
        assert_ne!(sync.status.code(), Some(0), "{what}: {}", text(&sync));
        world.faults(json!([])).await;
        world.pass().await;
        assert_eq!(names(&world).await, set(&["app", "by-hand", "new"]), "{what}: the truth needs nobody");
    }
}

#[tokio::test]
async fn the_first_entries_of_an_absent_or_empty_document_wait_for_a_person() {
    for empty in [None, Some(json!({"enabled_repos": []})), Some(json!({"enabled_repos": [], "beside": 1}))] {
        let world = World::new(0, &[crate::support::documents::ORG]).await;
        world.seed(json!({"orgs": [{"login": "acme", "repos": [{"name": "app"}]}]})).await;
        if let Some(config) = &empty {
            put(&world, "github", config).await;
        }
        let held = world.teamlink(&["sync"]).await;
        assert_eq!(held.status.code(), Some(2), "{empty:?}: {}", text(&held));
        assert!(text(&held).contains("which may mean all"), "{empty:?}: {}", text(&held));
        // Nor does a command that may run by itself lift it.
        world.teamlink(&["sync"]).await;
        assert_eq!(puts(&world).await.len(), 0, "{empty:?}");
        approve_held(&world, &[]).await;
        world.pass().await;
        assert_eq!(names(&world).await, set(&["app"]), "{empty:?}");
    }
}

#[tokio::test]
async fn an_entry_that_was_to_go_and_that_reads_lacked_is_removed_when_it_shows_again() {
    let world = repositories(&["app", "lib", "more"], &[]).await;
    world.pass().await;
    repo(&world, "lib", json!({"archived": true})).await;
    lie(&world, &only(&["app", "more"]), None).await;
    world.pass().await;
    world.faults(json!([])).await;
    assert_eq!(
        names(&world).await,
        set(&["app", "lib", "more"]),
        "two reads lacked it, and nothing was sent"
    );
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app", "more"]));
}

#[tokio::test]
async fn an_entry_stays_ours_while_reads_lack_it_and_github_does_not_say_whether_it_is_to_go() {
    let world = repositories(&["app", "lib", "more"], &[]).await;
    world.pass().await;
    let lies = only(&["app", "more"])["body"].clone();
    let reads = async || {
        let all = world.requests(0).await;
        all.iter().filter(|it| it["method"] == "GET" && it["path"] == path("github")).count()
    };
    let before = reads().await;
    world
        .faults(json!([
            {"method": "GET", "path": "/api/v2/idp/*", "body": lies},
            {"method": "GET", "path": "/repositories/*", "status": 502},
        ]))
        .await;
    world.github(Method::DELETE, "/repos/acme/lib", Value::Null).await;
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    let document = [Target::Document(Integration::Github)];
    ledger.mark(&document, Cause::Pass, Asks::PASS, ledger.clock().now()).await.unwrap();
    let worker = Process::start(&world).await;
    eventually("several reads have lacked it", true, async || reads().await >= before + 4).await;
    world.faults(json!([])).await;
    become_(&world, &["app", "more"]).await;
    worker.stop().await;
}
