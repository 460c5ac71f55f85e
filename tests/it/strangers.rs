//! Organisations that are not bound yet, and teams that the mirror does not have: what an event about one of them does,
//! even if an attacker wrote it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{
    app,
    model::{Lane, OrgId, Time},
};

use crate::{
    support::{
        eventually,
        world::{World, linked},
    },
    threats::deliver,
};

/// An event about an organisation with this login and id, as anybody may write it who knows the secret.
fn team_event(id: i64, login: &str) -> Value {
    event_of(7, id, login)
}

fn event_of(team: i64, id: i64, login: &str) -> Value {
    json!({
        "action": "created",
        "team": {"id": team, "slug": "core", "name": "Core"},
        "organization": {"id": id, "login": login},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_event_binds_no_login_and_the_real_organisation_is_served_as_soon_as_github_shows_it() {
    let env = [("TEAMLINK_GITHUB__ORGS", "acme,globex"), ("TEAMLINK_RECONCILE__EVERY", "1h")];
    let mut world = World::new(2, &env).await;
    // GitHub doesn't answer about globex when the daemon starts, so that nobody is bound.
    world
        .seed(json!({"orgs": [{"login": "globex", "teams": [{"name": "team-1"}, {"name": "team-2"}]}]}))
        .await;
    world.faults(json!([{"path": "/orgs/globex*", "status": 502}])).await;
    world.start().await;
    let address = world.daemon.as_ref().unwrap().addr;
    let acme = linked(["team-1", "team-2"]);
    world.becomes(&acme, Duration::from_secs(10)).await;
    for number in 0..20 {
        let guid = format!("forged-{number}");
        assert_eq!(deliver(&world, address, &guid, &team_event(666 + number, "globex")).await, 202);
    }
    let ledger = app::ledger(&world.settings).await.unwrap();
    assert_eq!(ledger.orgs().await.unwrap().len(), 1, "an event binds nobody");

    world.faults(json!([])).await;
    let both: BTreeSet<String> =
        acme.into_iter().chain(["team-1", "team-2"].map(|slug| format!("{slug} = @globex/{slug}"))).collect();
    world.becomes(&both, Duration::from_secs(60)).await;
    let real = world.github(Method::GET, "/orgs/globex", Value::Null).await["id"].as_i64().unwrap();
    let bound: Vec<i64> = ledger.orgs().await.unwrap().iter().map(|org| org.facts.id.0).collect();
    assert!(bound.len() == 2 && bound.contains(&real), "{bound:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_organisations_cost_ten_questions_a_minute_and_no_metric_series() {
    let mut world = World::new(1, &[("TEAMLINK_GITHUB__ORGS", "")]).await;
    world.start().await;
    let address = world.daemon.as_ref().unwrap().addr;
    let since = world.seq().await;
    let events =
        (0..300).map(|number| {
            let (world, guid) = (&world, format!("forged-{number}"));
            async move {
                deliver(world, address, &guid, &team_event(1_000 + number, &format!("org-{number}"))).await
            }
        });
    assert!(join_all(events).await.into_iter().all(|status| status == 202));
    let asked = async || {
        // The worker asks about an organisation again after a backoff, because GitHub's answers lag behind its events.
        let requests = world.requests(since).await;
        let paths = requests.iter().map(|request| request["path"].as_str().unwrap());
        paths.filter(|path| path.starts_with("/orgs/org-")).collect::<BTreeSet<_>>().len()
    };
    eventually("the worker asks about the first ten", 10, &asked).await;
    let ledger = app::ledger(&world.settings).await.unwrap();
    let now = Time::from(std::time::SystemTime::now());
    let due = async || ledger.due_strangers(now).await.unwrap().len();
    eventually("the others wait for the next minute", 0, due).await;
    assert_eq!(asked().await, 10);
    assert!(ledger.orgs().await.unwrap().iter().all(|org| org.facts.login == "acme"));
    let metrics =
        world.http.get(format!("http://{address}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("org-"), "{metrics}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_that_is_renamed_right_after_its_first_event_is_found_by_its_id() {
    let mut world =
        World::new(1, &[("TEAMLINK_GITHUB__ORGS", ""), ("TEAMLINK_RECONCILE__EVERY", "1h")]).await;
    world.seed(json!({"orgs": [{"login": "globex", "teams": [{"name": "team-1"}]}]})).await;
    world.start().await;
    let address = world.daemon.as_ref().unwrap().addr;
    let id = world.github(Method::GET, "/orgs/globex", Value::Null).await["id"].as_i64().unwrap();
    // The event of the new login never comes.
    world.github(Method::PATCH, "/orgs/globex", json!({"login": "initech"})).await;
    assert_eq!(deliver(&world, address, "first", &team_event(id, "globex")).await, 202);
    let renamed = BTreeSet::from(["team-1 = @initech/team-1".to_owned()]);
    world.becomes(&renamed, Duration::from_secs(20)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_teams_cost_fifty_reads_a_minute_and_few_lists_and_nobody_waits_for_them() {
    const FORGED: i64 = 2_000;
    let mut world = World::new(3, &[("TEAMLINK_GUARD__GRACE", "2s")]).await;
    world.pass().await;
    world.seed(json!({"datadog_teams": [{"handle": "fresh", "name": "Fresh"}]})).await;
    world.start().await;
    let address = world.daemon.as_ref().unwrap().addr;
    let org = world.github(Method::GET, "/orgs/acme", Value::Null).await["id"].as_i64().unwrap();
    let (since, began) = (world.seq().await, Instant::now());
    let forged = |number: i64| {
        let (world, guid) = (&world, format!("forged-{number}"));
        async move { deliver(world, address, &guid, &event_of(5_000_000 + number, org, "acme")).await }
    };
    let half = FORGED / 2;
    assert!(join_all((0..half).map(forged)).await.into_iter().all(|status| status == 202));
    // A team of the mirror and one that is new, among them.
    world.github(Method::DELETE, "/orgs/acme/teams/team-1", Value::Null).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "fresh"})).await;
    assert!(join_all((half..FORGED).map(forged)).await.into_iter().all(|status| status == 202));
    world.becomes(&linked(["team-2", "team-3", "fresh"]), Duration::from_secs(20)).await;
    let ledger = app::ledger(&world.settings).await.unwrap();
    let now = || Time::from(std::time::SystemTime::now());
    let unanswered = async || ledger.progress(Lane::Org(OrgId(org)), now()).await.unwrap().unanswered;
    eventually("all are looked at", 0, unanswered).await;

    let requests = world.requests(since).await;
    let of =
        |start: &str| requests.iter().filter(|it| it["path"].as_str().unwrap().starts_with(start)).count();
    let minutes = usize::try_from(began.elapsed().as_secs() / 60).unwrap() + 1;
    let by_id = of(&format!("/organizations/{org}/team/5"));
    assert!(by_id <= 50 * minutes, "{by_id} forged teams were read by their ids in {minutes} minutes");
    // Besides: the list of each grace, those of looks at more of the fifty than a list has pages, and the other two teams.
    let all = of("/org");
    assert!(all <= 150 * minutes, "{all} requests in {:?}", began.elapsed());
    println!("{FORGED} forged teams: {all} requests in {:?}", began.elapsed());
    world.stop().await;
}
