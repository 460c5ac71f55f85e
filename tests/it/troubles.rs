//! What goes wrong in between: refused writes, half answers, interrupted work. Nothing of it may end in a team that
//! is never looked at again, in one that is looked at for ever, or in a connection lost.

use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use teamlink::{
    ledger::{Intended, IntentKind, Ledger},
    model::{Lane, OrgId, Time},
};
use tokio::time::timeout;

use crate::support::world::{World, linked, text};

const SOON: Duration = Duration::from_secs(10);

fn now() -> Time {
    Time::from(SystemTime::now())
}

async fn ledger(world: &World) -> Ledger {
    teamlink::app::ledger(&world.settings).await.unwrap()
}

async fn slugs(world: &World) -> Vec<String> {
    let teams = world.github(Method::GET, "/orgs/acme/teams?per_page=100", Value::Null).await;
    teams.as_array().unwrap().iter().map(|team| team["slug"].as_str().unwrap().to_owned()).collect()
}

async fn posts(world: &World) -> usize {
    let posted =
        |request: &&Value| request["method"] == "POST" && request["path"] == "/api/v2/team/connections";
    world.requests(0).await.iter().filter(posted).count()
}

/// Waits for up to two minutes: Datadog's lists may take one to show what became of a write.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..2_400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_that_waits_for_its_handle_is_linked_when_the_handle_comes_however_late() {
    let mut world = World::new(1, &[("TEAMLINK_DATADOG__TEAMS_TTL", "9s")]).await;
    world.pass().await;
    world.start().await;
    let mut expected = linked(slugs(&world).await);
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "later"})).await;
    // Beyond the first of the reads against lag, which finds the team unchanged and asks Datadog nothing.
    tokio::time::sleep(Duration::from_secs(7)).await;
    world.seed(json!({"datadog_teams": [{"handle": "later", "name": "Later"}]})).await;
    expected.extend(linked(["later"]));
    world.becomes(&expected, SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_create_that_datadog_refuses_is_parked_after_one_more_look() {
    let mut world = World::new(1, &[]).await;
    world.pass().await;
    world.start().await;
    world.seed(json!({"datadog_teams": [{"handle": "new", "name": "New"}]})).await;
    world.faults(json!([{"method": "POST", "path": "/api/v2/team/connections", "status": 400}])).await;
    let before = posts(&world).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "new"})).await;
    let ledger = ledger(&world).await;
    until("the create is parked", async || !ledger.parked().await.unwrap().is_empty()).await;
    assert_eq!(posts(&world).await - before, 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_team_keeps_its_old_connection_while_the_new_one_is_refused() {
    let mut world = World::new(2, &[]).await;
    world.pass().await;
    world.start().await;
    let slugs = slugs(&world).await;
    world.seed(json!({"datadog_teams": [{"handle": "new", "name": "New"}]})).await;
    world.faults(json!([{"method": "POST", "path": "/api/v2/team/connections", "status": 400}])).await;
    let path = format!("/orgs/acme/teams/{}", slugs[0]);
    world.github(Method::PATCH, &path, json!({"name": "new"})).await;
    let ledger = ledger(&world).await;
    until("the create is parked", async || !ledger.parked().await.unwrap().is_empty()).await;
    assert_eq!(world.connections().await, linked(&slugs));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_writes_is_met_with_fewer_and_fewer_tries() {
    let mut world = World::new(1, &[]).await;
    world.pass().await;
    world.start().await;
    world.seed(json!({"datadog_teams": [{"handle": "new", "name": "New"}]})).await;
    world.faults(json!([{"method": "POST", "path": "/api/v2/team/connections", "status": 503}])).await;
    let before = posts(&world).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "new"})).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let tries = posts(&world).await - before;
    // 100 ms, doubled each time, of which chance may take half: 7 in 4 s, or a few more. Undoubled: 40.
    assert!((3..=14).contains(&tries), "{tries} tries");
    assert!(ledger(&world).await.parked().await.unwrap().is_empty(), "an outage parks nothing");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pass_takes_in_every_team_whatever_order_the_list_has() {
    let world = World::new(0, &[]).await;
    // No handles in Datadog: there is no step to be planned for any of them.
    let teams = json!([{"name": "one"}, {"name": "two"}, {"name": "three"}]);
    world.seed(json!({"orgs": [{"login": "acme", "teams": teams}]})).await;
    let list = world.github(Method::GET, "/orgs/acme/teams?per_page=100", Value::Null).await;
    let mut list = list.as_array().unwrap().clone();
    list.reverse();
    let body = Value::from(list).to_string();
    world.faults(json!([{"method": "GET", "path": "/orgs/acme/teams", "status": 200, "body": body}])).await;
    world.pass().await;
    let ledger = ledger(&world).await;
    let org = ledger.orgs().await.unwrap().remove(0).facts.id;
    assert_eq!(ledger.org_state(org).await.unwrap().unwrap().teams.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_that_cannot_be_looked_up_holds_up_no_other() {
    let env = [("TEAMLINK_GITHUB__ORGS", "no-such-org,acme"), ("TEAMLINK_RECONCILE__EVERY", "1h")];
    let mut world = World::new(2, &env).await;
    world.start().await;
    world.becomes(&linked(slugs(&world).await), SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_fails_halfway_is_taken_up_again() {
    let mut world = World::new(3, &[("TEAMLINK_RECONCILE__EVERY", "1h")]).await;
    world.pass().await;
    let slugs = slugs(&world).await;
    // Nobody says that it was deleted, so what the credential may see matters; the first answer to that fails.
    world.github(Method::DELETE, &format!("/orgs/acme/teams/{}", slugs[0]), Value::Null).await;
    world.faults(json!([{"path": "/user/memberships/*", "times": 1, "status": 502}])).await;
    world.start().await;
    world.becomes(&linked(&slugs[1..]), SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_bound_by_a_command_beside_the_daemon_may_be_renamed_before_its_first_event() {
    let mut world = World::new(2, &[]).await;
    let slugs = slugs(&world).await;
    world.start().await;
    world.pass().await;
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "acme-corp"})).await;
    let expected = slugs.iter().map(|slug| format!("{slug} = @acme-corp/{slug}")).collect();
    world.becomes(&expected, SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_delete_that_is_not_wanted_any_more_is_forgotten() {
    let mut world = World::new(2, &[]).await;
    world.pass().await;
    let ledger = ledger(&world).await;
    let org: OrgId = ledger.orgs().await.unwrap().remove(0).facts.id;
    let owned = ledger.org_state(org).await.unwrap().unwrap().owned.remove(0);
    let hour_ago = Time(now().0 - 3_600_000_000);
    let fence = ledger.lease(Lane::Org(org), "test", now(), Duration::from_secs(5)).await.unwrap().unwrap();
    let intent = Intended { kind: IntentKind::Delete, key: owned.key, team: Some(owned.team), written: None };
    ledger.intend(org, fence, &[intent], "teamlink", hour_ago).await.unwrap();
    ledger.release(Lane::Org(org), fence).await.unwrap();
    world.start().await;
    // When its process sent it, nobody knows: a late answer is waited for from the start on.
    until("the intent is closed", async || ledger.counts(now()).await.unwrap().intents == 0).await;
    world.becomes(&linked(slugs(&world).await), SOON).await;
    world.stop().await;
}

/// A mark that no look can settle, as a fault of ours once left one: an organisation's with a team's number.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_look_settles_neither_spins_nor_keeps_a_command() {
    let world = World::new(1, &[]).await;
    world.pass().await;
    let org = world.github(Method::GET, "/orgs/acme", Value::Null).await["id"].as_i64().unwrap();
    let mut ledger = SqliteConnection::connect(&world.env["TEAMLINK_LEDGER__URL"]).await.unwrap();
    let mark = "INSERT INTO marks (kind, org_id, team_id, generation, cause, due_at, first_at)
                VALUES ('org', $1, 5, 1, 1, 0, 0)";
    sqlx::query(mark).bind(org).execute(&mut ledger).await.unwrap();
    let since = world.seq().await;
    let synced = timeout(Duration::from_secs(20), world.teamlink(&["sync"])).await.expect("it returns");
    assert_eq!(synced.status.code(), Some(1), "{}", text(&synced));
    assert!(text(&synced).contains("failed to settle what is due of org:"), "{}", text(&synced));
    let asked = world.requests(since).await.len();
    assert!(asked <= 30, "{asked} requests");
}
