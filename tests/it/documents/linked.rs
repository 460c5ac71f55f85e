//! GitHub's document from the repositories of linked teams.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::support::{
    documents::{approve_held, become_, names, set},
    eventually,
    world::{World, linked as connections},
};

#[tokio::test]
async fn the_repositories_of_linked_teams_follow_their_connections() {
    let mut world = World::new(2, &[("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "linked-teams")]).await;
    world.seed(json!({"orgs": [{"login": "acme", "repos": [{"name": "app"}, {"name": "lib"}, {"name": "web"}]}]})).await;
    for (team, repo) in [("team-1", "app"), ("team-2", "lib")] {
        world.github(Method::PUT, &format!("/orgs/acme/teams/{team}/repos/acme/{repo}"), json!({})).await;
    }
    approve_held(&world, &[]).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_new_parent_gives_a_team_and_all_below_it_its_repositories_and_the_others_lists_are_not_read_again()
{
    let linked = [("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "linked-teams")];
    let mut world = World::new(3, &linked).await;
    let teams = [json!({"name": "Root"}), json!({"name": "Mid"}), json!({"name": "Kid", "parent": "mid"})];
    let repos = ["app", "deep"].map(|name| json!({"name": name}));
    // Only the youngest of the three is linked.
    let kid = json!([{"handle": "kid", "name": "Kid"}]);
    world
        .seed(json!({"orgs": [{"login": "acme", "teams": teams, "repos": repos}], "datadog_teams": kid}))
        .await;
    for (team, repo) in [("team-1", "app"), ("root", "deep")] {
        world.github(Method::PUT, &format!("/orgs/acme/teams/{team}/repos/acme/{repo}"), json!({})).await;
    }
    let root = world.github(Method::GET, "/orgs/acme/teams/root", Value::Null).await["id"].clone();
    approve_held(&world, &[]).await;
    world.start().await;
    world.pass().await;
    become_(&world, &["app"]).await;
    at_rest(&world).await;
    for (parent, expected, goes) in [(root, vec!["app", "deep"], false), (Value::Null, vec!["app"], true)] {
        let since = world.seq().await;
        world.github(Method::PATCH, "/orgs/acme/teams/mid", json!({"parent_team_id": parent})).await;
        become_(&world, &expected).await;
        at_rest(&world).await;
        let requests = world.requests(since).await;
        let lists = requests.iter().filter_map(|it| it["path"].as_str()).filter(|it| it.ends_with("/repos"));
        let read: Vec<&str> = lists.filter(|path| path.starts_with("/orgs/acme/teams/")).collect();
        assert!(!read.is_empty());
        // Before an entry goes, each team's list is read.
        assert_eq!(read.iter().any(|path| !path.contains("/kid/")), goes, "{read:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn an_entry_stays_while_another_linked_team_has_its_repository_though_the_event_was_lost() {
    let mut world = World::new(2, &[("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "linked-teams")]).await;
    world.seed(json!({"orgs": [{"login": "acme", "repos": [{"name": "app"}, {"name": "lib"}]}]})).await;
    let grant = |team: &str, repo: &str| format!("/orgs/acme/teams/{team}/repos/acme/{repo}");
    for (team, repo) in [("team-1", "app"), ("team-2", "lib")] {
        world.github(Method::PUT, &grant(team, repo), json!({})).await;
    }
    approve_held(&world, &[]).await;
    world.start().await;
    world.pass().await;
    become_(&world, &["app", "lib"]).await;
    at_rest(&world).await;
    let lost = json!([{"method": "PUT", "path": "/orgs/acme/teams/team-2/repos/*", "drop_webhooks": true}]);
    world.faults(lost).await;
    world.github(Method::PUT, &grant("team-2", "app"), json!({})).await;
    world.faults(json!([])).await;
    world.github(Method::DELETE, "/orgs/acme/teams/team-1", Value::Null).await;
    eventually("the connections", connections(["team-2"]), async || world.connections().await).await;
    at_rest(&world).await;
    assert_eq!(names(&world).await, set(&["app", "lib"]));
    world.github(Method::DELETE, &grant("team-2", "app"), Value::Null).await;
    become_(&world, &["lib"]).await;
    world.stop().await;
}

/// What GitHub answers 304, which costs nothing.
const UNCHANGED: &str = "unchanged";

/// What teamlink asked for since then, by a short name of what it read.
async fn asked(world: &World, since: u64) -> BTreeMap<&'static str, usize> {
    let mut asked = BTreeMap::new();
    for request in world.requests(since).await {
        let path = request["path"].as_str().unwrap();
        let what = match request["method"].as_str().unwrap() {
            _ if request["status"] == 304 => UNCHANGED,
            "GET" if path.starts_with("/orgs/acme/teams/") && path.ends_with("/repos") => "lists of teams",
            "GET" if path == "/orgs/acme/repos" => "pages of the org's list",
            "GET" if path.starts_with("/org") || path.starts_with("/repositories/") => {
                "other looks at GitHub"
            }
            "GET" if path == "/api/v2/team/connections" => "pages of connections",
            "PUT" if !request["fence"].is_null() => "PUTs",
            _ => continue,
        };
        *asked.entry(what).or_default() += 1;
    }
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_among_a_thousand_linked_teams_takes_a_handful_of_requests() {
    const TEAMS: usize = 1_000;
    const HANDFUL: usize = 16;
    let linked = [("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "linked-teams")];
    let mut world = World::new(TEAMS, &linked).await;
    let repos: Vec<_> = ["app", "lib", "web", "old"].map(|name| json!({"name": name})).to_vec();
    world.seed(json!({"orgs": [{"login": "acme", "repos": repos}]})).await;
    for (team, repo) in [("team-1", "app"), ("team-2", "lib"), ("team-3", "old")] {
        world.github(Method::PUT, &format!("/orgs/acme/teams/{team}/repos/acme/{repo}"), json!({})).await;
    }
    approve_held(&world, &[]).await;
    let since = world.seq().await;
    world.start().await;
    world.pass().await;
    become_(&world, &["app", "lib", "old"]).await;
    let first = asked(&world, since).await;
    println!("a full pass over {TEAMS} linked teams: {first:?}");
    assert!(first["lists of teams"] >= TEAMS, "a pass takes nothing for granted");
    // What the connections that the pass made still mark, so that no event is charged with it.
    at_rest(&world).await;

    let grant = |team: &str, repo: &str| format!("/orgs/acme/teams/{team}/repos/acme/{repo}");
    let steps = [
        (
            "a team gets a repository",
            Method::PUT,
            grant("team-7", "web"),
            json!({}),
            vec!["app", "lib", "old", "web"],
        ),
        (
            "a repository is renamed",
            Method::PATCH,
            "/repos/acme/lib".into(),
            json!({"name": "library"}),
            vec!["app", "library", "old", "web"],
        ),
        (
            "a repository is archived",
            Method::PATCH,
            "/repos/acme/old".into(),
            json!({"archived": true}),
            vec!["app", "library", "web"],
        ),
        (
            "a repository is deleted",
            Method::DELETE,
            "/repos/acme/web".into(),
            Value::Null,
            vec!["app", "library"],
        ),
        ("a team loses its repository", Method::DELETE, grant("team-1", "app"), Value::Null, vec!["library"]),
        ("a team is deleted", Method::DELETE, "/orgs/acme/teams/team-9".into(), Value::Null, vec!["library"]),
    ];
    let mut listings = 0;
    for (what, method, path, body, expected) in steps {
        let since = world.seq().await;
        world.github(method, &path, body).await;
        become_(&world, &expected).await;
        at_rest(&world).await;
        let asked = asked(&world, since).await;
        println!("{what}: {asked:?}");
        // Others' connections are listed once in `datadog.teams_ttl`: by the first event here.
        let listing = asked.get("pages of connections").filter(|pages| **pages > TEAMS / 100);
        listings += usize::from(listing.is_some());
        let free = [listing, asked.get(UNCHANGED)].into_iter().flatten().sum::<usize>();
        let total = asked.values().sum::<usize>() - free;
        assert!((1..=HANDFUL).contains(&total), "{what}: {total} requests");
    }
    assert!(listings <= 1, "{listings} listings");
    let since = world.seq().await;
    world.pass().await;
    let asked = asked(&world, since).await;
    let lists = ["lists of teams", UNCHANGED].iter().filter_map(|what| asked.get(what)).sum::<usize>();
    assert!(lists >= TEAMS - 1, "the next pass reads every list again: {asked:?}");
    world.stop().await;
}

/// Waits until every webhook was taken and every mark is answered.
async fn at_rest(world: &World) {
    eventually("webhooks under way, marks without an answer", (Some(0), 0), async || {
        let stats = world.remote.stats().await.unwrap();
        let mut ledger = SqliteConnection::connect(&world.env["TEAMLINK_LEDGER__URL"]).await.unwrap();
        let marks = "SELECT COUNT(*) FROM marks WHERE first_at IS NOT NULL";
        let marks: i64 = sqlx::query_scalar(marks).fetch_one(&mut ledger).await.unwrap();
        (stats["webhooks"]["pending"].as_i64(), marks)
    })
    .await;
}
