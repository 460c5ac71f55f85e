//! Situations in which an earlier version removed, forgot or connected what it should not have: each lived by the built
//! worker, as a process, with the sandbox. `tests/simulation` lives them with every step between.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{ledger::Ledger, model::Lane};

use crate::support::{
    eventually,
    process::Process,
    world::{World, linked, text},
};

const SOON: Duration = Duration::from_secs(60);

/// Passes begin with the process, and come again as often as a test needs.
const PASSES: (&str, &str) = ("TEAMLINK_RECONCILE__EVERY", "1h");

async fn ledger(world: &World) -> Ledger {
    teamlink::app::ledger(&world.settings).await.unwrap()
}

async fn rename(world: &World, slug: &str, name: &str) {
    world.github(Method::PATCH, &format!("/orgs/acme/teams/{slug}"), json!({"name": name})).await;
}

async fn delete(world: &World, org: &str, slug: &str) {
    world.github(Method::DELETE, &format!("/orgs/{org}/teams/{slug}"), Value::Null).await;
}

async fn call(world: &World, login: &str, new: &str) {
    world.github(Method::PATCH, &format!("/orgs/{login}"), json!({"login": new})).await;
}

async fn datadog_team(world: &World, handle: &str) {
    world.seed(json!({"datadog_teams": [{"handle": handle, "name": handle}]})).await;
}

fn these(connections: &[&str]) -> BTreeSet<String> {
    connections.iter().map(|it| (*it).to_owned()).collect()
}

/// What the worker wrote to Datadog's connections since then: the method and the body.
async fn writes(world: &World, since: u64) -> Vec<(String, Value)> {
    let all = world.requests(since).await.into_iter();
    let ours = all.filter(|it| it["fence"].is_string() && it["method"] != "GET");
    ours.map(|it| (it["method"].as_str().unwrap().to_owned(), it["body"].clone())).collect()
}

/// Waits until so many teams of the organisation are neither suspected nor proven to be gone.
async fn present(world: &World, login: &str, teams: usize) {
    let ledger = ledger(world).await;
    let count = async || {
        let org = ledger.orgs().await.unwrap().into_iter().find(|org| org.is_called(login)).unwrap();
        ledger.present_teams(org.facts.id).await.unwrap().len()
    };
    eventually("teams that are present", teams, count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_that_was_taken_off_the_list_is_written_to_no_more() {
    let slow = [PASSES, ("TEAMLINK_GUARD__GRACE", "5s")];
    let mut world = World::new(2, &slow).await;
    world.seed(json!({"orgs": [{"login": "globex", "teams": [{"name": "Edge"}]}]})).await;
    let worker = Process::start(&world).await;
    worker.hook(&world, "acme").await;
    world.becomes(&linked(["team-1", "team-2"]), SOON).await;
    // A removal after its first look, and a team that waits for its handle.
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "Later"})).await;
    delete(&world, "acme", "team-1").await;
    present(&world, "acme", 2).await;
    worker.stop().await;

    world.set(&[("TEAMLINK_GITHUB__ORGS", "globex")]);
    for handle in ["later", "edge"] {
        datadog_team(&world, handle).await;
    }
    let before = world.seq().await;
    let worker = Process::start(&world).await;
    let mut expected = linked(["team-1", "team-2"]);
    expected.insert("edge = @globex/edge".to_owned());
    world.becomes(&expected, SOON).await;
    let (ledger, acme) = (ledger(&world).await, world.github(Method::GET, "/orgs/acme", Value::Null).await);
    let lane = Lane::Org(teamlink::model::OrgId(acme["id"].as_i64().unwrap()));
    let due = async || ledger.progress(lane, ledger.clock().now()).await.unwrap().due > 0;
    eventually("what acme had due is due, and stays so", true, due).await;
    delete(&world, "globex", "edge").await;
    world.teamlink(&["sync"]).await;
    let wrote = writes(&world, before).await;
    assert!(wrote.iter().all(|(_, body)| !body.to_string().contains("@acme/")), "{wrote:?}");
    let connected = world.connections().await;
    assert!(connected.contains("team-1 = @acme/team-1") && !connected.contains("later = @acme/later"));
    worker.stop().await;
}

/// Two organisations that are served, each with a team `team-1`. The login of the first passes to the second, in trouble
/// of this kind.
async fn a_login_passes(trouble: impl AsyncFnOnce(&World), over: impl AsyncFnOnce(&World)) {
    let world = World::new(1, &[PASSES, ("TEAMLINK_GITHUB__ORGS", "acme,globex")]).await;
    world.seed(json!({"orgs": [{"login": "globex", "teams": [{"name": "Team 1"}]}]})).await;
    let worker = Process::start(&world).await;
    for login in ["acme", "globex"] {
        worker.hook(&world, login).await;
    }
    world.becomes(&these(&["team-1 = @acme/team-1", "team-1 = @globex/team-1"]), SOON).await;
    let before = world.seq().await;
    trouble(&world).await;
    call(&world, "acme", "acme-legacy").await;
    call(&world, "globex", "acme").await;
    // Both hear of their new logins.
    for login in ["acme-legacy", "acme"] {
        world.github(Method::POST, &format!("/orgs/{login}/teams"), json!({"name": "Other"})).await;
    }
    over(&world).await;
    world.becomes(&these(&["team-1 = @acme/team-1", "team-1 = @acme-legacy/team-1"]), SOON).await;
    let deletes = writes(&world, before).await.into_iter().filter(|(method, _)| method == "DELETE");
    assert_eq!(deletes.count(), 1, "the one of @globex/team-1");
    let keys = ledger(&world).await.owned_keys().await.unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_passes_to_an_organisation_while_the_one_that_had_it_is_paused() {
    let says = async |world: &World, args: &[&str]| {
        let said = world.teamlink(args).await;
        assert!(said.status.success(), "{}", text(&said));
    };
    let pause = async |world: &World| says(world, &["pause", "acme", "--reason", "moving"]).await;
    let resume = async |world: &World| {
        is_known_as_legacy(world).await;
        says(world, &["resume", "acme-legacy", "--reason", "moved"]).await;
    };
    a_login_passes(pause, resume).await;
}

/// Waits until the ledger has the login of today of the organisation that was called `acme`.
async fn is_known_as_legacy(world: &World) {
    let ledger = ledger(world).await;
    let known = async || {
        let orgs = ledger.orgs().await.unwrap();
        orgs.iter().any(|org| org.facts.login == "acme-legacy")
    };
    eventually("acme-legacy is known", true, known).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_passes_to_an_organisation_while_the_one_that_had_it_answers_502() {
    let fails = async |world: &World| {
        let id = world.github(Method::GET, "/orgs/acme", Value::Null).await["id"].clone();
        let path = format!("/organizations/{id}*");
        world.faults(json!([{"method": "GET", "path": path, "status": 502, "times": 3}])).await;
    };
    a_login_passes(fails, async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_datadog_answered_is_ours_while_its_lists_lag() {
    let world = World::new(3, &[PASSES]).await;
    world.faults(json!([{"method": "GET", "path": "/api/v2/team/connections", "stale_ms": 2500}])).await;
    let worker = Process::start(&world).await;
    worker.hook(&world, "acme").await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    let ledger = ledger(&world).await;
    let owned = async || ledger.owned_keys().await.unwrap().values().filter(|stands| **stands).count();
    eventually("rows", 3, owned).await;
    let creates = writes(&world, 0).await;
    let made: usize = creates.iter().map(|(_, body)| body["data"].as_array().unwrap().len()).sum();
    assert_eq!(made, 3, "none is sent twice: {creates:?}");
    delete(&world, "acme", &slugs[0]).await;
    world.becomes(&linked(&slugs[1..]), SOON).await;
    let sync = world.teamlink(&["sync"]).await;
    assert!(!text(&sync).contains("orphan"), "{}", text(&sync));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_team_stays_connected_after_its_organisation_was_renamed() {
    let world = World::new(2, &[PASSES, ("TEAMLINK_POLICY__PROTECTED", "acme/team-*")]).await;
    let worker = Process::start(&world).await;
    worker.hook(&world, "acme").await;
    world.becomes(&linked(["team-1", "team-2"]), SOON).await;
    call(&world, "acme", "acme2").await;
    let expected = these(&["team-1 = @acme2/team-1", "team-2 = @acme2/team-2"]);
    world.becomes(&expected, SOON).await;
    let before = world.seq().await;
    delete(&world, "acme2", "team-2").await;
    present(&world, "acme2", 1).await;
    world.teamlink(&["sync"]).await;
    assert_eq!(writes(&world, before).await, []);
    assert_eq!(world.connections().await, expected);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_team_whose_id_answers_404_follows_the_list() {
    let world = World::new(2, &[PASSES]).await;
    datadog_team(&world, "team-9").await;
    let worker = Process::start(&world).await;
    worker.hook(&world, "acme").await;
    world.becomes(&linked(["team-1", "team-2"]), SOON).await;
    world.faults(json!([{"method": "GET", "path": "/organizations/*/team/*", "status": 404}])).await;
    rename(&world, "team-1", "Team 9").await;
    world.becomes(&linked(["team-2", "team-9"]), SOON).await;
    let audit = text(&world.teamlink(&["audit"]).await);
    assert!(audit.contains("is @acme/team-9 now") && !audit.contains("the GitHub team is gone"), "{audit}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_of_removals_is_of_all_within_the_window() {
    let world = World::new(30, &[PASSES]).await;
    let worker = Process::start(&world).await;
    worker.hook(&world, "acme").await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    world.becomes(&linked(&slugs), SOON).await;
    let ledger = ledger(&world).await;
    let org = ledger.orgs().await.unwrap().remove(0).facts.id;
    let held = async || {
        let set = ledger.held_set(Lane::Org(org), ledger.clock().now()).await.unwrap();
        set.map_or(0, |set| set.items.len())
    };
    // Removals of one look are held together, so each is decided before the next one begins.
    for (number, slug) in slugs[..28].iter().enumerate() {
        delete(&world, "acme", slug).await;
        let decided = async || slugs.len() - world.connections().await.len() + held().await;
        eventually("removals that are done or held", number + 1, decided).await;
    }
    assert_eq!((world.connections().await.len(), held().await), (21, 19));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_under_a_former_mark_follows_its_team_and_goes_with_it() {
    let mut world = World::new(3, &[PASSES]).await;
    datadog_team(&world, "core").await;
    let worker = Process::start(&world).await;
    world.becomes(&linked(["team-1", "team-2", "team-3"]), SOON).await;
    worker.stop().await;
    world.set(&[("TEAMLINK_DATADOG__MANAGED_BY", "teamlink-2")]);
    let worker = Process::start(&world).await;
    worker.hook(&world, "acme").await;
    rename(&world, "team-1", "Core").await;
    delete(&world, "acme", "team-2").await;
    world.becomes(&these(&["core = @acme/core (teamlink-2)", "team-3 = @acme/team-3"]), SOON).await;
    let sync = text(&world.teamlink(&["sync"]).await);
    assert!(sync.contains("1 connection carries the former mark `teamlink`"), "{sync}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_others_whose_key_differs_in_case_only_does_not_hide_ours() {
    let world = World::new(2, &[PASSES]).await;
    let worker = Process::start(&world).await;
    worker.hook(&world, "acme").await;
    world.becomes(&linked(["team-1", "team-2"]), SOON).await;
    let team = world.datadog_teams().await["team-1"].clone();
    let twin = json!({"data": [{
        "type": "team_connection",
        "attributes": {"source": "github", "managed_by": "terraform"},
        "relationships": {
            "team": {"data": {"id": team, "type": "team"}},
            "connected_team": {"data": {"id": "@Acme/TEAM-1", "type": "github_team"}},
        },
    }]});
    world.datadog(Method::POST, "/api/v2/team/connections", twin).await;
    world.teamlink(&["sync"]).await;
    assert_eq!(ledger(&world).await.owned_keys().await.unwrap().len(), 2);
    delete(&world, "acme", "team-1").await;
    world.becomes(&these(&["team-1 = @Acme/TEAM-1 (terraform)", "team-2 = @acme/team-2"]), SOON).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_failed_deletes_of_a_lone_removal_park_nothing() {
    let world = World::new(2, &[PASSES]).await;
    let worker = Process::start(&world).await;
    worker.hook(&world, "acme").await;
    world.becomes(&linked(["team-1", "team-2"]), SOON).await;
    let fails = json!([{"method": "DELETE", "path": "/api/v2/team/connections", "status": 500, "times": 2}]);
    world.faults(fails).await;
    delete(&world, "acme", "team-1").await;
    world.becomes(&linked(["team-2"]), SOON).await;
    assert_eq!(ledger(&world).await.parked().await.unwrap(), []);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_of_the_enterprise_fails_no_look_and_is_connected_by_no_rule() {
    let world = World::new(0, &[PASSES, ("TEAMLINK_GITHUB__ORGS", "globex")]).await;
    let org = json!({
        "login": "globex", "teams": [{"name": "Edge"}], "enterprise_teams": [{"name": "Staff"}],
    });
    world.seed(json!({"orgs": [org]})).await;
    for handle in ["edge", "ent:staff"] {
        datadog_team(&world, handle).await;
    }
    let worker = Process::start(&world).await;
    world.becomes(&these(&["edge = @globex/edge"]), SOON).await;
    let sync = world.teamlink(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(0), "{}", text(&sync));
    let ledger = ledger(&world).await;
    let org = ledger.orgs().await.unwrap().remove(0).facts.id;
    let progress = ledger.progress(Lane::Org(org), ledger.clock().now()).await.unwrap();
    assert_eq!((progress.failing, progress.unanswered, progress.suspected), (0, 0, 0), "{progress:?}");
    assert_eq!(world.connections().await, these(&["edge = @globex/edge"]));
    worker.stop().await;
}
