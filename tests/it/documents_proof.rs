//! What takes an entry out of GitHub's document, and what does not: names that change, doors that close, lists that
//! are cut, PUTs that are not kept.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::world::{World, text};

const ORG: (&str, &str) = ("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "org");
const LINKED: (&str, &str) = ("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "linked-teams");
const PATH: &str = "/api/v2/idp/entity_integrations/github";

/// `acme` with these repositories, of which the first two are team-1's and the third is team-2's.
async fn repositories(names: &[String], env: &[(&str, &str)]) -> World {
    let world = World::new(2, env).await;
    let repos: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
    world.seed(json!({"orgs": [{"login": "acme", "repos": repos}]})).await;
    for (team, name) in ["team-1", "team-1", "team-2"].iter().zip(names) {
        world.github(Method::PUT, &format!("/orgs/acme/teams/{team}/repos/acme/{name}"), json!({})).await;
    }
    put(&world, &["by/hand"]).await;
    world
}

fn numbered(repositories: usize) -> Vec<String> {
    (1..=repositories).map(|number| format!("repo-{number}")).collect()
}

/// Replaces the document, as a person would.
async fn put(world: &World, names: &[&str]) {
    let entry = |name: &&str| {
        let (owner, name) = name.split_once('/').unwrap();
        json!({"hostname": "127.0.0.1", "github_org_name": owner, "repo_name": name})
    };
    let config = json!({"enabled_repos": names.iter().map(entry).collect::<Vec<_>>()});
    let body =
        json!({"data": {"type": "entity_integration_config_requests", "attributes": {"config": config}}});
    world.datadog(Method::PUT, PATH, body).await;
}

fn names_in(config: &Value) -> BTreeSet<String> {
    let name = |entry: &Value| {
        format!("{}/{}", entry["github_org_name"].as_str().unwrap(), entry["repo_name"].as_str().unwrap())
    };
    config["enabled_repos"].as_array().unwrap().iter().map(name).collect()
}

/// The repositories in the document.
async fn names(world: &World) -> BTreeSet<String> {
    names_in(&world.datadog(Method::GET, PATH, Value::Null).await["data"]["attributes"]["config"])
}

/// What each PUT of teamlink wrote.
async fn puts(world: &World) -> Vec<BTreeSet<String>> {
    let puts = world.requests(0).await.into_iter();
    let puts = puts.filter(|it| it["method"] == "PUT" && it["path"] == PATH && !it["fence"].is_null());
    puts.map(|put| {
        let body = match &put["body"] {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            body => body.clone(),
        };
        names_in(&body["data"]["attributes"]["config"])
    })
    .collect()
}

fn of(owner: &str, names: &[String]) -> BTreeSet<String> {
    names.iter().map(|name| format!("{owner}/{name}")).chain(["by/hand".to_owned()]).collect()
}

#[tokio::test]
async fn a_renamed_organisation_renames_all_its_entries_in_one_put() {
    let repos = numbered(15);
    let world = repositories(&repos, &[ORG, ("TEAMLINK_INTEGRATIONS__GITHUB__INCLUDE", "acme/*")]).await;
    world.pass().await;
    assert_eq!(names(&world).await, of("acme", &repos));
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "umbrella"})).await;
    // The old name belongs to somebody else now.
    world.seed(json!({"orgs": [{"login": "acme", "repos": [{"name": "theirs"}]}]})).await;
    world.teamlink(&["sync"]).await;
    assert_eq!(names(&world).await, of("umbrella", &repos));
    assert_eq!(puts(&world).await, [of("acme", &repos), of("umbrella", &repos)]);
    let sync = text(&world.teamlink(&["sync"]).await);
    // A person decides about the old login, and about nothing else.
    assert!(sync.contains("1 held") && sync.contains("held: release org:"), "{sync}");
}

#[tokio::test]
async fn the_repositories_of_linked_teams_outlast_the_renaming_of_teams_and_organisation() {
    let repos = numbered(3);
    let mut world = repositories(&repos, &[LINKED]).await;
    world.start().await;
    world.pass().await;
    assert_eq!(names(&world).await, of("acme", &repos));
    // While Datadog takes no new connections, the old ones name an organisation and a team that are no more.
    let limit = json!({"x-ratelimit-name": "creates", "x-ratelimit-reset": "1"});
    let creates =
        json!({"method": "POST", "path": "/api/v2/team/connections", "status": 429, "headers": limit});
    world.faults(json!([creates])).await;
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "umbrella"})).await;
    world.github(Method::PATCH, "/orgs/umbrella/teams/team-2", json!({"name": "team-two"})).await;
    world.github(Method::PATCH, "/repos/umbrella/repo-1", json!({"name": "first"})).await;
    let renamed = ["first", "repo-2", "repo-3"].map(str::to_owned);
    let deadline = Instant::now() + Duration::from_secs(20);
    while names(&world).await != of("umbrella", &renamed) {
        assert!(Instant::now() < deadline, "{:?}", names(&world).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.faults(json!([])).await;
    world.stop().await;
    world.pass().await;
    assert_eq!(names(&world).await, of("umbrella", &renamed));
    for put in puts(&world).await {
        assert_eq!(put.len(), 4, "an entry was missing for a while: {put:?}");
    }
}

#[tokio::test]
async fn a_credential_that_lost_its_access_takes_nothing_away() {
    for which in [ORG, LINKED] {
        let repos = numbered(3);
        let world = repositories(&repos, &[which]).await;
        world.pass().await;
        let closed = |path: &str| json!({"path": path, "status": 404});
        // GitHub shows an outsider the public repositories, here none, and hides what is private behind 404.
        let outside = json!([
            {"path": "/orgs/acme/repos", "empty": true},
            closed("/orgs/acme/teams*"), closed("/organizations/*/team/*"), closed("/repositories/*"),
        ]);
        world.faults(outside).await;
        for _ in 0..2 {
            let sync = world.teamlink(&["sync"]).await;
            assert_eq!(sync.status.code(), Some(2), "{}", text(&sync));
        }
        assert_eq!(names(&world).await, of("acme", &repos), "{which:?}");
    }
}

#[tokio::test]
async fn a_short_list_of_a_teams_repositories_or_of_connections_takes_nothing_away() {
    let repos = numbered(3);
    let world = repositories(&repos, &[LINKED]).await;
    // One of the two connections is another's.
    let team = &world.datadog_teams().await["team-2"];
    let connection = json!({"data": [{"type": "team_connection", "attributes": {"source": "github", "managed_by": "x"},
        "relationships": {"team": {"data": {"type": "team", "id": team}},
            "connected_team": {"data": {"type": "github_team", "id": "@acme/team-2"}}}}]});
    world.datadog(Method::POST, "/api/v2/team/connections", connection).await;
    world.pass().await;
    let before = puts(&world).await.len();
    for path in ["/orgs/acme/teams/*/repos", "/api/v2/team/connections"] {
        for how in ["empty", "truncate"] {
            world.faults(json!([{"method": "GET", "path": path, how: true, "times": 6}])).await;
            world.teamlink(&["sync"]).await;
            assert_eq!(names(&world).await, of("acme", &repos), "{how}: {path}");
            world.faults(json!([])).await;
            world.pass().await;
        }
    }
    assert_eq!(puts(&world).await.len(), before);
    // What a team really gave up goes.
    world.github(Method::DELETE, "/orgs/acme/teams/team-1/repos/acme/repo-2", Value::Null).await;
    world.pass().await;
    assert_eq!(names(&world).await, of("acme", &["repo-1".to_owned(), "repo-3".to_owned()]));
}

#[tokio::test]
async fn a_team_that_is_gone_keeps_its_repositories_until_its_connection_goes() {
    let repos = numbered(3);
    let world = repositories(&repos, &[LINKED, ("TEAMLINK_GUARD__GRACE", "1h")]).await;
    world.pass().await;
    world.github(Method::DELETE, "/orgs/acme/teams/team-2", Value::Null).await;
    world.teamlink(&["sync"]).await;
    assert_eq!(world.connections().await.len(), 2, "its connection waits for a second look");
    assert_eq!(names(&world).await, of("acme", &repos));
}

#[tokio::test]
async fn a_short_list_takes_nothing_away_in_exclusive_either() {
    let repos = numbered(4);
    let exclusive = ("TEAMLINK_INTEGRATIONS__GITHUB__MODE", "exclusive");
    let world = repositories(&repos, &[ORG, exclusive]).await;
    // All of it was put there by hand, before teamlink came.
    put(&world, &["acme/repo-1", "acme/repo-2", "acme/repo-3", "acme/repo-4", "acme/gone"]).await;
    world.faults(json!([{"path": "/orgs/acme/repos", "truncate": true}])).await;
    let sync = world.teamlink(&["sync"]).await;
    assert_ne!(sync.status.code(), Some(0), "{}", text(&sync));
    assert!(names(&world).await.is_superset(&repos.iter().map(|name| format!("acme/{name}")).collect()));
    world.faults(json!([])).await;
    world.pass().await;
    assert_eq!(names(&world).await, repos.iter().map(|name| format!("acme/{name}")).collect());
}

#[tokio::test]
async fn what_is_held_stays_held_while_github_cannot_be_read() {
    let repos = numbered(3);
    let mut world = repositories(&repos, &[ORG, ("TEAMLINK_GUARD__MAX_REMOVALS", "2")]).await;
    world.pass().await;
    world.set(&[("TEAMLINK_INTEGRATIONS__GITHUB__EXCLUDE", "acme/*")]);
    let held = text(&world.teamlink(&["sync"]).await);
    assert!(held.contains("3 removals exceed `guard.max_removals` (2)"), "{held}");
    world.faults(json!([{"path": "/orgs/acme/repos", "status": 403}])).await;
    let still = text(&world.teamlink(&["sync"]).await);
    assert!(still.contains("3 removals exceed `guard.max_removals` (2)"), "{still}");
    world.faults(json!([])).await;
    // One of the three is wanted again; the other two do not slip under the limit.
    world.set(&[("TEAMLINK_INTEGRATIONS__GITHUB__EXCLUDE", "acme/*-[12]")]);
    world.pass().await;
    assert_eq!(names(&world).await, of("acme", &repos));
}

#[tokio::test]
async fn a_repository_that_one_look_found_gone_is_said_to_wait() {
    let repos = numbered(2);
    let world = repositories(&repos, &[ORG, ("TEAMLINK_GUARD__GRACE", "1h")]).await;
    world.pass().await;
    world.github(Method::DELETE, "/repos/acme/repo-1", Value::Null).await;
    let sync = world.teamlink(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(2), "{}", text(&sync));
    assert_eq!(names(&world).await, of("acme", &repos));
}

#[tokio::test]
async fn a_put_that_datadog_does_not_keep_is_not_sent_over_and_over() {
    let mut world = repositories(&numbered(1), &[ORG]).await;
    let by_hand = json!({"hostname": "127.0.0.1", "github_org_name": "by", "repo_name": "hand"});
    let config = json!({"enabled_repos": [by_hand]});
    let body = json!({"data": {"id": "x", "type": "entity_integration_configs",
        "attributes": {"integration_id": "github", "org_id": 321_813, "config": config}}});
    world.faults(json!([{"method": "GET", "path": PATH, "body": body}])).await;
    world.start().await;
    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "new"})).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    world.stop().await;
    let puts = puts(&world).await.len();
    assert!((1..=3).contains(&puts), "{puts} PUTs in 8 s");
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_stands_in_the_audit_trail() {
    let world = repositories(&numbered(1), &[ORG, ("TEAMLINK_DATADOG__TIMEOUT", "1s")]).await;
    world.faults(json!([{"method": "PUT", "path": PATH, "times": 1, "reset": true}])).await;
    world.pass().await;
    assert_eq!(names(&world).await, of("acme", &numbered(1)));
    let audit = text(&world.teamlink(&["audit"]).await);
    assert!(audit.contains("add_entry 127.0.0.1/acme/repo-1 = integration:github: unknown"), "{audit}");
}

#[tokio::test]
async fn a_repository_that_moves_between_served_organisations_is_no_removal() {
    let repos = numbered(3);
    let env = [ORG, ("TEAMLINK_GITHUB__ORGS", "acme,other"), ("TEAMLINK_GUARD__MAX_REMOVALS", "0")];
    let world = repositories(&repos, &env).await;
    world.seed(json!({"orgs": [{"login": "other"}]})).await;
    world.pass().await;
    world.github(Method::POST, "/repos/acme/repo-3/transfer", json!({"new_owner": "other"})).await;
    world.pass().await;
    let mut moved = of("acme", &repos[..2]);
    moved.insert("other/repo-3".to_owned());
    assert_eq!(names(&world).await, moved);
    // A removal is held, and paused organisations are left alone.
    world.github(Method::PATCH, "/repos/acme/repo-1", json!({"archived": true})).await;
    let paused = world.teamlink(&["pause", "acme", "--reason", "a migration"]).await;
    assert!(paused.status.success(), "{}", text(&paused));
    assert!(!text(&world.teamlink(&["sync"]).await).contains("held: delete"), "what is paused is not held");
    assert!(world.teamlink(&["resume", "acme"]).await.status.success());
    assert!(text(&world.teamlink(&["sync"]).await).contains("held: delete"));
    assert_eq!(names(&world).await, moved);
}

#[tokio::test]
async fn an_approval_is_for_one_removal_and_what_was_switched_off_is_taken_up_again() {
    let repos = numbered(3);
    let mut world = repositories(&repos, &[ORG, ("TEAMLINK_GUARD__MAX_REMOVALS", "0")]).await;
    world.pass().await;
    let archived = |yes: bool| json!({"archived": yes});
    for round in 1..=2 {
        world.github(Method::PATCH, "/repos/acme/repo-1", archived(true)).await;
        let held = text(&world.teamlink(&["sync"]).await);
        let hash =
            held.split("teamlink approve ").nth(1).expect("held anew").split(' ').next().unwrap().to_owned();
        assert_eq!(names(&world).await, of("acme", &repos), "{round}");
        let approved = world.teamlink(&["approve", &hash, "--reason", "meant so"]).await;
        assert!(approved.status.success(), "{}", text(&approved));
        world.pass().await;
        assert_eq!(names(&world).await, of("acme", &repos[1..]), "{round}");
        world.github(Method::PATCH, "/repos/acme/repo-1", archived(false)).await;
        world.pass().await;
        assert_eq!(names(&world).await, of("acme", &repos), "{round}");
    }
    let before = puts(&world).await.len();
    world.set(&[
        ("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "none"),
        ("TEAMLINK_GUARD__MAX_REMOVALS", "9"),
    ]);
    world.github(Method::PATCH, "/repos/acme/repo-1", archived(true)).await;
    world.pass().await;
    assert_eq!(puts(&world).await.len(), before, "it is left alone");
    world.set(&[ORG]);
    world.pass().await;
    assert_eq!(names(&world).await, of("acme", &repos[1..]));
}
