//! `teamlink adopt`: taking connections over from whoever made them, and what becomes of it after a crash.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    eventually,
    world::{World, linked, text},
};

const SOON: Duration = Duration::from_secs(45);
const CONNECTIONS: &str = "/api/v2/team/connections";

/// Connects these GitHub teams with the Datadog teams of the same name, as somebody else would.
async fn connect(world: &World, slugs: &[String], managed_by: &str) {
    let teams = world.datadog_teams().await;
    for slug in slugs {
        let new = json!({"data": [{
            "type": "team_connection",
            "attributes": {"source": "github", "managed_by": managed_by},
            "relationships": {
                "team": {"data": {"type": "team", "id": teams[slug]}},
                "connected_team": {"data": {"type": "github_team", "id": format!("@acme/{slug}")}},
            },
        }]});
        world.datadog(Method::POST, CONNECTIONS, new).await;
    }
}

/// The writes to Datadog since then: the method, and how many connections it was about.
async fn writes(world: &World, since: u64) -> Vec<(String, usize)> {
    let requests = world.requests(since).await.into_iter();
    let writes = requests.filter(|request| request["path"] == CONNECTIONS && request["method"] != "GET");
    writes
        .map(|write| {
            (write["method"].as_str().unwrap().to_owned(), write["body"]["data"].as_array().unwrap().len())
        })
        .collect()
}

async fn slugs(world: &World) -> Vec<String> {
    world.datadog_teams().await.into_keys().collect()
}

fn by(managed_by: &str, slugs: &[String]) -> BTreeSet<String> {
    linked(slugs).into_iter().map(|connection| format!("{connection} ({managed_by})")).collect()
}

/// Runs the command; answers its exit code and what it said.
async fn teamlink(world: &World, args: &[&str]) -> (i32, String) {
    let output = world.teamlink(args).await;
    (output.status.code().unwrap(), text(&output))
}

/// How many connections are ours on paper.
async fn owned(world: &World) -> usize {
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    let now = teamlink::model::Time::from(std::time::SystemTime::now());
    usize::try_from(ledger.counts(now).await.unwrap().owned).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_connections_are_previewed_then_taken_over_one_at_a_time() {
    let world = World::new(6, &[]).await;
    let slugs = slugs(&world).await;
    let (terraform, other) = slugs.split_at(5);
    connect(&world, terraform, "terraform").await;
    connect(&world, other, "other").await;
    let since = world.seq().await;
    let (code, said) = teamlink(&world, &["adopt", "--managed-by", "terraform"]).await;
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("adopt: 5 to delete and make again, 0 for the ledger alone, 0 left alone"),
        "{said}"
    );
    assert!(said.contains("  teamlink adopt --managed-by terraform --yes"), "{said}");
    assert!(!said.contains("no rule wants it"), "{said}");
    let wrote = world.requests(since).await.into_iter().filter(|request| request["method"] != "GET").count();
    assert_eq!((wrote, owned(&world).await), (0, 0), "a preview writes nothing anywhere");

    let (code, said) = teamlink(&world, &["adopt", "--managed-by", "terraform", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("5 of 5 taken over, 0 left alone, 0 failed"), "{said}");
    let one_by_one: Vec<_> = ["DELETE", "POST"].repeat(5).into_iter().map(|it| (it.to_owned(), 1)).collect();
    assert_eq!(writes(&world, since).await, one_by_one, "never more than one is missing");
    let mut expected = linked(terraform);
    expected.extend(by("other", other));
    assert_eq!((world.connections().await, owned(&world).await), (expected.clone(), 5));

    let since = world.seq().await;
    assert_eq!(teamlink(&world, &["adopt", "--managed-by", "terraform", "--yes"]).await.0, 0);
    let (code, said) = teamlink(&world, &["adopt", "--org", "acme", "--format", "json"]).await;
    let lines: Vec<Value> = serde_json::from_str(&said).unwrap();
    let steps: Vec<_> = lines.iter().map(|line| line["step"].as_str().unwrap()).collect();
    assert_eq!((code, steps.iter().filter(|step| **step == "leave").count()), (2, 5), "{said}");
    assert_eq!(lines[5]["step"], "recreate", "{said}");
    assert_eq!(teamlink(&world, &["sync"]).await.0, 0);
    assert_eq!((writes(&world, since).await, world.connections().await), (Vec::new(), expected));
    let (_, audit) = teamlink(&world, &["audit", "--format", "json"]).await;
    let audit: Vec<Value> = serde_json::from_str(&audit).unwrap();
    let chain: Vec<_> = audit.iter().take(2).map(|line| (&line["action"], &line["outcome"])).collect();
    assert_eq!(chain, [(&json!("adopt"), &json!("begun")), (&json!("create"), &json!("done"))]);
    assert_eq!(audit[0]["cause"], "person");
    assert!(audit[0]["detail"].as_str().unwrap().ends_with("managed by terraform"), "{}", audit[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_our_own_mark_only_rows_are_written() {
    let mut world = World::new(4, &[]).await;
    world.pass().await;
    let ledger = world.file("anew.db", "");
    std::fs::remove_file(&ledger).unwrap();
    world.set(&[("TEAMLINK_LEDGER__URL", &format!("sqlite:{ledger}"))]);
    let (slugs, since) = (slugs(&world).await, world.seq().await);
    let (code, said) = teamlink(&world, &["adopt", "--managed-by", "teamlink"]).await;
    assert_eq!(
        (code, said.contains("0 to delete and make again, 4 for the ledger alone")),
        (2, true),
        "{said}"
    );
    let one = format!("acme/{}", slugs[0]);
    assert_eq!(teamlink(&world, &["adopt", "--team", &one, "--yes"]).await.0, 0);
    assert_eq!(owned(&world).await, 1);
    assert_eq!(teamlink(&world, &["adopt", "--managed-by", "teamlink", "--yes"]).await.0, 0);
    assert_eq!(owned(&world).await, 4);
    let (code, said) = teamlink(&world, &["sync", "--format", "json"]).await;
    let progress: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &progress[0]["progress"]["orphans"]), (0, &json!(0)));
    assert_eq!((writes(&world, since).await, world.connections().await), (Vec::new(), linked(&slugs)));
}

/// Kills an adoption of `slug` after its delete: Datadog refuses the create until then.
async fn killed_between(world: &World, slug: &str) {
    let refuses =
        json!({"method": "POST", "path": CONNECTIONS, "status": 503, "body": "{\"errors\":[\"down\"]}"});
    world.faults(json!([refuses])).await;
    let since = world.seq().await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_teamlink"));
    command.args(["adopt", "--team", &format!("acme/{slug}"), "--yes"]).env_clear().envs(&world.env);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + SOON;
    while !writes(world, since).await.contains(&("POST".to_owned(), 1)) {
        assert!(Instant::now() < deadline, "nothing was made again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // While it waits to try again it holds no lease, for whose end the others would have to wait.
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    let org = ledger.orgs().await.unwrap()[0].facts.id;
    let now = || teamlink::model::Time::from(std::time::SystemTime::now());
    while ledger
        .lease(teamlink::model::Lane::Org(org), "test", now(), Duration::ZERO)
        .await
        .unwrap()
        .is_none()
    {
        assert!(Instant::now() < deadline, "the lease is held while nothing is done");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().await.unwrap();
    world.faults(json!([])).await;
    let missing = format!("@acme/{slug}");
    assert!(!world.connections().await.iter().any(|connection| connection.contains(&missing)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_interrupts_is_finished_by_sync_by_the_daemon_and_by_adopt() {
    let mut world = World::new(3, &[]).await;
    let slugs = slugs(&world).await;
    connect(&world, &slugs, "terraform").await;
    // No rule wants the first one: it is made again all the same, and then its removal waits for a person.
    let ignoring = format!(
        "[[mapping]]\ngithub = \"acme/{}\"\nignore = true\n[[mapping]]\ngithub = \"*/*\"\ndatadog = \"{{slug}}\"\n",
        slugs[0]
    );
    let file = world.file("rules.toml", &ignoring);
    let (_, said) =
        teamlink(&world, &["--config", &file, "adopt", "--team", &format!("acme/{}", slugs[0])]).await;
    assert!(
        said.contains("deleted and made again; no rule wants it: the next pass holds its removal"),
        "{said}"
    );
    killed_between(&world, &slugs[0]).await;
    let (code, said) = teamlink(&world, &["--config", &file, "sync"]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains(&format!("held: delete @acme/{}", slugs[0])), "{said}");
    let mut expected = by("terraform", &slugs[1..]);
    expected.extend(linked(&slugs[..1]));
    assert_eq!(world.connections().await, expected);

    killed_between(&world, &slugs[1]).await;
    world.start().await;
    expected = by("terraform", &slugs[2..]);
    expected.extend(linked(&slugs[..2]));
    world.becomes(&expected, SOON).await;
    world.stop().await;

    killed_between(&world, &slugs[2]).await;
    let team = format!("acme/{}", slugs[2]);
    let (code, said) = teamlink(&world, &["adopt", "--team", &team]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("deleted already, by an adoption that was interrupted; made again"), "{said}");
    let (code, said) = teamlink(&world, &["adopt", "--team", &team, "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!((world.connections().await, owned(&world).await), (linked(&slugs), 3));
}

/// How many writes are under way on paper.
async fn intents(world: &World) -> i64 {
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    let now = teamlink::model::Time::from(std::time::SystemTime::now());
    ledger.counts(now).await.unwrap().intents
}

#[tokio::test(flavor = "multi_thread")]
async fn a_begun_adoption_is_finished_under_a_pause() {
    let world = World::new(2, &[]).await;
    let slugs = slugs(&world).await;
    connect(&world, &slugs, "terraform").await;
    for (slug, pause) in slugs.iter().zip(["all", "acme"]) {
        killed_between(&world, slug).await;
        let since = world.seq().await;
        assert_eq!(teamlink(&world, &["pause", pause]).await.0, 0);
        let (_, said) = teamlink(&world, &["sync"]).await;
        assert_eq!(writes(&world, since).await, [("POST".to_owned(), 1)], "{pause}: {said}");
        assert_eq!(intents(&world).await, 0, "{pause}");
        assert_eq!(teamlink(&world, &["resume", pause]).await.0, 0);
    }
    assert_eq!((world.connections().await, owned(&world).await), (linked(&slugs), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_begun_adoption_ends_under_a_pause_when_either_of_its_teams_is_gone() {
    for gone in ["the GitHub team", "the Datadog team"] {
        let mut world = World::new(2, &[("TEAMLINK_DATADOG__TIMEOUT", "1s")]).await;
        let slugs = slugs(&world).await;
        connect(&world, &slugs, "terraform").await;
        killed_between(&world, &slugs[0]).await;
        assert_eq!(teamlink(&world, &["pause", "all"]).await.0, 0);
        if gone == "the GitHub team" {
            world.github(Method::DELETE, &format!("/orgs/acme/teams/{}", slugs[0]), Value::Null).await;
        } else {
            let id = &world.datadog_teams().await[&slugs[0]];
            world.datadog(Method::DELETE, &format!("/api/v2/team/{id}"), Value::Null).await;
        }
        let since = world.seq().await;
        // A request of the process that was killed may still arrive: only another look, later, knows that it did not.
        let (_, said) = teamlink(&world, &["sync"]).await;
        world.start().await;
        eventually("writes under way", 0, async || intents(&world).await).await;
        assert_eq!(writes(&world, since).await, [], "{gone}: {said}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_up_and_a_refused_delete_changes_nothing() {
    let world = World::new(2, &[]).await;
    let slugs = slugs(&world).await;
    connect(&world, &slugs, "terraform").await;
    let lost = |method: &str| json!({"method": method, "path": CONNECTIONS, "reset": true, "times": 1});
    world.faults(json!([lost("DELETE"), lost("POST")])).await;
    let since = world.seq().await;
    let (code, said) = teamlink(&world, &["adopt", "--team", &format!("acme/{}", slugs[0]), "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(writes(&world, since).await, [("DELETE".to_owned(), 1), ("POST".to_owned(), 1)]);
    assert_eq!(owned(&world).await, 1);

    let refused =
        json!({"method": "DELETE", "path": CONNECTIONS, "status": 403, "body": "{\"errors\":[\"no\"]}"});
    world.faults(json!([refused])).await;
    let (code, said) = teamlink(&world, &["adopt", "--team", &format!("acme/{}", slugs[1]), "--yes"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("failed: @acme/") && said.contains("403"), "{said}");
    world.faults(json!([])).await;
    let since = world.seq().await;
    assert_eq!(teamlink(&world, &["sync"]).await.0, 0);
    let mut expected = linked(&slugs[..1]);
    expected.extend(by("terraform", &slugs[1..]));
    assert_eq!((world.connections().await, writes(&world, since).await), (expected, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_unlinked_or_names_no_team_of_ours_is_left_alone_with_the_reason() {
    let mut world = World::new(2, &[]).await;
    let slugs = slugs(&world).await;
    connect(&world, &slugs, "terraform").await;
    world
        .seed(json!({"orgs": [{"login": "globex", "teams": [{"name": "Core"}]}],
        "datadog_teams": [{"handle": "core", "name": "Core"}, {"handle": "lost", "name": "Lost"}]}))
        .await;
    connect(&world, &["lost".to_owned()], "terraform").await;
    let core = json!({"data": [{
        "type": "team_connection",
        "attributes": {"source": "github", "managed_by": "terraform"},
        "relationships": {
            "team": {"data": {"type": "team", "id": world.datadog_teams().await["core"]}},
            "connected_team": {"data": {"type": "github_team", "id": "@globex/core"}},
        },
    }]});
    world.datadog(Method::POST, CONNECTIONS, core).await;
    let before = world.connections().await;
    let since = world.seq().await;
    for (env, why) in [
        (
            ("TEAMLINK_POLICY__PROTECTED", "acme/*"),
            "protected by `policy.protected`: not unlinked even for a moment",
        ),
        (("TEAMLINK_POLICY__MODE", "observe"), "policy.mode is observe, and it would have to be deleted"),
        (("TEAMLINK_POLICY__MODE", "upsert"), "policy.mode is upsert, and it would have to be deleted"),
    ] {
        world.set(&[("TEAMLINK_POLICY__PROTECTED", ""), ("TEAMLINK_POLICY__MODE", "sync"), env]);
        let (code, said) = teamlink(&world, &["adopt", "--managed-by", "terraform", "--yes"]).await;
        assert_eq!(code, 0, "{said}");
        assert_eq!(said.matches(why).count(), 2, "{said}");
        assert!(said.contains("GitHub shows no team with its slug"), "{said}");
        assert!(said.contains("its organisation is not served"), "{said}");
        assert!(said.contains("0 to delete and make again, 0 for the ledger alone, 4 left alone"), "{said}");
    }
    world.set(&[("TEAMLINK_POLICY__PROTECTED", ""), ("TEAMLINK_POLICY__MODE", "sync")]);
    assert_eq!(teamlink(&world, &["pause", "all"]).await.0, 0);
    let (code, said) = teamlink(&world, &["adopt", "--org", "acme", "--yes"]).await;
    assert_eq!((code, said.matches("paused since").count()), (0, 2), "{said}");
    assert_eq!(teamlink(&world, &["resume", "all"]).await.0, 0);
    assert_eq!((writes(&world, since).await, world.connections().await), (Vec::new(), before.clone()));

    // A list of teams that was cut is no picture of the organisation.
    let short =
        json!({"method": "GET", "path": "/orgs/*/teams", "status": 403, "body": "{\"message\":\"no\"}"});
    world.faults(json!([short])).await;
    assert_eq!(teamlink(&world, &["adopt", "--org", "acme", "--yes"]).await.0, 1);
    world.faults(json!([])).await;
    assert_eq!(world.connections().await, before);

    let team = format!("acme/{}", slugs[0]);
    assert_eq!(teamlink(&world, &["adopt", "--team", &team, "--yes"]).await.0, 0);
    let mut expected = before;
    expected.remove(by("terraform", &slugs[..1]).first().unwrap());
    expected.extend(linked(&slugs[..1]));
    assert_eq!(world.connections().await, expected);
    let (code, said) = teamlink(&world, &["adopt", "--team", &team, "--org", "acme"]).await;
    assert_eq!((code, said.contains("cannot be used with")), (2, true), "{said}");
}
