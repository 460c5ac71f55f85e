//! What cannot be known is held, with the reason: a login in other hands, a team that a narrow credential does not
//! see, an organisation that does not answer. What a suspended or removed App holds is in `github_app.rs`.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::app;

use crate::support::world::{World, linked, text};

const SOON: Duration = Duration::from_secs(20);

/// Writes to Datadog since `since`.
async fn writes(world: &World, since: u64) -> Vec<Value> {
    let mut requests = world.requests(since).await;
    requests.retain(|request| {
        request["method"] != "GET" && request["path"].as_str().unwrap().starts_with("/api/")
    });
    requests
}

/// The one line of `sync` with this in it.
async fn sync_says(world: &World, code: i32, part: &str) -> String {
    let output = world.teamlink(&["sync"]).await;
    let said = text(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = printed.lines().filter(|line| line.contains(part)).collect();
    assert_eq!(lines.len(), 1, "{part}: {said}");
    lines[0].to_owned()
}

/// Every team of `acme` connected under another login.
fn under(login: &str, connections: &BTreeSet<String>) -> BTreeSet<String> {
    connections.iter().map(|it| it.replace("@acme/", &format!("@{login}/"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_passes_between_two_served_organisations_is_no_strangers() {
    let orgs = ("TEAMLINK_GITHUB__ORGS", "acme,initech");
    let world = World::new(2, &[orgs]).await;
    let teams = json!([{"name": "theirs"}]);
    let datadog = json!([{"handle": "theirs", "name": "Theirs"}]);
    world.seed(json!({"orgs": [{"login": "initech", "teams": teams}], "datadog_teams": datadog})).await;
    let first = world.teamlink(&["sync"]).await;
    assert_eq!(first.status.code(), Some(0), "{}", text(&first));
    world.github(Method::PATCH, "/orgs/initech", json!({"login": "initech-legacy"})).await;
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "initech"})).await;
    for _ in 0..2 {
        let sync = world.teamlink(&["sync"]).await;
        assert!(!text(&sync).contains("nothing is done for org"), "{}", text(&sync));
    }
    let sync = world.teamlink(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(0), "{}", text(&sync));
}

#[tokio::test(flavor = "multi_thread")]
async fn for_whoever_takes_the_old_login_of_a_renamed_organisation_nothing_is_done_and_it_is_said() {
    let mut world = World::new(4, &[]).await;
    world.pass().await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    let renamed = under("globex", &linked(&slugs));
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "globex"})).await;
    // The impostor has the same teams, and one that only it has.
    let mut teams: Vec<Value> = slugs.iter().map(|slug| json!({"name": slug})).collect();
    teams.push(json!({"name": "theirs"}));
    world.seed(json!({
        "orgs": [{"login": "acme", "teams": teams}], "datadog_teams": [{"handle": "theirs", "name": "Theirs"}],
    }))
    .await;
    let impostor = world.github(Method::GET, "/orgs/acme", Value::Null).await["id"].to_string();
    let said = sync_says(&world, 2, &format!("nothing is done for org {impostor}")).await;
    assert_eq!(
        said,
        format!(
            "acme: nothing is done for org {impostor}, which has this login now, because it is bound to org 1000001 (globex); to bind acme to org {impostor}:"
        )
    );
    // Ours follow the id to its new login. What names the impostor's teams now is nobody's to delete.
    let all: BTreeSet<String> = renamed.union(&linked(&slugs)).cloned().collect();
    assert_eq!(world.connections().await, all);

    // A daemon that hears the impostor's events, signed with the secret, does nothing for them either.
    world.start().await;
    let since = world.seq().await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "more"})).await;
    world.github(Method::DELETE, "/orgs/acme/teams/theirs", Value::Null).await;
    world.heard(3).await;
    world.stop().await;
    sync_says(&world, 2, "nothing is done for org").await;
    assert_eq!(writes(&world, since).await, Vec::<Value>::new());

    world.set(&[("TEAMLINK_GITHUB__ORGS", "globex")]);
    let output = world.teamlink(&["sync"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(world.connections().await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_that_is_no_owners_a_team_goes_only_after_its_event() {
    let mut world = World::new(4, &[]).await;
    world.pass().await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    let list = world.github(Method::GET, "/orgs/acme/teams?per_page=100", Value::Null).await;
    let (hidden, rest): (Vec<&Value>, Vec<&Value>) =
        list.as_array().unwrap().iter().partition(|team| team["slug"] == slugs[0].as_str());
    let (team, id, since) = (&slugs[0], &hidden[0]["id"], world.seq().await);
    let member = json!({"path": "/user/memberships/orgs/*", "body": {"state": "active", "role": "member"}});
    // It has become secret, and the token's owner is not in it.
    world
        .faults(json!([
            member,
            {"method": "GET", "path": "/orgs/*/teams", "body": rest},
            {"method": "GET", "path": format!("/orgs/*/teams/{team}"), "status": 404},
            {"method": "GET", "path": format!("/organizations/*/team/{id}"), "status": 404},
        ]))
        .await;
    for _ in 0..3 {
        world.pass().await;
    }
    let why = "but the credential may not see secret teams: only the team's own team.deleted event, or an owner's token, proves it gone";
    let said = sync_says(&world, 2, why).await;
    assert!(said.starts_with(&format!("held: acme/{team}: its id answers 404 since ")), "{said}");
    for command in [&["plan"][..], &["explain", &format!("acme/{team}")]] {
        let output = world.teamlink(command).await;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(printed.lines().filter(|line| line.contains(why)).count(), 1, "{}", text(&output));
    }
    assert_eq!(writes(&world, since).await, Vec::<Value>::new());
    assert_eq!(world.connections().await, linked(&slugs));

    // With the event of another team that one goes, and with its own this one.
    world.faults(json!([member, {"path": format!("/organizations/*/team/{id}"), "status": 404}])).await;
    world.start().await;
    world.github(Method::DELETE, &format!("/orgs/acme/teams/{}", slugs[1]), Value::Null).await;
    world.becomes(&linked([&slugs[0], &slugs[2], &slugs[3]]), SOON).await;
    world.github(Method::DELETE, &format!("/orgs/acme/teams/{team}"), Value::Null).await;
    world.becomes(&linked(&slugs[2..]), SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_that_is_not_there_by_its_id_loses_nothing() {
    let mut world = World::new(8, &[]).await;
    world.pass().await;
    let (expected, since) = (linked(world.datadog_teams().await.keys()), world.seq().await);
    // The teams answer 404 too, as those of an organisation that the credential may no longer see.
    world
        .faults(json!([
            {"method": "GET", "path": "/organizations/*", "status": 404},
            {"method": "GET", "path": "/orgs/*", "status": 404},
        ]))
        .await;
    let said = sync_says(&world, 2, "nothing was removed, because").await;
    assert_eq!(
        said,
        "acme: nothing was removed, because org 1000001 (acme) answers 404 by its id: deleted, or no longer visible to this credential"
    );
    let plan = world.teamlink(&["plan"]).await;
    assert!(text(&plan).contains("org 1000001 (acme) answers 404 by its id"), "{}", text(&plan));
    // The same by way of an event.
    world.faults(json!([])).await;
    world.start().await;
    world.faults(json!([{"method": "GET", "path": "/organizations/*", "status": 404}])).await;
    let slug = expected.first().unwrap().split(' ').next().unwrap().to_owned();
    let before = world.seq().await;
    world.github(Method::DELETE, &format!("/orgs/acme/teams/{slug}"), Value::Null).await;
    let refused = async || {
        let since = world.requests(before).await;
        since.iter().any(|it| it["status"] == 404 && it["path"].as_str().unwrap().contains("/team/"))
    };
    while !refused().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.stop().await;
    assert_eq!(writes(&world, since).await, Vec::<Value>::new());
    assert_eq!(world.connections().await, expected);
}

#[tokio::test]
async fn a_login_is_bound_only_once_github_lists_its_teams_and_the_others_are_served_meanwhile() {
    let world = World::new(2, &[("TEAMLINK_GITHUB__ORGS", "newcomer,acme")]).await;
    let sync = async |code: i32| {
        let output = world.teamlink(&["sync"]).await;
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        text(&output)
    };
    let bound = async || {
        let ledger = app::ledger(&world.settings).await.unwrap();
        let orgs = ledger.orgs().await.unwrap().into_iter();
        orgs.map(|org| org.bound_login).collect::<Vec<_>>()
    };
    let said = sync(1).await;
    let absent = "failed to bind the login newcomer: GitHub has no organisation newcomer";
    assert!(said.contains(absent), "{said}");
    assert_eq!(world.connections().await, linked(["team-1", "team-2"]));

    world.seed(json!({"orgs": [{"login": "newcomer", "teams": [{"name": "team-1"}]}]})).await;
    world.faults(json!([{"path": "/orgs/newcomer/teams", "status": 403}])).await;
    let said = sync(1).await;
    assert!(said.contains("failed to bind the login newcomer: "), "{said}");
    assert_eq!(bound().await, ["acme"]);

    world.faults(json!([])).await;
    sync(0).await;
    let mut both = bound().await;
    both.sort();
    assert_eq!(both, ["acme", "newcomer"]);
}
