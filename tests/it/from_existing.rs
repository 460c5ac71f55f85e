//! A person who comes to teamlink with years of hand-made connections: `check`, `map --from-existing`, and `plan`
//! under those rules, with the built binary against the sandbox.

use std::{
    collections::HashMap,
    fs,
    process::{Output, Stdio},
};

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::sandbox::{self, Remote, Sandbox};

/// Runs `teamlink` against the sandbox, in an empty environment and a directory of its own.
async fn teamlink(sandbox: &Sandbox, dir: &tempfile::TempDir, args: &[&str]) -> Output {
    let ledger = format!("sqlite:{}", dir.path().join("teamlink.db").display());
    tokio::process::Command::new(env!("CARGO_BIN_EXE_teamlink"))
        .args(args)
        .env_clear()
        .envs([("DD_API_KEY", "api"), ("DD_APP_KEY", "app"), ("GITHUB_TOKEN", "token")])
        .env("GITHUB_WEBHOOK_SECRET", "secret")
        .env("TEAMLINK_GITHUB__BASE_URL", sandbox.url())
        .env("TEAMLINK_GITHUB__ORGS", "acme,beta")
        .env("TEAMLINK_DATADOG__BASE_URL", sandbox.url())
        .env("DATABASE_URL", ledger)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// 500 teams of `acme` linked to handles unlike their slugs, 30 of `beta` that follow `{slug}-eng`, and in both
/// organisations teams that are linked to nothing although a Datadog team's handle would fit.
async fn world() -> Sandbox {
    let sandbox = sandbox::start(sandbox::Options::default()).await.unwrap();
    let remote = Remote::new(sandbox.url()).unwrap();
    let squads: Vec<String> = (0..500).map(|n| format!("squad-{n}")).collect();
    let crews: Vec<String> = (0..30).map(|n| format!("crew-{n}")).collect();
    let mut links: Vec<(String, String)> = squads
        .iter()
        .enumerate()
        .map(|(n, slug)| (format!("@acme/{slug}"), format!("cost.{}", 999 - n)))
        .collect();
    links.extend(crews.iter().map(|slug| (format!("@beta/{slug}"), format!("{slug}-eng"))));
    // One GitHub team linked to two Datadog teams.
    links.push(("@acme/squad-0".to_owned(), "cost.1".to_owned()));

    let names = |slugs: &[String], more: &str| -> Vec<Value> {
        slugs.iter().map(String::as_str).chain([more]).map(|name| json!({"name": name})).collect()
    };
    let free = ["loose".to_owned(), "stray-eng".to_owned(), "cost.1".to_owned()];
    let handles = links.iter().map(|(_, handle)| handle).filter(|handle| *handle != "cost.1").chain(&free);
    let seed = json!({
        "orgs": [
            {"login": "acme", "teams": names(&squads, "loose")},
            {"login": "beta", "teams": names(&crews, "stray")},
        ],
        "datadog_teams": handles.map(|handle| json!({"handle": handle, "name": handle})).collect::<Vec<_>>(),
    });
    remote.seed(seed).await.unwrap();
    let mut ids = HashMap::new();
    for page in 0..6 {
        let path = format!("/api/v2/team?page[size]=100&page[number]={page}");
        let teams = remote.send(Method::GET, &path, Value::Null).await.unwrap();
        for team in teams["data"].as_array().unwrap() {
            ids.insert(team["attributes"]["handle"].as_str().unwrap().to_owned(), team["id"].clone());
        }
    }
    for links in links.chunks(50) {
        let data: Vec<Value> = links
            .iter()
            .map(|(github, handle)| {
                json!({
                    "type": "team_connection",
                    "attributes": {"managed_by": "terraform", "source": "github"},
                    "relationships": {
                        "team": {"data": {"id": ids[handle], "type": "team"}},
                        "connected_team": {"data": {"id": github, "type": "github_team"}},
                    },
                })
            })
            .collect();
        remote.send(Method::POST, "/api/v2/team/connections", json!({"data": data})).await.unwrap();
    }
    sandbox
}

#[tokio::test]
async fn rules_from_existing_connections_leave_nothing_to_change() {
    let (world, dir) = (world().await, tempfile::tempdir().unwrap());
    let without = teamlink(&world, &dir, &["plan"]).await;
    assert_eq!(without.status.code(), Some(2), "without rules there is something to change: {without:?}");

    let mapped = teamlink(&world, &dir, &["map", "--from-existing"]).await;
    assert!(mapped.status.success(), "{mapped:?}");
    let rules = dir.path().join("mapping.toml");
    fs::write(&rules, &mapped.stdout).unwrap();
    let rules = rules.to_str().unwrap();
    let blocks = stdout(&mapped).matches("[[mapping]]").count();
    assert_eq!(
        blocks,
        500 + 2 + 1,
        "a rule for each squad, two for the crews, the end:\n{}",
        stdout(&mapped)
    );

    let plan = teamlink(&world, &dir, &["plan", "--config", rules]).await;
    assert_eq!(plan.status.code(), Some(0), "{}{}", stdout(&plan), String::from_utf8_lossy(&plan.stderr));
    let team = teamlink(&world, &dir, &["map", "acme/squad-0", "--config", rules]).await;
    assert!(stdout(&team).contains("`cost.1`") && stdout(&team).contains("`cost.999`"), "{}", stdout(&team));
}

#[tokio::test]
async fn check_finds_that_the_credentials_suffice_or_what_they_lack() {
    let (world, dir) = (world().await, tempfile::tempdir().unwrap());
    let good = teamlink(&world, &dir, &["check", "--format", "json"]).await;
    assert!(good.status.success(), "{good:?}");
    let told: Value = serde_json::from_slice(&good.stdout).unwrap();
    assert!(told["findings"].as_array().unwrap().iter().all(|it| it["verdict"] != "failed"), "{told}");

    let refuse = json!([{"method": "POST", "path": "/api/v2/team/connections", "status": 403, "body": "{}"}]);
    Remote::new(world.url()).unwrap().faults(refuse).await.unwrap();
    let refused = teamlink(&world, &dir, &["check"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(stdout(&refused).contains("failed   team connections can be created"), "{}", stdout(&refused));
    assert!(
        stdout(&refused).contains("→ give the application key's owner `teams_manage`"),
        "{}",
        stdout(&refused)
    );
}
