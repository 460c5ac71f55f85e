//! Plans that are shown, saved and applied.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::settings::Settings;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::world::{World, linked, text};

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
    let schema: Value = serde_json::from_str(include_str!("../../config/plan.schema.json")).unwrap();
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
    assert!(markdown.contains("### teamlink plan: `acme`"), "{markdown}");
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

/// An organisation in which something happens every 100 ms until it is told to stop, beside these teams: one is renamed
/// on and on, one comes and goes.
fn busy(world: &World, renamed: String) -> (CancellationToken, JoinHandle<String>) {
    let (http, url, stop) = (world.http.clone(), world.sandbox.url(), CancellationToken::new());
    let stopped = stop.clone();
    let work = tokio::spawn(async move {
        let ask = async |method, path: String, body| {
            let request = http.request(method, format!("{url}/orgs/acme/teams{path}"));
            let reply = request.bearer_auth("token").json(&body).send().await.unwrap();
            assert!(reply.status().is_success(), "{path}: {}", reply.text().await.unwrap());
        };
        let (mut ticks, mut slug) = (tokio::time::interval(Duration::from_millis(100)), renamed);
        for round in 0.. {
            ticks.tick().await;
            match round % 3 {
                // It ends where nothing has come without going.
                0 if stopped.is_cancelled() => break,
                0 => {
                    let name = format!("busy-{round}");
                    ask(Method::PATCH, format!("/{slug}"), json!({"name": name})).await;
                    slug = name;
                }
                1 => ask(Method::POST, String::new(), json!({"name": "Passing"})).await,
                _ => ask(Method::DELETE, "/passing".to_owned(), Value::Null).await,
            }
        }
        slug
    });
    (stop, work)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_busy_organisation_plans_are_saved_approved_and_applied() {
    let (mut world, slugs) = eventful().await;
    world.seed(json!({"datadog_teams": [{"handle": "passing", "name": "Passing"}]})).await;
    let ignored = &slugs[1..3];
    let rules = format!(
        "[[mapping]]\ngithub = \"acme/{}\"\nignore = true\n[[mapping]]\ngithub = \"acme/{}\"\nignore = true\n[[mapping]]\ngithub = \"*/*\"\ndatadog = \"{{slug}}\"\n",
        ignored[0], ignored[1]
    );
    let (rules, file) = (world.file("rules.toml", &rules), world.file("plan.json", ""));
    world.settings = Settings::load(&[rules.clone().into()], &world.env).unwrap().settings;
    world.start().await;
    let (stop, work) = busy(&world, slugs[3].clone());
    let teamlink = async |args: &[&str]| {
        let output = world.teamlink(&[&["--config", &rules], args].concat()).await;
        (output.status.code().unwrap(), text(&output))
    };

    // What it holds is approved, and the daemon carries that out; then the rest is applied.
    let (code, said) = teamlink(&["plan", "--out", &file]).await;
    assert_eq!(code, 2, "{said}");
    let plan: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(plan["orgs"][0]["held"].as_array().unwrap().len(), 2, "{plan:#}");
    let hash = plan["orgs"][0]["held_hash"].as_str().unwrap();
    let (code, said) = teamlink(&["approve", hash, "--reason", "left alone from now on"]).await;
    assert_eq!(code, 0, "{said}");
    let deadline = Instant::now() + SOON;
    while !world.connections().await.is_disjoint(&linked(ignored)) {
        assert!(Instant::now() < deadline, "what was approved is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!world.connections().await.contains("new = @acme/new"), "nobody has asked for this yet");
    let (code, said) = teamlink(&["apply", &file]).await;
    assert_eq!(code, 0, "{said}");

    // A plan that is made stale meanwhile is refused, with what changed.
    // No event has told of this one.
    world
        .seed(json!({
            "orgs": [{"login": "acme", "teams": [{"name": "late"}]}],
            "datadog_teams": [{"handle": "late", "name": "Late"}, {"handle": "later", "name": "Later"}],
        }))
        .await;
    let (code, said) = teamlink(&["plan", "--out", &file]).await;
    assert_eq!(code, 2, "{said}");
    world.github(Method::PATCH, "/orgs/acme/teams/late", json!({"name": "later"})).await;
    let (code, said) = teamlink(&["apply", &file]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no longer planned: acme: create @acme/late"), "{said}");

    stop.cancel();
    let renamed = work.await.unwrap();
    let mut expected = linked(&slugs[4..]);
    expected.extend(linked(["new", "later"]));
    expected.extend([format!("{} = @acme/moved", slugs[0]), format!("{} = @acme/{renamed}", slugs[3])]);
    world.becomes(&expected, SOON).await;
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
async fn a_plan_whose_steps_are_done_already_has_nothing_left_to_do() {
    let (world, _) = eventful().await;
    let file = world.file("plan.json", "");
    world.teamlink(&["plan", "--out", &file]).await;
    for (said, writes) in
        [("acme: 3 of 3 steps done\n", 2), ("acme: 3 of 3 steps done, 3 of them before\n", 0)]
    {
        let since = world.seq().await;
        let output = world.teamlink(&["apply", &file]).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), said);
        let requests = world.requests(since).await;
        assert_eq!(requests.iter().filter(|request| request["method"] != "GET").count(), writes);
    }
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
