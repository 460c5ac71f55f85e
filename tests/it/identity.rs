//! Keys of another Datadog organisation, and what binds a ledger to one.

use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use teamlink::sandbox::{self, Sandbox};

use crate::support::world::{World, linked, text};

/// What failed is looked at again at once.
const SOON: (&str, &str) = ("TEAMLINK_RECONCILE__BACKOFF_MIN", "100ms");

/// Another Datadog organisation, with as many teams of the same handles.
async fn another(teams: usize) -> Sandbox {
    let org = (teams > 0).then(|| "acme".to_owned());
    let options = sandbox::Options { org, teams, seed: 8, datadog_org: 7, ..Default::default() };
    sandbox::start(options).await.unwrap()
}

/// The world with the keys of that one.
fn with_keys_of(world: &mut World, url: &str) {
    world.set(&[("TEAMLINK_DATADOG__BASE_URL", url)]);
}

/// The requests that were not GETs.
async fn writes(at: &Sandbox) -> Vec<String> {
    let requests: Value =
        reqwest::get(format!("{}/_sandbox/requests", at.url())).await.unwrap().json().await.unwrap();
    let requests = requests.as_array().unwrap().iter().filter(|it| it["method"] != "GET");
    requests.map(|it| format!("{} {}", it["method"], it["path"])).collect()
}

async fn refuse_current_user(at: &Sandbox) {
    let faults = json!([{"path": "/api/v2/current_user", "status": 403}]);
    let client = reqwest::Client::new();
    client.put(format!("{}/_sandbox/faults", at.url())).json(&faults).send().await.unwrap();
}

async fn sql(world: &World, sql: &'static str) {
    let mut ledger = SqliteConnection::connect(&world.env["TEAMLINK_LEDGER__URL"]).await.unwrap();
    sqlx::query(sql).execute(&mut ledger).await.unwrap();
}

/// What `sync` says, and its exit code.
async fn sync(world: &World) -> (Option<i32>, String) {
    let sync = world.teamlink(&["sync"]).await;
    (sync.status.code(), text(&sync))
}

/// The ledger is as it was: with the right keys, nothing is to be done.
async fn is_untouched(world: &mut World) {
    let url = world.sandbox.url();
    with_keys_of(world, &url);
    let (code, said) = sync(world).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("in sync  3      0"), "{said}");
    assert_eq!(world.connections().await, linked(["team-1", "team-2", "team-3"]));
}

#[tokio::test]
async fn with_the_keys_of_another_organisation_nothing_is_written_and_nothing_forgotten() {
    let mut world = World::new(3, &[SOON]).await;
    world.pass().await;
    let other = another(3).await;
    with_keys_of(&mut world, &other.url());
    let (code, said) = sync(&world).await;
    assert_ne!(code, Some(0), "{said}");
    for part in ["(Organisation 7)", "(Organisation 321813)", "teamlink ledger rebind"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let plan = world.teamlink(&["plan"]).await;
    assert_eq!(plan.status.code(), Some(1), "{}", text(&plan));
    world.start().await;
    world.github(reqwest::Method::POST, "/orgs/acme/teams", json!({"name": "Team 4"})).await;
    world.pass().await;
    world.stop().await;
    assert_eq!(writes(&other).await, [] as [&str; 0]);
    is_untouched(&mut world).await;
}

#[tokio::test]
async fn where_datadog_does_not_say_whose_the_keys_are_its_teams_do() {
    let mut world = World::new(3, &[SOON]).await;
    refuse_current_user(&world.sandbox).await;
    world.pass().await;
    let other = another(3).await;
    refuse_current_user(&other).await;
    with_keys_of(&mut world, &other.url());
    let (code, said) = sync(&world).await;
    assert_ne!(code, Some(0), "{said}");
    let shows = "the keys show none of the 3 Datadog teams that this ledger has connected";
    assert!(said.contains(shows), "{said}");
    // Nor by hand.
    let file = world.file("pagerduty.json", r#"{"accounts": [{"enabled": true, "subdomain": "acme"}]}"#);
    let put = world.teamlink(&["integrations", "put", "pagerduty", "--file", &file, "--yes"]).await;
    assert_eq!(put.status.code(), Some(1), "{}", text(&put));
    assert!(text(&put).contains(shows), "{}", text(&put));
    assert_eq!(writes(&other).await, [] as [&str; 0]);
    is_untouched(&mut world).await;
}

#[tokio::test]
async fn a_ledger_with_connections_is_bound_only_where_one_of_their_teams_is() {
    let mut world = World::new(3, &[SOON]).await;
    world.pass().await;
    // As a version made it that did not ask.
    sql(&world, "DELETE FROM datadog_identity").await;
    let other = another(3).await;
    with_keys_of(&mut world, &other.url());
    let (code, said) = sync(&world).await;
    assert_ne!(code, Some(0), "{said}");
    assert_eq!(writes(&other).await, [] as [&str; 0]);
    is_untouched(&mut world).await;
    with_keys_of(&mut world, &other.url());
    let (_, said) = sync(&world).await;
    assert!(said.contains("(Organisation 321813)"), "it was bound by the pass with the right keys: {said}");
}

#[tokio::test]
async fn a_plan_of_another_deployment_is_not_applied_and_binds_nothing() {
    let world = World::new(3, &[]).await;
    let file = world.file("plan.json", "");
    world.teamlink(&["plan", "--out", &file]).await;
    let plan: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit, &str); 4] = [
        (
            "id",
            |plan| plan["orgs"][0]["org"]["id"] = json!(4242),
            "the plan is for org 4242, but acme is org",
        ),
        (
            "host",
            |plan| plan["of"]["github"] = json!("github.example"),
            "the plan is for GitHub at github.example",
        ),
        ("keys", |plan| plan["of"]["datadog"]["id"] = json!("x"), "the plan is for Datadog organisation x"),
        ("none", |plan| drop(plan.as_object_mut().unwrap().remove("of")), "an older version made the plan"),
    ];
    for (name, edit, told) in edits {
        let mut other = plan.clone();
        edit(&mut other);
        let other = world.file(&format!("{name}.json"), &other.to_string());
        let refused = world.teamlink(&["apply", &other]).await;
        assert_eq!(refused.status.code(), Some(1), "{name}: {}", text(&refused));
        assert!(text(&refused).contains(told), "{name}: {}", text(&refused));
    }
    assert_eq!(world.connections().await, linked([] as [&str; 0]));
    let applied = world.teamlink(&["apply", &file]).await;
    assert_eq!(applied.status.code(), Some(0), "acme is bound to nothing else: {}", text(&applied));
    assert_eq!(world.connections().await, linked(["team-1", "team-2", "team-3"]));
}

#[tokio::test]
async fn rebinding_shows_both_organisations_and_the_way_back_restores_what_was_ours() {
    let mut world = World::new(3, &[SOON]).await;
    world.pass().await;
    let other = another(3).await;
    with_keys_of(&mut world, &other.url());
    let rebind = ["ledger", "rebind", "--reason", "CHANGE-1"];
    let asked = world.teamlink(&rebind).await;
    assert_eq!(asked.status.code(), Some(1), "{}", text(&asked));
    for part in ["(Organisation 7)", "(Organisation 321813)", "--yes"] {
        assert!(text(&asked).contains(part), "{part} is not in: {}", text(&asked));
    }
    let rebind = [&rebind[..], &["--yes"]].concat();
    let done = world.teamlink(&rebind).await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert!(text(&done).contains("kept 3 connections"), "{}", text(&done));
    let (code, said) = sync(&world).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(writes(&other).await.len(), 1, "the three are made there");

    let url = world.sandbox.url();
    with_keys_of(&mut world, &url);
    let back = world.teamlink(&rebind).await;
    assert_eq!(back.status.code(), Some(0), "{}", text(&back));
    assert!(text(&back).contains("kept 3 connections"), "{}", text(&back));
    assert!(text(&back).contains("restored 3"), "{}", text(&back));
    is_untouched(&mut world).await;
    let audit = text(&world.teamlink(&["audit"]).await);
    assert!(audit.contains("rebind") && audit.contains("CHANGE-1"), "{audit}");
    let same = world.teamlink(&rebind).await;
    assert!(text(&same).contains("belongs to") && text(&same).contains("already"), "{}", text(&same));
}

#[tokio::test]
async fn a_ledger_is_not_rebound_under_a_running_worker() {
    let mut world = World::new(1, &[]).await;
    world.start().await;
    world.pass().await;
    let other = another(1).await;
    with_keys_of(&mut world, &other.url());
    let refused = world.teamlink(&["ledger", "rebind", "--reason", "r", "--yes"]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("stop them, then try again"), "{}", text(&refused));
    world.stop().await;
}
