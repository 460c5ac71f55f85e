//! Sequences of events that a random history meets too seldom, each once.

use std::{collections::BTreeMap, future::Future, time::Duration};

use serde_json::{Value, json};
use teamlink::{
    mapping::RuleSpec,
    model::{Asks, Cause, Lane, MissingTeam, TeamId},
    operate,
    reconcile::{Asked, Outcome},
};

use super::{
    Setup,
    grace::{pass, setup},
    scratch,
    world::{OURS, THEIRS, World, rustls},
};

pub(super) fn run<F: Future<Output = ()>>(life: impl FnOnce(tempfile::TempDir) -> F) {
    rustls();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(life(scratch()));
}

/// The slugs that are connected.
pub(super) async fn linked(world: &World) -> Vec<String> {
    let mut slugs: Vec<String> = world.connections().await.into_values().map(|it| it.github).collect();
    slugs.sort_unstable();
    slugs
}

/// What is held in the ledger.
pub(super) async fn held(world: &World) -> Vec<String> {
    let set = world.ledger.held_set(Lane::Org(world.org), world.clock.now()).await.unwrap();
    set.into_iter().flat_map(|set| set.items).map(|item| item.key.subject.names().1).collect()
}

pub(super) async fn team_id(world: &World, slug: &str) -> TeamId {
    world.teams().await.into_iter().find(|(_, has)| has.ends_with(&format!("/{slug}"))).unwrap().0
}

#[test]
fn an_owner_who_is_an_owner_no_more_proves_nothing_that_he_cannot_see() {
    run(async |dir| {
        let world = World::new(1, 4, setup(), dir.path()).await;
        pass(&world, 1).await;
        // A team that is gone for certain: the credential is asked about, and is an owner's.
        world.delete("team-1").await;
        pass(&world, 100).await;
        assert_eq!(linked(&world).await, ["@acme/team-2", "@acme/team-3", "@acme/team-4"]);
        // No owner's any more, it sees no secret team.
        let hidden = team_id(&world, "team-2").await;
        let shown: Vec<Value> =
            world.ask("GET", "/orgs/acme/teams", Value::Null).await.1.as_array().unwrap().clone();
        let shown: Vec<Value> = shown.into_iter().filter(|team| team["slug"] != "team-2").collect();
        let member = json!({"state": "active", "role": "member"});
        world
            .faults(&[
                json!({"path": "/user/memberships/orgs/*", "body": member}),
                json!({"path": format!("/organizations/*/team/{hidden}"), "status": 404}),
                json!({"path": "/orgs/acme/teams/team-2", "status": 404}),
                json!({"path": "/orgs/acme/teams", "body": shown}),
            ])
            .await;
        pass(&world, 600).await;
        assert_eq!(linked(&world).await, ["@acme/team-2", "@acme/team-3", "@acme/team-4"]);
    });
}

#[test]
fn what_is_held_or_parked_for_a_team_goes_with_the_team() {
    run(async |dir| {
        let first_pass = Setup { first_creates: 1, ..setup() };
        let world = World::new(1, 3, first_pass, dir.path()).await;
        world.faults(&[json!({"method": "POST", "path": "/api/v2/team/connections", "status": 400})]).await;
        pass(&world, 1).await;
        assert_eq!(held(&world).await, ["@acme/team-1", "@acme/team-2", "@acme/team-3"]);
        let now = world.clock.now();
        let set = world.ledger.held_set(Lane::Org(world.org), now).await.unwrap().unwrap();
        let one: Vec<_> =
            set.items.into_iter().filter(|item| item.key.subject.names().1 == "@acme/team-1").collect();
        let hash = world.ledger.remember_held(Lane::Org(world.org), &one, now).await.unwrap();
        world.ledger.approve(&hash, "", Duration::from_secs(60), now).await.unwrap();
        world.work(Duration::from_secs(30)).await;
        let progress = world.ledger.progress(Lane::Org(world.org), world.clock.now()).await.unwrap();
        assert_eq!((progress.held, progress.parked), (2, 1));
        world.faults(&[]).await;
        world.delete("team-1").await;
        world.delete("team-2").await;
        pass(&world, 200).await;
        let progress = world.ledger.progress(Lane::Org(world.org), world.clock.now()).await.unwrap();
        assert_eq!(
            (held(&world).await, progress.held, progress.parked),
            (vec!["@acme/team-3".to_owned()], 1, 0)
        );
    });
}

#[test]
fn the_last_connection_stays_when_the_one_that_would_have_been_another_is_refused() {
    run(async |dir| {
        let mut world = World::new(1, 1, setup(), dir.path()).await;
        world.datadog_team("Core").await;
        pass(&world, 1).await;
        world.delete("team-1").await;
        pass(&world, 1).await;
        // The second look at the one and the first at the other are one look.
        world.clock.advance(Duration::from_secs(61));
        world.create("Core").await;
        let told = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
        world.deliver(told).await;
        world.clock.advance(Duration::from_secs(2));
        world.faults(&[json!({"method": "POST", "path": "/api/v2/team/connections", "status": 400})]).await;
        world.work(Duration::from_secs(1)).await;
        assert_eq!(linked(&world).await, ["@acme/team-1"]);
    });
}

#[test]
fn a_connection_that_is_made_again_takes_a_slot_of_its_own_when_it_goes_again() {
    run(async |dir| {
        let tight = Setup { max_per_window: 1, grace: Duration::ZERO, ..setup() };
        let world = World::new(1, 4, tight, dir.path()).await;
        pass(&world, 1).await;
        for _ in 0..2 {
            world.delete("team-1").await;
            pass(&world, 60).await;
            world.create("Team 1").await;
            pass(&world, 60).await;
        }
        let deletes = world.ledger.audit(None, teamlink::model::Time(0)).await.unwrap();
        let deletes = deletes.iter().filter(|line| line.action == "delete" && line.outcome == "done").count();
        assert_eq!(deletes, 1, "the window is of one removal");
    });
}

#[test]
fn what_is_taken_over_is_made_again_though_a_first_pass_had_held_it() {
    run(async |dir| {
        let world = World::new(1, 2, Setup { first_creates: 0, ..setup() }, dir.path()).await;
        pass(&world, 1).await;
        assert_eq!(held(&world).await.len(), 2);
        let handles = world.datadog_teams().await;
        for slug in ["team-1", "team-2"] {
            world.connect(&handles[slug], slug, THEIRS).await.unwrap();
        }
        let asked = Asked::ManagedBy(THEIRS.into());
        let survey = world.survey();
        let candidates =
            operate::adopt::candidates(&survey, &world.ledger, &["acme".to_owned()], &asked).await.unwrap();
        for candidate in &candidates {
            let adoption = candidate.step.as_ref().unwrap();
            let outcome = world.worker.adopt(candidate, adoption).await.unwrap();
            assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
        }
        let managed: BTreeMap<String, String> =
            world.connections().await.into_values().map(|it| (it.github, it.managed_by)).collect();
        assert!(managed.len() == 2 && managed.values().all(|by| by == OURS), "{managed:?}");
    });
}

#[test]
fn an_approval_for_an_organisation_that_no_pass_has_seen_waits_for_one() {
    run(async |dir| {
        let world = World::new(1, 2, Setup { first_creates: 0, ..setup() }, dir.path()).await;
        let now = world.clock.now();
        let plan = world.survey().plan("acme").await.unwrap();
        let held: Vec<_> = plan.held().collect();
        let hash = world.ledger.remember_held(Lane::Org(world.org), &held, now).await.unwrap();
        world.ledger.approve(&hash, "", Duration::from_secs(600), now).await.unwrap().unwrap();
        let idle = tokio::time::timeout(Duration::from_secs(5), world.worker.work_due()).await;
        assert!(idle.is_ok(), "the worker turns without end");
        world.worker.begin_pass(&["acme".to_owned()], Cause::Pass, Asks::PASS).await.unwrap();
        world.work(Duration::from_secs(1)).await;
        assert_eq!(linked(&world).await, ["@acme/team-1", "@acme/team-2"]);
    });
}

#[test]
fn a_datadog_team_is_created_after_an_event_and_after_a_failure_however_old_the_list_is() {
    run(async |dir| {
        let mut world =
            World::new(1, 1, Setup { missing_team: MissingTeam::Create, ..setup() }, dir.path()).await;
        pass(&world, 1000).await;
        world.create("Core").await;
        let told = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
        world.deliver(told).await;
        world.faults(&[json!({"method": "POST", "path": "/api/v2/team", "status": 503, "times": 1})]).await;
        world.work(Duration::from_secs(60)).await;
        assert_eq!(linked(&world).await, ["@acme/core", "@acme/team-1"]);
    });
}

#[test]
fn a_connection_that_went_with_its_datadog_team_is_forgotten() {
    run(async |dir| {
        let world = World::new(1, 3, setup(), dir.path()).await;
        pass(&world, 1).await;
        let id = world.datadog_teams().await["team-1"].clone();
        let (status, _) = world.ask("DELETE", &format!("/api/v2/team/{id}"), Value::Null).await;
        assert_eq!(status, 204);
        pass(&world, 4000).await;
        pass(&world, 4000).await;
        let progress = world.ledger.progress(Lane::Org(world.org), world.clock.now()).await.unwrap();
        assert_eq!((progress.owned, progress.parked, progress.failing), (2, 0, 0), "{progress:?}");
        // The handle is a new team's.
        world.datadog_team("Team-1").await;
        pass(&world, 400).await;
        assert_eq!(linked(&world).await, ["@acme/team-1", "@acme/team-2", "@acme/team-3"]);
    });
}

#[test]
fn what_was_taken_over_under_a_new_login_stays_though_no_pass_has_seen_that_login() {
    run(async |dir| {
        let mut world = World::new(1, 2, setup(), dir.path()).await;
        pass(&world, 1).await;
        world.rename_org("newco").await;
        let handles = world.datadog_teams().await;
        world.connect(&handles["team-1"], "team-1", THEIRS).await.unwrap();
        let asked = Asked::ManagedBy(THEIRS.into());
        let (survey, orgs) = (world.survey(), ["newco".to_owned()]);
        let candidates = operate::adopt::candidates(&survey, &world.ledger, &orgs, &asked).await.unwrap();
        for candidate in &candidates {
            let outcome = world.worker.adopt(candidate, candidate.step.as_ref().unwrap()).await.unwrap();
            assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
        }
        world.requests().await;
        world.work(Duration::from_secs(10)).await;
        let taken = |request: &Value| request["body"].to_string().contains("@acme/");
        let requests = world.requests().await;
        assert!(!requests.iter().any(taken), "{requests:?}");
        assert!(linked(&world).await.contains(&"@newco/team-1".to_owned()), "{:?}", linked(&world).await);
    });
}

#[test]
fn a_datadog_team_that_is_created_anew_is_for_all_who_want_its_handle() {
    run(async |dir| {
        let rule = RuleSpec::handles("acme/*", ["core"]);
        let all = Setup { rules: vec![rule], missing_team: MissingTeam::Create, ..setup() };
        let world = World::new(1, 3, all, dir.path()).await;
        for id in world.datadog_teams().await.into_values() {
            world.ask("DELETE", &format!("/api/v2/team/{id}"), Value::Null).await;
        }
        world.datadog_team("Core").await;
        pass(&world, 1).await;
        let core = world.datadog_teams().await["core"].clone();
        let renamed =
            json!({"data": {"type": "team", "attributes": {"handle": "security", "name": "Security"}}});
        world.ask("PATCH", &format!("/api/v2/team/{core}"), renamed).await;
        world.create("Late").await;
        world.clock.advance(Duration::from_secs(600));
        pass(&world, 600).await;
        let core = world.datadog_teams().await["core"].clone();
        let connections = world.connections().await;
        let to_it = connections.values().filter(|it| it.datadog_team == core).count();
        assert_eq!(to_it, 4, "{connections:?}");
    });
}
