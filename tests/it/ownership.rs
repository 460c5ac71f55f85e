//! Whose a connection is: orphans, which only a person lets go, and what is foreign, which is never touched.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::world::{World, linked, text};

const SOON: Duration = Duration::from_secs(20);
const CONNECTIONS: &str = "/api/v2/team/connections";

/// Connects a GitHub team with the Datadog team of the same name, which is made where there is none, as somebody
/// else would.
async fn connect(world: &World, slug: &str, managed_by: &str) {
    if !world.datadog_teams().await.contains_key(slug) {
        world.seed(json!({"datadog_teams": [{"handle": slug, "name": slug}]})).await;
    }
    let team = &world.datadog_teams().await[slug];
    let new = json!({"data": [{
        "type": "team_connection",
        "attributes": {"source": "github", "managed_by": managed_by},
        "relationships": {
            "team": {"data": {"type": "team", "id": team}},
            "connected_team": {"data": {"type": "github_team", "id": format!("@acme/{slug}")}},
        },
    }]});
    world.datadog(Method::POST, CONNECTIONS, new).await;
}

/// The writes since then, by method.
async fn writes(world: &World, since: u64) -> Vec<String> {
    let requests = world.requests(since).await.into_iter();
    let writes = requests.filter(|request| request["path"] == CONNECTIONS && request["method"] != "GET");
    writes.map(|request| request["method"].as_str().unwrap().to_owned()).collect()
}

/// Runs `sync`; answers its exit code and the removals that it names as held.
async fn sync(world: &World) -> (i32, Vec<String>) {
    let output = world.teamlink(&["sync"]).await;
    let held = text(&output).lines().filter(|line| line.starts_with("held: ")).map(str::to_owned).collect();
    (output.status.code().unwrap(), held)
}

/// The hash in the approve command that `sync` prints.
async fn hash(world: &World) -> String {
    let said = text(&world.teamlink(&["sync"]).await);
    let command = said.lines().find_map(|line| line.trim().strip_prefix("teamlink approve ")).unwrap();
    command.split(' ').next().unwrap().to_owned()
}

async fn approve(world: &World, hash: &str) -> i32 {
    let output = world.teamlink(&["approve", hash, "--reason", "of the lost ledger"]).await;
    output.status.code().unwrap()
}

/// A world in step, and in it an orphan and a foreign connection of teams that GitHub does not have.
async fn with_an_orphan(env: &[(&str, &str)]) -> (World, BTreeSet<String>) {
    let world = World::new(3, env).await;
    world.pass().await;
    let mut stay = world.connections().await;
    connect(&world, "ghost", "teamlink").await;
    connect(&world, "theirs", "terraform").await;
    stay.insert("theirs = @acme/theirs (terraform)".to_owned());
    (world, stay)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_whose_team_is_gone_is_held_and_one_approval_removes_exactly_it() {
    let (world, stay) = with_an_orphan(&[]).await;
    let since = world.seq().await;
    let (code, held) = sync(&world).await;
    assert_eq!((code, held.len()), (2, 1), "{held:?}");
    assert!(held[0].starts_with("held: delete @acme/ghost = "), "{held:?}");
    assert!(held[0].ends_with(": it has our mark, but this ledger does not know it"), "{held:?}");
    let plan = world.teamlink(&["plan"]).await;
    assert_eq!(plan.status.code(), Some(2));
    assert!(text(&plan).contains("! held  acme/ghost   ghost"), "{}", text(&plan));
    let plan = world.teamlink(&["plan", "--format", "json"]).await;
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let schema: Value = serde_json::from_str(include_str!("../../config/plan.schema.json")).unwrap();
    assert!(jsonschema::is_valid(&schema, &plan), "{plan:#}");
    assert_eq!(plan["orgs"][0]["held"][0]["cause"]["cause"], "orphan", "{plan:#}");
    assert_eq!(writes(&world, since).await, [] as [&str; 0]);

    let hash = hash(&world).await;
    assert_eq!(approve(&world, &hash).await, 0);
    assert_eq!(sync(&world).await.0, 0);
    assert_eq!(writes(&world, since).await, ["DELETE"]);
    assert_eq!(world.connections().await, stay);
    let audit = world.teamlink(&["audit", "--format", "json"]).await;
    let audit: Vec<Value> = serde_json::from_slice(&audit.stdout).unwrap();
    let line = audit.iter().find(|line| line["action"] == "delete").unwrap();
    assert_eq!((&line["github"], &line["outcome"]), (&json!("acme"), &json!("done")), "{line}");
    assert!(line["proof"].as_str().unwrap().starts_with("404 by slug at "), "{line}");

    // The approval is used up: the same connection, orphaned again, waits again.
    assert_eq!(approve(&world, &hash).await, 1);
    connect(&world, "ghost", "teamlink").await;
    let (code, held) = sync(&world).await;
    assert_eq!((code, held.len()), (2, 1), "{held:?}");
    assert_eq!(writes(&world, since).await, ["DELETE", "POST"], "the POST is the test's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_removes_an_approved_orphan_within_seconds_and_a_saved_plan_removes_it_too() {
    let (mut world, stay) = with_an_orphan(&[]).await;
    let hash = hash(&world).await;
    world.start().await;
    assert_eq!(approve(&world, &hash).await, 0);
    world.becomes(&stay, SOON).await;
    world.stop().await;

    connect(&world, "ghost", "teamlink").await;
    let file = world.file("plan.json", "");
    assert_eq!(world.teamlink(&["plan", "--out", &file]).await.status.code(), Some(2));
    let since = world.seq().await;
    let output = world.teamlink(&["apply", &file]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(writes(&world, since).await, ["DELETE"]);
    assert_eq!(world.connections().await, stay);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_whose_slug_does_not_answer_404_is_not_held_and_goes_by_no_approval() {
    let (world, stay) = with_an_orphan(&[]).await;
    let hash = hash(&world).await;
    let since = world.seq().await;
    assert_eq!(approve(&world, &hash).await, 0);
    for status in [403, 500] {
        let body = "{\"message\":\"no\"}";
        let fault =
            json!({"method": "GET", "path": "/orgs/acme/teams/ghost", "status": status, "body": body});
        world.faults(json!([fault])).await;
        assert_eq!(sync(&world).await, (0, Vec::new()));
        let plan = text(&world.teamlink(&["plan"]).await);
        assert!(plan.contains("an orphan; ") && plan.contains(&status.to_string()), "{plan}");
    }
    // Nor with a credential that does not see secret teams.
    let member = json!({"state": "active", "role": "member"}).to_string();
    let member = json!({"method": "GET", "path": "/user/memberships/*", "status": 200, "body": member});
    world.faults(json!([member])).await;
    assert_eq!(sync(&world).await, (0, Vec::new()));
    // Nor while it exists after all: then the list that lacks it was cut.
    let team = json!({"id": 77, "slug": "ghost", "name": "Ghost"}).to_string();
    let shown = json!({"method": "GET", "path": "/orgs/acme/teams/ghost", "status": 200, "body": team});
    world.faults(json!([shown])).await;
    let output = world.teamlink(&["sync"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("the list of the teams of acme lacks ghost"), "{}", text(&output));
    assert_eq!(writes(&world, since).await, [] as [&str; 0]);
    world.faults(json!([])).await;
    let deadline = Instant::now() + SOON;
    while sync(&world).await.0 != 0 {
        assert!(Instant::now() < deadline, "the pass stays partial");
    }
    assert_eq!(world.connections().await, stay);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_or_paused_orphan_and_one_of_a_living_team_stay_through_every_approval() {
    let (world, mut stay) = with_an_orphan(&[("TEAMLINK_POLICY__PROTECTED", "acme/gho*")]).await;
    stay.insert("ghost = @acme/ghost".to_owned());
    assert_eq!(sync(&world).await, (0, Vec::new()), "what no approval lifts is not held");
    let plan = text(&world.teamlink(&["plan"]).await);
    assert!(plan.contains("acme/ghost") && plan.contains("protected by policy.protected"), "{plan}");
    assert_eq!(world.connections().await, stay);

    let (mut world, mut stay) = with_an_orphan(&[]).await;
    // Its team lives, but no rule gives it this Datadog team.
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "living"})).await;
    connect(&world, "living", "teamlink").await;
    let file = world.file("rules.toml", "[[mapping]]\ngithub = \"acme/living\"\nignore = true\n[[mapping]]\ngithub = \"*/*\"\ndatadog = \"{slug}\"\n");
    stay.extend(linked(["living"]));
    let output = text(&world.teamlink(&["--config", &file, "sync"]).await);
    assert_eq!(output.lines().filter(|line| line.starts_with("held: ")).count(), 1, "{output}");
    let hash = hash(&world).await;
    world.teamlink(&["pause", "acme"]).await;
    assert_eq!(approve(&world, &hash).await, 0);
    assert_eq!(sync(&world).await.0, 2);
    assert!(world.connections().await.contains("ghost = @acme/ghost"), "paused");
    world.start().await;
    world.teamlink(&["resume", "acme"]).await;
    let deadline = Instant::now() + SOON;
    while world.connections().await != stay {
        assert!(Instant::now() < deadline, "{:?}", world.connections().await);
        world.teamlink(&["--config", &file, "sync"]).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_under_a_former_mark_are_counted_and_an_organisation_that_is_not_served_is_said_to_be() {
    let mut world = World::new(3, &[]).await;
    world.pass().await;
    let before = world.connections().await;
    world.set(&[("TEAMLINK_DATADOG__MANAGED_BY", "teamlink-2")]);
    let said = text(&world.teamlink(&["sync"]).await);
    let expected = "3 connections carry the former mark `teamlink`; to make them again under `teamlink-2`:";
    assert!(said.contains(expected), "{said}");
    let output = world.teamlink(&["adopt", "--managed-by", "teamlink", "--yes"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let after: BTreeSet<String> =
        before.iter().map(|connection| format!("{connection} (teamlink-2)")).collect();
    assert_eq!(world.connections().await, after);
    let said = text(&world.teamlink(&["sync"]).await);
    assert!(!said.contains("former mark"), "{said}");
    world.set(&[("TEAMLINK_GITHUB__ORGS", "globex")]);
    let said = text(&world.teamlink(&["explain", "acme/team-1"]).await);
    assert!(said.contains("acme is not served, because github.orgs does not list it"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_somebody_made_again_under_the_mark_of_our_row_goes_with_its_team() {
    let world = World::new(4, &[]).await;
    world.pass().await;
    let mut expected = world.connections().await;
    let slug = expected.first().unwrap().split(' ').next().unwrap().to_owned();
    let all = world.datadog(Method::GET, CONNECTIONS, Value::Null).await;
    let github = format!("@acme/{slug}");
    let ours = all["data"].as_array().unwrap().iter().find(|it| {
        it["relationships"]["connected_team"]["data"]["id"].as_str().unwrap().eq_ignore_ascii_case(&github)
    });
    let gone = json!({"data": [{"type": "team_connection", "id": ours.unwrap()["id"]}]});
    world.datadog(Method::DELETE, CONNECTIONS, gone).await;
    connect(&world, &slug, "teamlink").await;
    world.pass().await;
    assert_eq!(world.connections().await, expected, "it is wanted");
    world.github(Method::DELETE, &format!("/orgs/acme/teams/{slug}"), Value::Null).await;
    expected.pop_first();
    let deadline = Instant::now() + SOON;
    while world.connections().await != expected {
        assert!(Instant::now() < deadline, "{slug} is still connected");
        world.pass().await;
    }
}
