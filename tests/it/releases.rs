//! An organisation that was deleted or renamed, and another one under its login: what is held, what the commands say, and
//! what an approval does. What one look decides is tested beside `plan/release.rs`.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{
    ledger::Ledger,
    model::{Lane, OrgId, PauseScope, Time},
    signature,
};

use crate::support::world::{SECRET, World, linked, text};

const SOON: Duration = Duration::from_secs(20);

fn now() -> Time {
    Time::from(SystemTime::now())
}

async fn ledger(world: &World) -> Ledger {
    teamlink::app::ledger(&world.settings).await.unwrap()
}

async fn slugs(world: &World) -> Vec<String> {
    world.datadog_teams().await.into_keys().collect()
}

async fn id_of(world: &World, login: &str) -> OrgId {
    let org = world.github(Method::GET, &format!("/orgs/{login}"), Value::Null).await;
    OrgId(org["id"].as_i64().unwrap())
}

/// Another organisation under the login `acme`, with these teams, of which nothing tells.
async fn remake(world: &World, slugs: &[String]) {
    let teams: Vec<Value> = slugs.iter().map(|slug| json!({"name": slug})).collect();
    world.seed(json!({"orgs": [{"login": "acme", "teams": teams}]})).await;
}

/// Runs a command, and returns what it says.
async fn says(world: &World, args: &[&str], code: i32) -> String {
    let output = world.teamlink(args).await;
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output));
    text(&output)
}

/// The hash in the command that this text names.
fn hash(said: &str) -> String {
    let (_, rest) = said.split_once("teamlink approve ").unwrap_or_else(|| panic!("no command: {said}"));
    rest.split(' ').next().unwrap().to_owned()
}

async fn approve(world: &World, hash: &str) {
    let said = says(world, &["approve", hash, "--reason", "CHANGE-7"], 0).await;
    assert!(said.contains("approved: release org:"), "{said}");
}

/// An event that the daemon takes, of whatever organisation.
async fn deliver(world: &World, guid: &str, org: OrgId) {
    let organization = json!({"id": org.0, "login": "acme"});
    let body = json!({"action": "created", "team": {"id": 1, "slug": "x"}, "organization": organization});
    let (body, addr) = (body.to_string(), world.daemon.as_ref().unwrap().addr);
    let signature = signature::sign(body.as_bytes(), &[SECRET.into()]).unwrap();
    let request = world.http.post(format!("http://{addr}/webhooks/github"));
    let request = request.header("x-github-event", "team").header("x-github-delivery", guid);
    let request = request.header("content-type", "application/json").header("x-hub-signature-256", signature);
    assert_eq!(request.body(body).send().await.unwrap().status(), 202);
}

/// Waits until the release of an organisation is held, or isn't.
async fn release_is_held(world: &World, org: OrgId, held: bool) {
    let ledger = ledger(world).await;
    for _ in 0..400 {
        if ledger.held_release(org, now()).await.unwrap().is_some() == held {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: held {held}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_organisation_waits_for_an_approval_that_deletes_its_connections_and_frees_its_login() {
    let mut world = World::new(3, &[]).await;
    world.pass().await;
    let (slugs, org) = (slugs(&world).await, id_of(&world, "acme").await);
    world.start().await;
    world.github(Method::DELETE, "/orgs/acme", Value::Null).await;
    release_is_held(&world, org, true).await;

    let synced = says(&world, &["sync"], 2).await;
    assert!(synced.contains(&format!("held: release org:{org}")), "{synced}");
    assert!(synced.contains("GitHub told that acme was deleted, and its id answers 404"), "{synced}");
    let checked = text(&world.teamlink(&["check"]).await);
    let explained = says(&world, &["explain", &format!("acme/{}", slugs[0])], 0).await;
    assert!(explained.contains("release: GitHub told that acme was deleted"), "{explained}");
    assert_eq!([hash(&checked), hash(&explained)], [hash(&synced), hash(&synced)]);
    assert_eq!(world.connections().await, linked(&slugs), "nothing goes without a person");

    approve(&world, &hash(&synced)).await;
    world.becomes(&BTreeSet::new(), SOON).await;
    release_is_held(&world, org, false).await;
    says(&world, &["approve", &hash(&synced), "--reason", "again"], 1).await;
    let audit = says(&world, &["audit"], 0).await;
    assert!(audit.contains("a person released the login acme") && audit.contains("CHANGE-7"), "{audit}");
    assert!(audit.contains("its GitHub organisation was deleted"), "{audit}");
    let explained = says(&world, &["explain", &format!("acme/{}", slugs[0])], 0).await;
    assert!(explained.contains("released: a person released the login acme at "), "{explained}");
    let synced = says(&world, &["sync"], 2).await;
    assert!(
        synced.contains("acme: it was released, and GitHub has no organisation with this login"),
        "{synced}"
    );

    // Whoever GitHub shows under the login then is served by the next pass, without a restart.
    remake(&world, &slugs).await;
    says(&world, &["sync"], 0).await;
    assert_eq!(world.connections().await, linked(&slugs));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_whoever_has_a_released_login_has_github_asked_and_binds_nobody_by_itself() {
    let mut world = World::new(2, &[]).await;
    world.pass().await;
    let (slugs, org) = (slugs(&world).await, id_of(&world, "acme").await);
    world.start().await;
    world.github(Method::DELETE, "/orgs/acme", Value::Null).await;
    release_is_held(&world, org, true).await;
    approve(&world, &hash(&says(&world, &["sync"], 2).await)).await;
    world.becomes(&BTreeSet::new(), SOON).await;
    release_is_held(&world, org, false).await;
    // An old event of the organisation that is gone, and one of an organisation that GitHub doesn't show.
    for (guid, id) in [("old", org), ("forged", OrgId(999_999))] {
        deliver(&world, guid, id).await;
    }
    let ledger = ledger(&world).await;
    while ledger.due_whole(Lane::Org(org), now()).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ledger.orgs().await.unwrap(), []);
    // A real one: GitHub shows who has the login.
    remake(&world, &slugs).await;
    let newcomer = id_of(&world, "acme").await;
    deliver(&world, "real", newcomer).await;
    world.becomes(&linked(&slugs), SOON).await;
    assert_eq!(ledger.orgs().await.unwrap().len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_under_the_login_of_a_renamed_organisation_is_served_once_a_person_releases_it() {
    let world = World::new(3, &[]).await;
    world.pass().await;
    let (slugs, org) = (slugs(&world).await, id_of(&world, "acme").await);
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "globex"})).await;
    remake(&world, &slugs[..2]).await;
    let newcomer = id_of(&world, "acme").await;
    let renamed: BTreeSet<String> = slugs.iter().map(|slug| format!("{slug} = @globex/{slug}")).collect();
    let synced = says(&world, &["sync"], 2).await;
    assert!(
        synced.contains(&format!("nothing is done for org {newcomer}, which has this login now")),
        "{synced}"
    );
    assert!(
        synced.contains(&format!("acme is called globex now, and org {newcomer} has the login acme")),
        "{synced}"
    );
    let checked = text(&world.teamlink(&["check"]).await);
    assert_eq!(hash(&checked), hash(&synced));
    let explained = text(&world.teamlink(&["explain", "acme/not-there"]).await);
    assert_eq!(hash(&explained), hash(&synced));

    approve(&world, &hash(&synced)).await;
    let synced = says(&world, &["sync"], 0).await;
    assert!(!synced.contains(", which has this login now"), "{synced}");
    let both: BTreeSet<String> = renamed.union(&linked(&slugs[..2])).cloned().collect();
    assert_eq!(world.connections().await, both);
    let ledger = ledger(&world).await;
    let owned = |state: Option<teamlink::ledger::OrgState>| state.unwrap().owned.len();
    assert_eq!(owned(ledger.org_state(org).await.unwrap()), 3, "it keeps its rows");
    assert_eq!(owned(ledger.org_state(newcomer).await.unwrap()), 2);
    let bound = ledger.orgs().await.unwrap().into_iter().map(|org| (org.facts.id, org.bound_login));
    assert_eq!(bound.collect::<Vec<_>>(), [(org, "globex".to_owned()), (newcomer, "acme".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_ends_when_the_login_is_given_back_and_an_old_approval_lets_no_later_one_go() {
    let world = World::new(2, &[]).await;
    world.pass().await;
    let org = id_of(&world, "acme").await;
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "globex"})).await;
    remake(&world, &[]).await;
    let synced = says(&world, &["sync"], 2).await;
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "initech"})).await;
    world.github(Method::PATCH, "/orgs/globex", json!({"login": "acme"})).await;
    says(&world, &["sync"], 0).await;
    release_is_held(&world, org, false).await;
    says(&world, &["approve", &hash(&synced), "--reason", "late"], 1).await;
    let audit = says(&world, &["audit"], 0).await;
    assert!(audit.contains("GitHub doesn't show it any more"), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_event_a_replaced_organisation_leaves_orphans_that_need_their_own_proof() {
    let world = World::new(4, &[]).await;
    world.pass().await;
    let (slugs, org) = (slugs(&world).await, id_of(&world, "acme").await);
    world.github(Method::DELETE, "/orgs/acme", Value::Null).await;
    remake(&world, &slugs[..2]).await;
    let newcomer = id_of(&world, "acme").await;
    let synced = says(&world, &["sync"], 2).await;
    assert!(synced.contains("the org that was called acme answers 404 by its id"), "{synced}");
    let writes = async || {
        let requests = world.requests(0).await;
        requests.iter().filter(|it| it["method"] == "DELETE" && it["fence"].is_string()).count()
    };
    approve(&world, &hash(&synced)).await;
    let synced = says(&world, &["sync"], 2).await;
    assert_eq!(writes().await, 0, "the approval replaces no proof");
    assert_eq!(world.connections().await, linked(&slugs));
    let ledger = ledger(&world).await;
    assert_eq!(ledger.org_state(org).await.unwrap().unwrap().owned, []);
    assert_eq!(
        ledger.orgs().await.unwrap().into_iter().map(|it| it.facts.id).collect::<Vec<_>>(),
        [newcomer]
    );
    // The orphans that no team of the newcomer has are proven by their slugs, and held.
    assert!(synced.contains("held: delete @acme/"), "{synced}");
    let said = says(&world, &["approve", &hash(&synced), "--reason", "clean-up"], 0).await;
    assert!(said.contains("2 actions approved"), "{said}");
    world.teamlink(&["sync"]).await;
    assert_eq!(world.connections().await, linked(&slugs[..2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_approval_lifts_observe_a_pause_or_protection() {
    let mut world = World::new(3, &[]).await;
    world.pass().await;
    let (slugs, org) = (slugs(&world).await, id_of(&world, "acme").await);
    let protected = format!("acme/{}", slugs[0]);
    world.set(&[("TEAMLINK_POLICY__PROTECTED", &protected), ("TEAMLINK_POLICY__MODE", "observe")]);
    world.start().await;
    world.github(Method::DELETE, "/orgs/acme", Value::Null).await;
    release_is_held(&world, org, true).await;
    world.stop().await;
    approve(&world, &hash(&says(&world, &["sync"], 2).await)).await;
    says(&world, &["sync"], 2).await;
    assert_eq!(world.connections().await, linked(&slugs), "observe");

    world.set(&[("TEAMLINK_POLICY__MODE", "sync")]);
    let ledger = ledger(&world).await;
    ledger.pause(PauseScope::Org(org), "hands off", now()).await.unwrap();
    says(&world, &["sync"], 2).await;
    assert_eq!(world.connections().await, linked(&slugs), "a pause");

    ledger.resume(PauseScope::Org(org), "", now()).await.unwrap();
    says(&world, &["sync"], 2).await;
    assert_eq!(world.connections().await, linked(&slugs[..1]), "protection");
    let audit = says(&world, &["audit"], 0).await;
    assert!(audit.contains("of its organisation was released, and nothing deletes it"), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_a_team_of_whoever_has_the_login_now_is_not_deleted_with_the_old_organisation() {
    let mut world = World::new(3, &[]).await;
    world.pass().await;
    let (slugs, org) = (slugs(&world).await, id_of(&world, "acme").await);
    world.start().await;
    world.github(Method::DELETE, "/orgs/acme", Value::Null).await;
    remake(&world, &slugs[..1]).await;
    release_is_held(&world, org, true).await;
    world.stop().await;
    let before = world.seq().await;
    approve(&world, &hash(&says(&world, &["sync"], 2).await)).await;
    // The list of its teams shows it, whatever its slug answers.
    world.faults(json!([{"method": "GET", "path": "/orgs/*/teams/*", "status": 404}])).await;
    says(&world, &["sync"], 0).await;
    assert_eq!(world.connections().await, linked(&slugs[..1]));
    let made = world.requests(before).await;
    let made = made.iter().filter(|it| it["method"] == "POST" && it["path"] == "/api/v2/team/connections");
    assert_eq!(made.count(), 0, "it was there all the time");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_a_team_of_a_newcomer_stays_when_the_old_team_goes_whatever_its_slug_answers() {
    let mut world = World::new(3, &[("TEAMLINK_GUARD__MAX_SHARE", "1.0")]).await;
    world.pass().await;
    let slugs = slugs(&world).await;
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "globex"})).await;
    remake(&world, &slugs[..1]).await;
    for slug in &slugs[..2] {
        world.github(Method::DELETE, &format!("/orgs/globex/teams/{slug}"), Value::Null).await;
    }
    world.faults(json!([{"method": "GET", "path": "/orgs/*/teams/*", "status": 404}])).await;
    world.start().await;
    for _ in 0..3 {
        says(&world, &["sync"], 2).await;
    }
    let mut expected = linked(&slugs[..1]);
    expected.insert(format!("{0} = @globex/{0}", slugs[2]));
    world.becomes(&expected, SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_on_where_a_rate_limit_stopped_it() {
    let mut world = World::new(12, &[]).await;
    world.pass().await;
    let org = id_of(&world, "acme").await;
    world.start().await;
    world.github(Method::DELETE, "/orgs/acme", Value::Null).await;
    remake(&world, &["other".to_owned()]).await;
    release_is_held(&world, org, true).await;
    let slug = slugs(&world).await.remove(0);
    let explained = says(&world, &["explain", &format!("acme/{slug}")], 0).await;
    let limits = json!({"github": {"requests": 10, "seconds": 2, "status": 403}});
    world.remote.send(Method::PUT, "/_sandbox/limits", limits).await.unwrap();
    approve(&world, &hash(&explained)).await;
    world.becomes(&BTreeSet::new(), 2 * SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slug_that_could_not_be_read_is_read_again_though_nobody_serves_its_organisation() {
    let world = World::new(2, &[]).await;
    world.pass().await;
    let slugs = slugs(&world).await;
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "globex"})).await;
    remake(&world, &["other".to_owned()]).await;
    world.faults(json!([{"method": "GET", "path": "/orgs/acme/teams/*", "status": 503, "times": 2}])).await;
    world.pass().await;
    let expected: BTreeSet<String> = slugs.iter().map(|slug| format!("{slug} = @globex/{slug}")).collect();
    assert_eq!(world.connections().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_that_is_known_is_served_by_a_listed_login_that_it_takes() {
    let mut world = World::new(2, &[("TEAMLINK_GITHUB__ORGS", "acme,globex")]).await;
    let slugs = slugs(&world).await;
    world.seed(json!({"orgs": [{"login": "globex", "teams": [{"name": slugs[0]}]}]})).await;
    world.pass().await;
    world.set(&[("TEAMLINK_GITHUB__ORGS", "acme")]);
    world.github(Method::PATCH, "/orgs/acme", json!({"login": "acme-legacy"})).await;
    world.github(Method::PATCH, "/orgs/globex", json!({"login": "acme"})).await;
    let synced = says(&world, &["sync"], 0).await;
    assert!(!synced.contains("which has this login now"), "{synced}");
    let mut expected: BTreeSet<String> =
        slugs.iter().map(|slug| format!("{slug} = @acme-legacy/{slug}")).collect();
    expected.extend(linked(&slugs[..1]));
    assert_eq!(world.connections().await, expected);
}
