//! What an operator can ask and order: why a team is as it is, what was done, and that nothing more is done.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::world::{World, linked};

const SOON: Duration = Duration::from_secs(20);

/// Runs the command as a person would; answers its exit code, stdout and stderr.
async fn teamlink(world: &World, args: &[&str]) -> (i32, String, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_teamlink"));
    let output = command.args(args).env_clear().envs(&world.env).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    println!("$ teamlink {}\n{out}{err}", args.join(" "));
    (output.status.code().unwrap(), out, err)
}

/// What `explain` says of a team, as data; it is printed for people too.
async fn explain(world: &World, team: &str) -> Value {
    assert_eq!(teamlink(world, &["explain", team]).await.0, 0);
    let (code, out, err) = teamlink(world, &["explain", team, "--format", "json"]).await;
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

fn blocks(explained: &Value) -> Vec<&str> {
    explained["blocks"].as_array().unwrap().iter().map(|block| block["kind"].as_str().unwrap()).collect()
}

async fn writes(world: &World, since: u64) -> usize {
    let requests = world.requests(since).await;
    let writes = requests.iter().filter(|request| {
        request["path"].as_str().unwrap().starts_with("/api/v2/team") && request["method"] != "GET"
    });
    writes.count()
}

/// Waits until something is so.
async fn until<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    let deadline = Instant::now() + SOON;
    while !is().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_team_is_explained_by_its_slug_its_id_and_its_former_slug() {
    let mut world = World::new(3, &[]).await;
    world.pass().await;
    world.start().await;
    let slug = world.datadog_teams().await.into_keys().next().unwrap();
    let name = format!("acme/{slug}");
    let linked_now = explain(&world, &name).await;
    assert_eq!(blocks(&linked_now), [] as [&str; 0]);
    assert_eq!(linked_now["rule"]["number"], 1);
    assert_eq!(linked_now["rule"]["datadog_teams"], json!([slug]));
    assert_eq!(linked_now["github"]["mirror"]["state"], "present");
    assert_eq!(linked_now["github"]["now"]["slug"], json!(slug));
    assert_eq!(linked_now["now"], json!([]));
    let connections = linked_now["datadog"]["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 1);
    assert_eq!((&connections[0]["owner"], &connections[0]["handle"]), (&json!("us"), &json!(slug)));

    world.seed(json!({"datadog_teams": [{"handle": "renamed", "name": "Renamed"}]})).await;
    world.github(Method::PATCH, &format!("/orgs/acme/teams/{slug}"), json!({"name": "Renamed"})).await;
    let renamed = linked(["renamed"]);
    until("the renamed team is connected", async || renamed.is_subset(&world.connections().await)).await;
    let id = linked_now["id"].to_string();
    for called in [name, format!("@acme/{id}"), "acme/renamed".to_owned()] {
        let explained = explain(&world, &called).await;
        assert_eq!((&explained["id"], &explained["team"]), (&linked_now["id"], &json!("acme/renamed")));
        assert_eq!(explained["events"][0]["event"], "team.edited");
        assert!(explained["looks"]["last_success_at"].is_i64());
    }
    let (code, _, err) = teamlink(&world, &["explain", "acme/nobody"]).await;
    assert_eq!(code, 1);
    assert!(err.contains("neither the ledger nor GitHub knows a team nobody of acme"), "{err}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmapped_an_ignored_and_an_unknown_team_and_one_without_handle_are_explained() {
    let world = World::new(2, &[]).await;
    world.pass().await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    let rules = format!(
        "[[mapping]]\ngithub = \"acme/{}\"\nignore = true\n[[mapping]]\ngithub = \"acme/new\"\ndatadog = \"no-such\"\n",
        slugs[0]
    );
    let file = world.file("rules.toml", &rules);
    for name in ["New", "Nameless"] {
        world.github(Method::POST, "/orgs/acme/teams", json!({"name": name})).await;
    }
    let mut said = Vec::new();
    for team in [&slugs[0], "nameless", "new"] {
        let name = format!("acme/{team}");
        assert_eq!(teamlink(&world, &["--config", &file, "explain", &name]).await.0, 0);
        let (_, out, _) = teamlink(&world, &["--config", &file, "explain", &name, "--format", "json"]).await;
        said.push(serde_json::from_str::<Value>(&out).unwrap());
    }
    assert!(blocks(&said[0]).contains(&"ignored"));
    assert_eq!(blocks(&said[1]), ["unmapped"]);
    assert_eq!(said[1]["rule"]["number"], Value::Null);
    assert_eq!(blocks(&said[2]), ["no_such_handle"]);
    assert_eq!((&said[2]["github"]["mirror"], &said[2]["looks"]), (&Value::Null, &Value::Null));
    assert_eq!(said[2]["rule"]["number"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_team_is_explained_with_the_command_that_lets_it_alone_go() {
    let world = World::new(3, &[]).await;
    world.pass().await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    let file = world.file("typo.toml", "[[mapping]]\ngithub = \"acmee/*\"\ndatadog = \"{slug}\"\n");
    assert_eq!(teamlink(&world, &["--config", &file, "sync"]).await.0, 2);
    let name = format!("acme/{}", slugs[0]);
    let (_, out, _) = teamlink(&world, &["--config", &file, "explain", &name]).await;
    assert!(out.contains(&format!("held: delete @acme/{0} = {0}: ", slugs[0])), "{out}");
    let command = out.lines().find_map(|line| line.trim().strip_prefix("→ teamlink approve ")).unwrap();
    let hash = command.split(' ').next().unwrap();
    assert_eq!(teamlink(&world, &["approve", hash, "--reason", "meant"]).await.0, 0);
    teamlink(&world, &["--config", &file, "sync"]).await;
    assert_eq!(world.connections().await, linked(&slugs[1..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_and_a_conflicting_team_and_refused_credentials_are_explained() {
    let mut world = World::new(2, &[("TEAMLINK_GUARD__GRACE", "1h")]).await;
    world.pass().await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    world.start().await;
    world.seed(json!({"datadog_teams": [{"handle": "bad", "name": "Bad"}]})).await;
    let refused = json!({"method": "POST", "path": "/api/v2/team/connections", "status": 400,
        "body": "{\"errors\":[\"no such thing\"]}"});
    world.faults(json!([refused])).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "Bad"})).await;
    until("the create is parked", async || {
        teamlink(&world, &["parked", "list"]).await.1.contains("@acme/bad")
    })
    .await;
    world.stop().await;
    world.faults(json!([])).await;
    let parked = explain(&world, "acme/bad").await;
    assert!(blocks(&parked).contains(&"parked"), "{parked}");
    assert!(parked["parked"][0]["error"].as_str().unwrap().contains("no such thing"));
    assert!(parked["now"][0].as_str().unwrap().starts_with("create @acme/bad = bad: "), "{parked}");
    let block = parked["blocks"].as_array().unwrap().iter().find(|it| it["kind"] == "parked").unwrap();
    assert!(block["what"].as_str().unwrap().starts_with("create @acme/bad = bad, given up on"), "{parked}");

    // A look of the team without its slug's former holder: GitHub shows both with one slug.
    let (first, second) = (explain(&world, &format!("acme/{}", slugs[0])).await, &slugs[1]);
    let org = first["org"]["id"].to_string();
    let mut team = world.github(Method::GET, &format!("/orgs/acme/teams/{second}"), Value::Null).await;
    team["id"] = first["id"].clone();
    let stale = json!({"method": "GET", "path": format!("/organizations/{org}/team/{}", first["id"]),
        "status": 200, "body": team.to_string()});
    world.faults(json!([stale])).await;
    let conflicting = explain(&world, &format!("acme/{}", first["id"])).await;
    assert_eq!(blocks(&conflicting), ["conflict"], "{conflicting}");
    let owners = conflicting["datadog"]["connections"].as_array().unwrap();
    assert!(owners.iter().all(|it| it["owner"] == "us"), "{conflicting}");

    world
        .faults(json!([
            {"method": "GET", "path": "/api/v2/*", "status": 403, "body": "{\"errors\":[\"Forbidden\"]}"},
        ]))
        .await;
    let refused = explain(&world, &format!("acme/{}", slugs[0])).await;
    assert!(blocks(&refused).contains(&"credential"), "{refused}");
    assert_eq!(refused["github"]["now"]["state"], "present", "GitHub was read");
    assert!(refused["datadog"]["error"].as_str().unwrap().contains("403"), "{refused}");
    world.faults(json!([])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_stops_writes_survives_a_restart_is_lifted_by_no_approval_and_ends() {
    let mut world = World::new(4, &[]).await;
    world.pass().await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    let before = world.connections().await;
    world.start().await;
    let team = format!("acme/{}", slugs[0]);
    assert_eq!(teamlink(&world, &["pause", &team, "--reason", "CHANGE-1"]).await.0, 0);
    let (code, out, _) = teamlink(&world, &["pause", &team]).await;
    assert_eq!((code, out.contains("is paused already")), (0, true));
    world.stop().await;
    world.start().await;

    // The paused team and another one change; only the other one is written.
    let since = world.seq().await;
    world
        .seed(json!({"datadog_teams": [
        {"handle": "renamed-0", "name": "0"}, {"handle": "renamed-1", "name": "1"}]}))
        .await;
    for (n, slug) in slugs.iter().take(2).enumerate() {
        let name = json!({"name": format!("Renamed {n}")});
        world.github(Method::PATCH, &format!("/orgs/acme/teams/{slug}"), name).await;
    }
    let mut expected = linked(["renamed-1"]);
    expected.extend(before.iter().filter(|it| !linked([&slugs[1]]).contains(*it)).cloned());
    world.becomes(&expected, SOON).await;
    until("the paused team is mirrored", async || {
        explain(&world, &team).await["github"]["mirror"]["slug"] == "renamed-0"
    })
    .await;
    let paused = explain(&world, "acme/renamed-0").await;
    assert_eq!(blocks(&paused), ["paused", "paused"], "{paused}");
    assert_eq!(paused["blocks"][0]["remedy"], "teamlink resume acme/renamed-0");
    assert_eq!(paused["now"], json!([]));
    let (code, out, _) = teamlink(&world, &["plan"]).await;
    assert_eq!(code, 2);
    assert!(out.contains("steps that wait: 2") && out.contains("teamlink resume acme/renamed-0"), "{out}");
    let (code, out, _) = teamlink(&world, &["sync"]).await;
    assert_eq!(code, 2);
    assert!(out.contains("paused: pause of acme/renamed-0 since"), "{out}");
    assert_eq!(writes(&world, since).await, 2, "one create and one delete, of the other team");

    // Wider pauses: the end of the inner one is not the end of the outer one.
    assert_eq!(teamlink(&world, &["pause", "all"]).await.0, 0);
    let (code, out, _) = teamlink(&world, &["resume", "acme/renamed-0"]).await;
    assert_eq!((code, out.contains("stays under the pause of all")), (2, true), "{out}");
    world.seed(json!({"datadog_teams": [{"handle": "late", "name": "Late"}]})).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "Late"})).await;
    until("the new team is mirrored", async || {
        explain(&world, "acme/late").await["github"]["mirror"]["state"] == "present"
    })
    .await;
    assert_eq!(world.connections().await, expected);
    assert_eq!(teamlink(&world, &["resume", "all"]).await.0, 0);
    let mut after = linked(&slugs[2..]);
    after.extend(linked(["renamed-0", "renamed-1", "late"]));
    world.becomes(&after, SOON).await;
    assert_eq!(teamlink(&world, &["resume", "all"]).await.0, 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_stays_held_through_a_pause_and_no_approval_lifts_the_pause() {
    let world = World::new(3, &[]).await;
    world.pass().await;
    let before = world.connections().await;
    let file = world.file("typo.toml", "[[mapping]]\ngithub = \"acmee/*\"\ndatadog = \"{slug}\"\n");
    let (_, out, _) = teamlink(&world, &["--config", &file, "sync"]).await;
    let hash = out.lines().find_map(|line| line.trim().strip_prefix("teamlink approve ")).unwrap();
    let hash = hash.split(' ').next().unwrap().to_owned();
    assert_eq!(teamlink(&world, &["pause", "acme"]).await.0, 0);
    assert_eq!(teamlink(&world, &["approve", &hash, "--reason", "meant"]).await.0, 0);
    let (code, out, _) = teamlink(&world, &["--config", &file, "sync"]).await;
    assert_eq!(code, 2, "{out}");
    assert_eq!(world.connections().await, before, "paused");
    assert_eq!(teamlink(&world, &["resume", "acme"]).await.0, 0);
    teamlink(&world, &["--config", &file, "sync"]).await;
    assert!(world.connections().await.is_empty(), "the approval still holds");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_tells_what_led_to_a_create_a_rename_and_a_delete() {
    let mut world = World::new(2, &[]).await;
    world.pass().await;
    world.start().await;
    let before = world.connections().await;
    let with = |more: &str| before.iter().cloned().chain(linked([more])).collect();
    world.seed(json!({"datadog_teams": [{"handle": "a", "name": "A"}, {"handle": "b", "name": "B"}]})).await;
    let chain = async |team: &str| {
        let (code, out, err) = teamlink(&world, &["audit", "--team", team, "--format", "json"]).await;
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Vec<Value>>(&out).unwrap()
    };
    // A delivery that comes before the look has settled may be told with it.
    let settled = async |team: &str, steps: usize| {
        until("all steps are settled", async || chain(team).await.len() == steps).await;
    };
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "A"})).await;
    world.becomes(&with("a"), SOON).await;
    settled("acme/a", 1).await;
    world.github(Method::PATCH, "/orgs/acme/teams/a", json!({"name": "B"})).await;
    world.becomes(&with("b"), SOON).await;
    settled("acme/a", 3).await;
    world.github(Method::DELETE, "/orgs/acme/teams/b", Value::Null).await;
    world.becomes(&before, SOON).await;
    settled("acme/b", 4).await;
    let lines = chain("acme/b").await;
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            [&line["action"], &line["connected_team"], &line["cause"], &line["outcome"]]
                .map(|it| it.as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ["create", "@acme/a", "event", "done"],
            ["create", "@acme/b", "event", "done"],
            ["delete", "@acme/a", "event", "done"],
            ["delete", "@acme/b", "event", "done"],
        ]
    );
    assert_eq!(lines[2]["proof"], "its id reads back as @acme/b");
    assert!(lines[3]["proof"].as_str().unwrap().starts_with("404 by id at "));
    let story = explain(&world, "acme/b").await;
    let guid = |event: &str| {
        let events = story["events"].as_array().unwrap();
        events.iter().find(|it| it["event"] == event).unwrap()["guid"].clone()
    };
    for (line, event) in lines.iter().zip(["team.created", "team.edited", "team.edited", "team.deleted"]) {
        assert_eq!(line["deliveries"], json!([guid(event)]), "{line}");
        assert!(line["fence"].as_i64().unwrap() > 0);
    }
    assert_eq!(blocks(&story), ["gone"], "{story}");
    let (code, out, _) = teamlink(&world, &["audit", "--since", "1h"]).await;
    assert_eq!(code, 0);
    assert!(out.contains("404 by id at "), "{out}");
    assert_eq!(teamlink(&world, &["audit", "--team", "acme/nobody"]).await.0, 1);
    world.stop().await;
}
