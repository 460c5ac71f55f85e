//! Plans that are shown, saved and applied.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use world::{World, linked, text};

const SOON: Duration = Duration::from_secs(20);

fn rename(slug: &str, name: &str) -> (Method, String, Value) {
    (Method::PATCH, format!("/orgs/acme/teams/{slug}"), json!({"name": name}))
}

/// A world with something of every kind in its plan: a create, a replacement, a held removal, an ignored team.
async fn eventful() -> (World, Vec<String>) {
    let world = World::new(6, &[]).await;
    world.pass().await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    world.seed(json!({"datadog_teams": [{"handle": "new", "name": "New"}]})).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "new"})).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "without handle"})).await;
    let (method, path, body) = rename(&slugs[0], "moved");
    world.github(method, &path, body).await;
    (world, slugs)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_valid_json_by_its_schema_and_readable_as_markdown_and_writes_nothing() {
    let (world, slugs) = eventful().await;
    let rules = format!(
        "[[mapping]]\ngithub = \"acme/{}\"\nignore = true\n[[mapping]]\ngithub = \"*/*\"\ndatadog = \"{{slug}}\"\n",
        slugs[1]
    );
    let file = world.file("rules.toml", &rules);
    let since = world.seq().await;
    let output = world.teamlink(&["--config", &file, "plan", "--format", "json"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema: Value = serde_json::from_str(include_str!("../config/plan.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        schema.iter_errors(&plan).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{plan:#}");
    let org = &plan["orgs"][0];
    let count = |list: &str| org[list].as_array().unwrap().len();
    assert_eq!((count("actions"), count("held")), (3, 1), "{plan:#}");
    assert!(!schema.is_valid(&json!({"format": "teamlink-plan/1", "made_at": "now", "orgs": [{}]})));

    let markdown = world.teamlink(&["--config", &file, "plan", "--format", "markdown"]).await;
    let markdown = String::from_utf8(markdown.stdout).unwrap();
    assert!(markdown.contains("### teamlink plan: acme"), "{markdown}");
    assert!(markdown.contains("plan: 2 to create, 1 to delete, 1 held"), "{markdown}");
    assert!(markdown.contains("teamlink approve "), "{markdown}");

    // Every dry path: nothing but reads.
    world.teamlink(&["--config", &file, "plan", "--out", &world.file("plan.json", "")]).await;
    world.teamlink(&["map", "acme/core"]).await;
    world.teamlink(&["map", "--from-existing"]).await;
    world.teamlink(&["connections", "list"]).await;
    let writes: Vec<Value> =
        world.requests(since).await.into_iter().filter(|request| request["method"] != "GET").collect();
    assert!(writes.is_empty(), "{writes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_plan_is_applied_exactly_though_other_teams_move_on_meanwhile() {
    let (mut world, slugs) = eventful().await;
    let file = world.file("plan.json", "");
    let planned = world.teamlink(&["plan", "--out", &file]).await;
    assert_eq!(planned.status.code(), Some(2), "{}", text(&planned));
    // A busy organisation: events of other teams, and a daemon that works on them.
    world.start().await;
    for round in 0..20 {
        let (method, path, body) = rename(if round == 0 { &slugs[2] } else { "busy" }, "busy");
        world.github(method, &path, body).await;
    }
    let output = world.teamlink(&["apply", &file]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let mut expected = linked(slugs[1..].iter().filter(|slug| **slug != slugs[2]));
    expected.extend(linked(["new"]));
    expected.extend([format!("{} = @acme/moved", slugs[0]), format!("{} = @acme/busy", slugs[2])]);
    world.becomes(&expected, SOON).await;
    let again = world.teamlink(&["apply", &file]).await;
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_made_stale_is_refused_with_what_changed_and_nothing_is_done() {
    let (world, slugs) = eventful().await;
    let file = world.file("plan.json", "");
    world.teamlink(&["plan", "--out", &file]).await;
    let (method, path, body) = rename("moved", &slugs[0]);
    world.github(method, &path, body).await;
    let since = world.seq().await;
    let output = world.teamlink(&["apply", &file]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("no longer planned: acme: create @acme/moved"), "{}", text(&output));
    let writes = world.requests(since).await.into_iter().filter(|request| request["method"] != "GET").count();
    assert_eq!(writes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_a_plan_approves_what_it_holds() {
    let world = World::new(4, &[]).await;
    world.pass().await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    let rules = format!(
        "[[mapping]]\ngithub = \"acme/{}\"\nignore = true\n[[mapping]]\ngithub = \"*/*\"\ndatadog = \"{{slug}}\"\n",
        slugs[0]
    );
    let (rules, file) = (world.file("rules.toml", &rules), world.file("plan.json", ""));
    let planned = world.teamlink(&["--config", &rules, "plan", "--out", &file]).await;
    assert!(text(&planned).contains("! held"), "{}", text(&planned));
    let output = world.teamlink(&["--config", &rules, "apply", &file]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    world.becomes(&linked(&slugs[1..]), SOON).await;
}
