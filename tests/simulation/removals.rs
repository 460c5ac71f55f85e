//! Sequences after which a connection was once removed, or disowned, that should have stayed, or was made for an
//! organisation that is not served; each once.

use std::time::Duration;

use serde_json::{Value, json};
use teamlink::{
    mapping::RuleSpec,
    model::{Asks, Cause, Lane, PauseScope},
    operate,
    reconcile::{Asked, Outcome},
};

use super::{
    Setup,
    grace::{pass, setup},
    sequences::{linked, run},
    world::{OURS, THEIRS, World},
};

/// Hears what GitHub sent since the last time.
async fn hear(world: &mut World) {
    let sent = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
    world.deliver(sent).await;
}

#[test]
fn a_protected_team_keeps_its_connection_after_its_organisation_was_renamed() {
    run(async |dir| {
        let protected = Setup { protected: vec!["acme/team-*".to_owned()], ..setup() };
        let mut world = World::new(1, 4, protected, dir.path()).await;
        pass(&world, 1).await;
        world.rename_org("acme2").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(30)).await;
        world.delete("team-2").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(600)).await;
        let all = ["@acme2/team-1", "@acme2/team-2", "@acme2/team-3", "@acme2/team-4"];
        assert_eq!(linked(&world).await, all);
    });
}

#[test]
fn a_foreign_connection_whose_key_differs_in_case_only_does_not_hide_ours() {
    run(async |dir| {
        let world = World::new(1, 2, setup(), dir.path()).await;
        pass(&world, 1).await;
        let owned = world.owned().await;
        let handles = world.datadog_teams().await;
        for slug in ["Team-1", "TEAM-1", "tEAM-1"] {
            world.connect(&handles["team-1"], slug, THEIRS).await.unwrap();
        }
        assert_eq!(world.connections().await.len(), 5);
        pass(&world, 100).await;
        assert_eq!(world.owned().await, owned);
        world.delete("team-1").await;
        pass(&world, 100).await;
        let left = world.connections().await;
        assert_eq!(left.values().filter(|it| it.managed_by == THEIRS).count(), 3, "others' stay");
        assert_eq!(left.len(), 4, "ours went");
    });
}

/// Asks for a pass over these organisations and works.
async fn pass_over(world: &World, logins: &[&str], seconds: u64) {
    let logins: Vec<String> = logins.iter().map(|login| (*login).to_owned()).collect();
    world.worker.begin_pass(&logins, Cause::Pass, Asks::PASS).await.unwrap();
    world.work(Duration::from_secs(seconds)).await;
}

#[test]
fn nothing_is_written_for_an_organisation_that_was_taken_off_the_list() {
    run(async |dir| {
        let served = Setup { orgs: vec!["acme".to_owned()], ..setup() };
        let mut world = World::new(1, 3, served, dir.path()).await;
        world.create("Late").await;
        pass(&world, 1).await;
        // The first look at a removal, and a team that waits for its handle.
        world.delete("team-1").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(10)).await;
        world.setup.orgs = vec!["globex".to_owned()];
        world.restart().await;
        world.datadog_team("Late").await;
        world.requests().await;
        world.work(Duration::from_secs(4000)).await;
        let requests = world.requests().await;
        assert!(!requests.iter().any(|it| it["method"] != "GET" && it["fence"].is_string()), "{requests:?}");
        // Served again, it goes on where it stood.
        world.setup.orgs = vec!["acme".to_owned()];
        world.restart().await;
        world.work(Duration::from_secs(600)).await;
        assert_eq!(linked(&world).await, ["@acme/late", "@acme/team-2", "@acme/team-3"]);
    });
}

#[test]
fn nothing_is_written_for_an_organisation_that_has_another_login_than_when_the_look_began() {
    for observed in [false, true] {
        run(async |dir| {
            let mut world = World::new(1, 2, setup(), dir.path()).await;
            pass(&world, 60).await;
            world.ask("PATCH", "/orgs/acme", json!({"login": "globex"})).await;
            hear(&mut world).await;
            world.work(Duration::from_secs(60)).await;
            // It is bound to acme, and served, or observed, by the login that it has now.
            if observed {
                world.setup.observed = vec!["newco".to_owned()];
            } else {
                world.setup.orgs = vec!["globex".to_owned()];
            }
            world.restart().await;
            world.work(Duration::from_secs(60)).await;
            world.ask("PATCH", "/orgs/globex", json!({"login": "newco"})).await;
            // A team that is not there has the look read the organisation, and another one waits to be connected.
            world.ask("DELETE", "/orgs/newco/teams/team-1", Value::Null).await;
            world.ask("POST", "/orgs/newco/teams", json!({"name": "Late"})).await;
            world.datadog_team("Late").await;
            let of_teams = std::iter::from_fn(|| world.webhooks.try_recv().ok())
                .filter(|webhook| webhook.event == "team")
                .collect();
            world.deliver(of_teams).await;
            world.requests().await;
            world.work(Duration::from_secs(600)).await;
            let requests = world.requests().await;
            assert!(
                requests.iter().any(|it| it["path"] == format!("/organizations/{}", world.org)),
                "it looked"
            );
            let wrote = |it: &&Value| it["method"] != "GET" && it["fence"].is_string();
            assert_eq!(requests.iter().filter(wrote).collect::<Vec<_>>(), Vec::<&Value>::new());
            // What its events asked for is done once it is served again.
            world.setup.orgs = Vec::new();
            world.setup.observed = Vec::new();
            world.restart().await;
            pass_over(&world, &[], 600).await;
            assert_eq!(linked(&world).await, ["@newco/late", "@newco/team-2"]);
        });
    }
}

/// Two organisations, `acme` and `globex`, with a team of the same slug each, of which the second takes the login of the
/// first.
async fn handed_over(dir: &std::path::Path) -> World {
    let rule = RuleSpec::handles("*/platform", ["platform"]);
    let mut world = World::new(1, 0, Setup { rules: vec![rule], ..setup() }, dir).await;
    world.datadog_team("Platform").await;
    world.create("Platform").await;
    let globex = json!({"orgs": [{"login": "globex", "teams": [{"name": "Platform"}]}]});
    world.ask("POST", "/_sandbox/seed", globex).await;
    pass_over(&world, &["acme", "globex"], 10).await;
    assert_eq!(linked(&world).await, ["@acme/platform", "@globex/platform"]);
    std::iter::from_fn(|| world.webhooks.try_recv().ok()).for_each(drop);
    for (from, to) in [("acme", "acme-legacy"), ("globex", "acme")] {
        world.ask("PATCH", &format!("/orgs/{from}"), json!({"login": to})).await;
    }
    world
}

#[test]
fn a_login_that_passes_between_two_organisations_takes_the_connection_along() {
    // Which of the two is paused, or answers nothing, while the other is looked at.
    for standing_still in [None, Some(0), Some(1)] {
        for paused in [true, false] {
            run(async |dir| {
                let mut world = handed_over(dir.path()).await;
                let orgs = world.ledger.orgs().await.unwrap();
                let still = standing_still.map(|which| orgs[usize::from(which == 1)].facts.id);
                let now = world.clock.now();
                if let Some(org) = still {
                    if paused {
                        world.ledger.pause(PauseScope::Org(org), "", now).await.unwrap();
                    } else {
                        let down = json!({"path": format!("/organizations/{org}*"), "status": 502});
                        world.faults(&[down]).await;
                    }
                }
                hear(&mut world).await;
                let before = world.connections().await;
                world.work(Duration::from_secs(40)).await;
                if let Some(org) = still {
                    world.ledger.resume(PauseScope::Org(org), "", world.clock.now()).await.unwrap();
                    world.faults(&[]).await;
                }
                world.work(Duration::from_secs(110)).await;
                let after = world.connections().await;
                assert_eq!(linked(&world).await, ["@acme-legacy/platform", "@acme/platform"], "{still:?}");
                let kept = before.iter().find(|(_, it)| it.github == "@acme/platform").unwrap().0;
                assert!(after.contains_key(kept), "{still:?}: it was never removed");
                let rows: usize = {
                    let mut rows = 0;
                    for org in &orgs {
                        rows += world.ledger.org_state(org.facts.id).await.unwrap().unwrap().owned.len();
                    }
                    rows
                };
                assert_eq!(rows, 2, "each organisation owns its own");
            });
        }
    }
}

#[test]
fn a_handle_whose_delete_shows_late_is_connected_for_the_organisation_that_has_its_login_now() {
    run(async |dir| {
        let rule = RuleSpec::handles("*/platform", ["platform"]);
        let mut world = World::new(1, 0, Setup { rules: vec![rule], ..setup() }, dir.path()).await;
        world.datadog_team("Platform").await;
        world.create("Platform").await;
        world.ask("POST", "/_sandbox/seed", json!({"orgs": [{"login": "globex", "teams": []}]})).await;
        pass_over(&world, &["acme", "globex"], 20).await;
        let stale = json!({"method": "GET", "path": "/api/v2/team/connections", "stale_ms": 9700});
        world.faults(&[stale]).await;
        for (from, to) in [("acme", "acme-legacy"), ("globex", "acme")] {
            world.ask("PATCH", &format!("/orgs/{from}"), json!({"login": to})).await;
        }
        hear(&mut world).await;
        world.requests().await;
        loop {
            world.work(Duration::from_secs(1)).await;
            if world.requests().await.iter().any(|it| it["method"] == "DELETE") {
                break;
            }
        }
        world.create("Platform").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(150)).await;
        assert_eq!(linked(&world).await, ["@acme-legacy/platform", "@acme/platform"]);
    });
}

#[test]
fn a_create_that_was_answered_is_ours_however_long_the_list_lags() {
    for lag in [2_500, 9_000, 60_000] {
        run(async |dir| {
            let mut world = World::new(1, 3, setup(), dir.path()).await;
            let stale = json!({"method": "GET", "path": "/api/v2/team/connections", "stale_ms": lag});
            world.faults(std::slice::from_ref(&stale)).await;
            pass(&world, 300).await;
            assert_eq!(world.owned().await.len(), 3, "lag {lag}");
            let posts = world.requests().await;
            let posts = posts.iter().filter(|it| it["method"] == "POST" && it["fence"].is_string()).count();
            assert_eq!(posts, 1, "lag {lag}: what was answered with 201 is not sent again");
            world.delete("team-1").await;
            hear(&mut world).await;
            world.work(Duration::from_secs(600)).await;
            assert_eq!(world.owned().await.len(), 2, "lag {lag}");
            assert_eq!(linked(&world).await, ["@acme/team-2", "@acme/team-3"]);
            let progress = world.ledger.progress(Lane::Org(world.org), world.clock.now()).await.unwrap();
            assert_eq!((progress.parked, progress.owned), (0, 2), "lag {lag}");
        });
    }
}

#[test]
fn a_conflict_after_a_lost_answer_does_not_erase_that_the_create_was_ours() {
    run(async |dir| {
        let world = World::new(1, 2, setup(), dir.path()).await;
        let stale = json!({"method": "GET", "path": "/api/v2/team/connections", "stale_ms": 20_000});
        let lost = json!({"method": "POST", "path": "/api/v2/team/connections", "reset": true, "times": 1});
        world.faults(&[stale, lost]).await;
        pass(&world, 300).await;
        assert_eq!(world.owned().await.len(), 2);
        assert_eq!(world.connections().await.len(), 2);
    });
}

#[test]
fn a_connection_made_under_a_former_mark_stays_ours() {
    run(async |dir| {
        let mut world = World::new(1, 4, setup(), dir.path()).await;
        pass(&world, 1).await;
        world.setup.managed_by = "teamlink-2";
        world.restart().await;
        world.rename("team-1", "Team 9").await;
        world.datadog_team("Team-9").await;
        world.delete("team-2").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(600)).await;
        assert_eq!(linked(&world).await, ["@acme/team-3", "@acme/team-4", "@acme/team-9"]);
        assert_eq!(world.owned().await.len(), 3);
        let asked = Asked::ManagedBy(OURS.into());
        let (survey, orgs) = (world.survey(), ["acme".to_owned()]);
        let candidates = operate::adopt::candidates(&survey, &world.ledger, &orgs, &asked).await.unwrap();
        assert_eq!(candidates.len(), 2);
        for candidate in &candidates {
            let outcome = world.worker.adopt(candidate, candidate.step.as_ref().unwrap()).await.unwrap();
            assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
        }
        assert_eq!(world.owned().await.len(), 3);
        assert!(world.connections().await.values().all(|it| it.managed_by == "teamlink-2"));
    });
}

#[test]
fn a_team_that_the_list_shows_is_there_though_its_id_answers_404() {
    run(async |dir| {
        let mut world = World::new(1, 4, setup(), dir.path()).await;
        pass(&world, 1).await;
        // Renamed, so that its former slug is nobody's.
        world.rename("team-1", "Team 9").await;
        world.datadog_team("Team-9").await;
        let gone = json!({"method": "GET", "path": "/organizations/*/team/*", "status": 404});
        world.faults(&[gone]).await;
        hear(&mut world).await;
        world.work(Duration::from_secs(150)).await;
        let all = ["@acme/team-2", "@acme/team-3", "@acme/team-4", "@acme/team-9"];
        assert_eq!(linked(&world).await, all, "it follows the list");
        let audit = world.ledger.audit(None, teamlink::model::Time(0)).await.unwrap();
        assert!(!audit.iter().any(|line| line.reason.contains("is gone")), "{audit:?}");
        let progress = world.ledger.progress(Lane::Org(world.org), world.clock.now()).await.unwrap();
        assert_eq!((progress.failing, progress.suspected), (0, 0), "{progress:?}");
    });
}

#[test]
fn a_team_whose_id_never_answers_is_connected_by_the_list_and_its_slug() {
    run(async |dir| {
        let mut world = World::new(1, 2, setup(), dir.path()).await;
        let gone = json!({"method": "GET", "path": "/organizations/*/team/*", "status": 404});
        world.faults(&[gone]).await;
        pass(&world, 300).await;
        assert_eq!(linked(&world).await, ["@acme/team-1", "@acme/team-2"]);
        let progress = world.ledger.progress(Lane::Org(world.org), world.clock.now()).await.unwrap();
        assert_eq!((progress.failing, progress.unanswered), (0, 0), "{progress:?}");
        // In step, it is asked about no more than any other team.
        world.requests().await;
        pass(&world, 3600).await;
        let by_slug = world.requests().await;
        assert!(by_slug.len() < 20, "{}: {by_slug:?}", by_slug.len());
    });
}

#[test]
fn one_list_completes_the_proofs_of_all_that_wait() {
    run(async |dir| {
        let world = World::new(1, 60, setup(), dir.path()).await;
        pass(&world, 1).await;
        for team in 1..=40 {
            world.delete(&format!("team-{team}")).await;
        }
        let mut world = world;
        hear(&mut world).await;
        world.requests().await;
        world.work(Duration::from_secs(300)).await;
        assert_eq!(linked(&world).await.len(), 20);
        let requests = world.requests().await;
        let lists = requests.iter().filter(|it| {
            it["path"].as_str().is_some_and(|path| path.ends_with("/teams"))
                && it["query"].as_str().is_some_and(|query| query.contains("per_page=100"))
        });
        // One reads the 40 teams of the events, one the second looks, one completes the proofs.
        assert!(lists.clone().count() <= 6, "{:?}", lists.collect::<Vec<_>>());
    });
}

#[test]
fn a_connection_that_names_a_living_team_passes_to_it_though_no_rule_wants_it() {
    run(async |dir| {
        let mut world = World::new(1, 3, setup(), dir.path()).await;
        pass(&world, 1).await;
        // Made again under its name, while the rule that connected it goes.
        world.delete("team-1").await;
        world.create("Team 1").await;
        world.setup.rules = vec![RuleSpec::ignore("acme/team-1"), RuleSpec::handles("acme/*", ["{slug}"])];
        world.restart().await;
        hear(&mut world).await;
        world.work(Duration::from_secs(600)).await;
        assert_eq!(linked(&world).await, ["@acme/team-1", "@acme/team-2", "@acme/team-3"]);
        let set = world.ledger.held_set(Lane::Org(world.org), world.clock.now()).await.unwrap();
        assert_eq!(set.unwrap().items.len(), 1, "a person decides");
    });
}

#[test]
fn what_one_team_disowns_and_another_makes_in_the_same_look_is_the_others() {
    run(async |dir| {
        let mut world = World::new(1, 2, setup(), dir.path()).await;
        world.datadog_team("Core").await;
        world.datadog_team("Web").await;
        pass(&world, 600).await;
        // Somebody removes the connection, and another team gets the name. Then Datadog's lists lag.
        let connections = world.connections().await;
        let (id, _) = connections.iter().find(|(_, it)| it.github == "@acme/team-1").unwrap();
        world.disconnect(id).await;
        world.clock.advance(Duration::from_secs(60));
        world.rename("team-1", "Web").await;
        world.rename("team-2", "Team-1").await;
        let lag = json!({"method": "GET", "path": "/api/v2/team/connections", "stale_ms": 5000});
        world.faults(&[lag]).await;
        hear(&mut world).await;
        world.work(Duration::from_secs(600)).await;
        assert_eq!(linked(&world).await, ["@acme/team-1", "@acme/web"]);
        world.rename("team-1", "Core").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(600)).await;
        assert_eq!(linked(&world).await, ["@acme/core", "@acme/web"], "no orphan is left");
    });
}
