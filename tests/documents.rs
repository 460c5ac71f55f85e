//! The documents of entity integrations, kept by the worker: from nothing, by events, by passes, beside others who write
//! the same document, and never shrunk by an answer that failed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails; the figures are told"
)]

mod support;
#[path = "support/world.rs"]
mod world;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lapin::BasicProperties;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use support::{Corner, eventually};
use teamlink::{
    app::{Daemon, Role},
    settings::Settings,
};
use world::{World, text};

const ORG: (&str, &str) = ("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "org");

fn path(id: &str) -> String {
    format!("/api/v2/idp/entity_integrations/{id}")
}

/// `acme` with these repositories.
async fn repositories(names: &[&str], env: &[(&str, &str)]) -> World {
    let world = World::new(0, &[&[ORG], env].concat()).await;
    let repos: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
    world.seed(json!({"orgs": [{"login": "acme", "repos": repos}]})).await;
    world
}

/// An entry of GitHub's document.
fn repository(name: &str) -> Value {
    json!({"hostname": "127.0.0.1", "github_org_name": "acme", "repo_name": name})
}

async fn put(world: &World, id: &str, config: &Value) {
    let body =
        json!({"data": {"type": "entity_integration_config_requests", "attributes": {"config": config}}});
    world.datadog(Method::PUT, &path(id), body).await;
}

async fn config(world: &World, id: &str) -> Value {
    world.datadog(Method::GET, &path(id), Value::Null).await["data"]["attributes"]["config"].clone()
}

/// The names in GitHub's document.
async fn names(world: &World) -> BTreeSet<String> {
    let url = format!("{}{}", world.sandbox.url(), path("github"));
    let request = world.http.get(url).header("DD-API-KEY", "api").header("DD-APPLICATION-KEY", "app");
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let entries = answer["data"]["attributes"]["config"]["enabled_repos"].as_array().cloned();
    let name = |entry: &Value| entry["repo_name"].as_str().unwrap().to_owned();
    entries.unwrap_or_default().iter().map(name).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn become_(world: &World, expected: &[&str]) {
    eventually("the names in the document", set(expected), async || names(world).await).await;
}

/// The PUTs that teamlink sent.
async fn puts(world: &World) -> Vec<Value> {
    let requests = world.requests(0).await;
    requests.into_iter().filter(|it| it["method"] == "PUT" && !it["fence"].is_null()).collect()
}

async fn repo(world: &World, name: &str, change: Value) {
    world.github(Method::PATCH, &format!("/repos/acme/{name}"), change).await;
}

#[tokio::test]
async fn repositories_are_followed_by_events_and_what_a_person_added_survives() {
    let mut world = repositories(&["app"], &[]).await;
    world.start().await;
    world.pass().await;
    become_(&world, &["app"]).await;
    let mut by_hand = repository("by-hand");
    by_hand["since"] = json!("yesterday");
    let theirs = json!({"enabled_repos": [by_hand, repository("app")], "beside": {"any": 1.5}});
    put(&world, "github", &theirs).await;

    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "new"})).await;
    become_(&world, &["app", "by-hand", "new"]).await;
    repo(&world, "new", json!({"name": "newer"})).await;
    become_(&world, &["app", "by-hand", "newer"]).await;
    repo(&world, "app", json!({"archived": true})).await;
    become_(&world, &["by-hand", "newer"]).await;
    repo(&world, "app", json!({"archived": false})).await;
    become_(&world, &["app", "by-hand", "newer"]).await;
    // Gone: at two looks.
    world.github(Method::DELETE, "/repos/acme/newer", Value::Null).await;
    become_(&world, &["app", "by-hand"]).await;
    let now = config(&world, "github").await;
    assert_eq!((&now["enabled_repos"][0], &now["beside"]), (&by_hand, &json!({"any": 1.5})));
    world.stop().await;
}

#[tokio::test]
async fn a_pass_makes_the_first_document_repairs_drift_and_leaves_alone_what_is_right() {
    let world = repositories(&["app", "lib"], &[]).await;
    world.pass().await;
    assert_eq!(
        config(&world, "github").await,
        json!({"enabled_repos": [repository("app"), repository("lib")]})
    );
    put(&world, "github", &json!({"enabled_repos": [repository("lib"), repository("by-hand")]})).await;
    world.pass().await;
    let repaired = json!({"enabled_repos": [repository("lib"), repository("by-hand"), repository("app")]});
    assert_eq!(config(&world, "github").await, repaired);
    world.pass().await;
    assert_eq!(puts(&world).await.len(), 2, "a third pass had nothing to do");
    let audit = text(&world.teamlink(&["audit"]).await);
    assert!(
        audit.contains("integration:github  add_entry 127.0.0.1/acme/app = integration:github: done"),
        "{audit}"
    );
}

#[tokio::test]
async fn a_transferred_repository_goes_with_proof_by_its_id() {
    let world = repositories(&["app", "lib"], &[]).await;
    world.seed(json!({"orgs": [{"login": "other"}]})).await;
    world.pass().await;
    world.github(Method::POST, "/repos/acme/lib/transfer", json!({"new_owner": "other"})).await;
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app"]));
    let audit = text(&world.teamlink(&["audit"]).await);
    assert!(audit.contains("the repository is other/lib now"), "{audit}");
}

#[tokio::test]
async fn an_answer_that_failed_or_is_short_takes_nothing_away() {
    let world = repositories(&["app", "lib"], &[]).await;
    world.pass().await;
    let before = names(&world).await;
    for (fault, ends) in [
        (json!({"path": "/orgs/acme/repos", "status": 404}), 2),
        (json!({"path": "/orgs/acme/repos", "status": 403}), 2),
        // These pass by themselves, and the pass waits for it.
        (json!({"path": "/orgs/acme/repos", "times": 3, "empty": true}), 0),
        (json!({"path": "/orgs/acme/repos", "times": 3, "truncate": true}), 0),
        (json!({"path": "/orgs/acme/repos", "times": 3, "status": 500}), 0),
        (json!({"path": "/api/v2/idp/*", "status": 403}), 2),
    ] {
        world.faults(json!([fault])).await;
        let sync = world.teamlink(&["sync"]).await;
        assert_eq!(sync.status.code(), Some(ends), "{fault}: {}", text(&sync));
        world.faults(json!([])).await;
        assert_eq!(names(&world).await, before, "{fault}");
        world.pass().await;
    }
    assert_eq!(puts(&world).await.len(), 1);
}

#[tokio::test]
async fn a_list_is_not_emptied_without_a_person() {
    let mut world = repositories(&["app"], &[]).await;
    world.pass().await;
    world.set(&[("TEAMLINK_INTEGRATIONS__GITHUB__EXCLUDE", "acme/*")]);
    let held = world.teamlink(&["sync"]).await;
    assert_eq!(held.status.code(), Some(2), "{}", text(&held));
    let said = text(&held);
    assert!(said.contains("it would leave the list empty, which may mean all"), "{said}");
    assert_eq!(names(&world).await, set(&["app"]));
    let hash = said.split("teamlink approve ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let approved = world.teamlink(&["approve", &hash, "--reason", "meant so"]).await;
    assert!(approved.status.success(), "{}", text(&approved));
    world.pass().await;
    assert_eq!(config(&world, "github").await, json!({"enabled_repos": []}));
    world.pass().await;
    assert_eq!(puts(&world).await.len(), 2);
}

#[tokio::test]
async fn observe_writes_nothing_and_upsert_removes_nothing() {
    let mut world = repositories(&["app"], &[("TEAMLINK_POLICY__MODE", "observe")]).await;
    world.pass().await;
    assert_eq!(puts(&world).await.len(), 0);
    let diff = world.teamlink(&["integrations", "diff", "github"]).await;
    assert_eq!(diff.status.code(), Some(2), "what it would do can be seen: {}", text(&diff));
    world.set(&[("TEAMLINK_POLICY__MODE", "upsert")]);
    world.pass().await;
    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "new"})).await;
    repo(&world, "app", json!({"archived": true})).await;
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app", "new"]));
    world.set(&[("TEAMLINK_POLICY__MODE", "sync")]);
    world.pass().await;
    assert_eq!(names(&world).await, set(&["new"]));
}

#[tokio::test]
async fn a_key_of_another_datadog_organisation_writes_nothing() {
    let world = repositories(&["app"], &[]).await;
    world.pass().await;
    // Learnt when the document was there to be read.
    world.pass().await;
    repo(&world, "app", json!({"archived": true})).await;
    let other = json!({"data": {"id": "x", "type": "entity_integration_configs", "attributes": {
        "integration_id": "github", "org_id": 7, "config": {"enabled_repos": [repository("app"), repository("x")]},
    }}});
    world.faults(json!([{"method": "GET", "path": "/api/v2/idp/*", "body": other}])).await;
    let refused = world.teamlink(&["sync"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("the keys are those of Datadog organisation 7"), "{}", text(&refused));
    assert_eq!(puts(&world).await.len(), 1);
}

#[tokio::test]
async fn a_put_whose_end_is_unknown_is_looked_up_and_what_it_added_is_ours() {
    let world = repositories(&["app", "lib"], &[("TEAMLINK_DATADOG__TIMEOUT", "1s")]).await;
    world.faults(json!([{"method": "PUT", "path": "/api/v2/idp/*", "times": 1, "reset": true}])).await;
    world.pass().await;
    assert_eq!((puts(&world).await.len(), names(&world).await), (1, set(&["app", "lib"])));
    world.faults(json!([{"method": "PUT", "path": "/api/v2/idp/*", "times": 1, "status": 400}])).await;
    repo(&world, "lib", json!({"archived": true})).await;
    let parked = world.teamlink(&["sync"]).await;
    assert_eq!(parked.status.code(), Some(2), "{}", text(&parked));
    assert_eq!(names(&world).await, set(&["app", "lib"]));
    // The next pass tries what was refused again, and the entry of the first PUT is ours to take back.
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app"]));
}

#[tokio::test]
async fn the_repositories_of_linked_teams_follow_their_connections() {
    let mut world = World::new(2, &[("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "linked-teams")]).await;
    world.seed(json!({"orgs": [{"login": "acme", "repos": [{"name": "app"}, {"name": "lib"}, {"name": "web"}]}]})).await;
    for (team, repo) in [("team-1", "app"), ("team-2", "lib")] {
        world.github(Method::PUT, &format!("/orgs/acme/teams/{team}/repos/acme/{repo}"), json!({})).await;
    }
    world.start().await;
    world.pass().await;
    become_(&world, &["app", "lib"]).await;
    world.github(Method::PUT, "/orgs/acme/teams/team-1/repos/acme/web", json!({})).await;
    become_(&world, &["app", "lib", "web"]).await;
    // Its connection goes, and with it the reason for its repositories.
    world.github(Method::DELETE, "/orgs/acme/teams/team-2", Value::Null).await;
    become_(&world, &["app", "web"]).await;
    world.stop().await;
}

#[tokio::test]
async fn jira_and_pagerduty_are_made_changed_and_repaired() {
    let mut world = World::new(0, &[]).await;
    let declare = |world: &mut World, text: &str| {
        let file = world.file("teamlink.toml", text);
        world.settings = Settings::load(&[file.into()], &world.env).unwrap().settings;
    };
    let project =
        |key: &str| json!({"hostname": "acme.atlassian.net", "account_id": "1", "project_key": key});
    declare(
        &mut world,
        r#"
        [[integrations.jira.enabled_projects]]
        hostname = "acme.atlassian.net"
        account_id = "1"
        project_key = "ENG"
        [[integrations.pagerduty.accounts]]
        subdomain = "acme"
        enabled = true
        "#,
    );
    world.pass().await;
    assert_eq!(config(&world, "jira").await, json!({"enabled_projects": [project("ENG")]}));
    assert_eq!(
        config(&world, "pagerduty").await,
        json!({"accounts": [{"subdomain": "acme", "enabled": true}]})
    );

    put(&world, "jira", &json!({"enabled_projects": [project("OPS")]})).await;
    put(&world, "pagerduty", &json!({"accounts": [{"subdomain": "Acme", "enabled": false, "note": 1}]}))
        .await;
    world.pass().await;
    assert_eq!(config(&world, "jira").await, json!({"enabled_projects": [project("OPS"), project("ENG")]}));
    let account = json!({"subdomain": "Acme", "enabled": true, "note": 1});
    assert_eq!(config(&world, "pagerduty").await, json!({"accounts": [account]}));

    declare(&mut world, "[integrations.jira]\nenabled_projects = []");
    world.pass().await;
    assert_eq!(config(&world, "jira").await, json!({"enabled_projects": [project("OPS")]}));
    assert_eq!(config(&world, "pagerduty").await, json!({"accounts": [account]}), "it is left alone");
}

/// What the sandbox says of teamlink's PUTs.
async fn judged(world: &World) -> Value {
    let stats = format!("{}/_sandbox/stats", world.sandbox.url());
    let stats: Value = world.http.get(stats).send().await.unwrap().json().await.unwrap();
    let writers = stats["integrations"]["github"].as_object().unwrap();
    writers.iter().find(|(client, _)| client.starts_with("teamlink/")).unwrap().1.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_person_edits_at_random_nothing_that_was_seen_is_lost() {
    const PUTS: u64 = 200;
    let fast = [("TEAMLINK_RECONCILE__DEBOUNCE", "1ms"), ("TEAMLINK_RECONCILE__MAX_WAIT", "2ms")];
    let mut world = repositories(&["app", "lib"], &fast).await;
    world.start().await;
    world.pass().await;
    let mut dice = StdRng::seed_from_u64(11);
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut name = "app".to_owned();
    for edit in 0.. {
        let done = judged(&world).await["puts_after_get"].as_u64().unwrap();
        if done >= PUTS {
            break;
        }
        assert!(Instant::now() < deadline, "{done} PUTs");
        let renamed = format!("app-{edit}");
        repo(&world, &name, json!({"name": renamed})).await;
        name = renamed;
        tokio::time::sleep(Duration::from_micros(dice.random_range(0..30_000))).await;
        let mut document = config(&world, "github").await;
        let entries = document["enabled_repos"].as_array_mut().unwrap();
        let by_hand = entries.iter().position(|it| it["repo_name"].as_str().unwrap().starts_with("person"));
        match by_hand.filter(|_| dice.random_bool(0.3)) {
            Some(place) => drop(entries.remove(place)),
            None => {
                let place = dice.random_range(0..=entries.len());
                entries.insert(place, repository(&format!("person-{edit}")));
            }
        }
        put(&world, "github", &document).await;
    }
    world.stop().await;
    let ours = judged(&world).await;
    println!("beside a person who edits: {ours}");
    // What the person does within the gap is lost at times; what a GET of ours saw is not.
    assert_eq!(ours["removed_of_others"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_events_over_three_hundred_repositories_are_a_few_puts() {
    const EVENTS: usize = 5_000;
    const REPOS: usize = 300;
    let corner = Corner::new().await;
    let amqp = support::amqp_url();
    let options = &corner.options;
    let env = [
        ORG,
        ("AMQP_URL", amqp.as_str()),
        ("TEAMLINK_QUEUE__EXCHANGE", options.exchange.as_str()),
        ("TEAMLINK_QUEUE__QUEUE", options.queue.as_str()),
        ("TEAMLINK_QUEUE__DEAD_QUEUE", options.dead_queue.as_str()),
        ("TEAMLINK_GUARD__MAX_SHARE", "1"),
        ("TEAMLINK_GUARD__MAX_REMOVALS", "1000"),
    ];
    let mut world = World::new(0, &env).await;
    let repos: Vec<_> = (0..REPOS).map(|n| json!({"name": format!("repo-{n}")})).collect();
    world.seed(json!({"orgs": [{"login": "acme", "repos": repos}]})).await;
    put(&world, "github", &json!({"enabled_repos": [repository("by-hand")]})).await;
    let org = world.github(Method::GET, "/orgs/acme", json!({})).await;
    let daemon = Daemon::start(&world.settings, Role::Worker, world::metrics()).await.unwrap();
    world.daemon = Some(daemon);
    eventually("the queue is there", true, async || {
        let url = format!("http://{}/readyz", world.daemon.as_ref().unwrap().addr);
        world.http.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;

    let started = Instant::now();
    let mut dice = StdRng::seed_from_u64(5);
    let mut expected: BTreeSet<String> = (0..REPOS).map(|n| format!("repo-{n}")).collect();
    for event in 0..EVENTS {
        let number = dice.random_range(0..REPOS);
        if event % 50 == 0 {
            let name = format!("repo-{number}");
            let archived = dice.random_bool(0.7);
            repo(&world, &name, json!({"archived": archived})).await;
            match archived {
                true => expected.remove(&name),
                false => expected.insert(name),
            };
        }
        let body = json!({
            "action": "edited", "organization": org,
            "repository": {"id": number, "name": format!("repo-{number}"), "owner": {"login": "acme"}},
        });
        let properties = BasicProperties::default().with_message_id(format!("event-{event}").into());
        corner.publish("github.repository", properties, body.to_string().as_bytes()).await;
    }
    expected.insert("by-hand".into());
    eventually("wanted and foreign", expected, async || names(&world).await).await;
    let took = started.elapsed();
    eventually("every event is stored", EVENTS as i64, async || {
        let mut ledger = SqliteConnection::connect(&world.env["TEAMLINK_LEDGER__URL"]).await.unwrap();
        sqlx::query_scalar("SELECT COUNT(*) FROM deliveries").fetch_one(&mut ledger).await.unwrap()
    })
    .await;
    world.stop().await;
    let puts = puts(&world).await;
    let times: Vec<u64> = puts.iter().map(|put| put["at_us"].as_u64().unwrap()).collect();
    let closest = times.windows(2).map(|pair| pair[1] - pair[0]).min();
    println!(
        "{EVENTS} events in {:.1} s: {} PUTs, {closest:?} µs between the closest",
        took.as_secs_f64(),
        puts.len()
    );
    assert!(closest.is_none_or(|closest| closest >= 500_000), "two PUTs within `reconcile.max_wait`");
    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
}
