//! What one source says and another does not: slugs against lists, a list against an earlier one, a write whose answer was
//! lost against the guard's count.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use teamlink::{
    mapping::RuleSpec,
    model::{Mode, PauseScope, TeamId, TeamKey},
    plan::Limits,
};

use super::{
    Setup,
    grace::{pass, setup},
    sequences::{held, linked, run, team_id},
    world::{Connection, World},
};

async fn hear(world: &mut World) {
    let sent = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
    world.deliver(sent).await;
}

/// Somebody deletes `team-1` and creates it again, and the new team is paused before any look. Returns the new team.
async fn made_anew_and_paused(world: &World) -> TeamKey {
    world.delete("team-1").await;
    world.create("Team 1").await;
    let (_, shown) = world.ask("GET", "/orgs/acme/teams/team-1", Value::Null).await;
    let anew = TeamKey { org: world.org, team: TeamId(shown["id"].as_i64().unwrap()) };
    world.ledger.pause(PauseScope::Team(anew), "", world.clock.now()).await.unwrap();
    anew
}

#[test]
fn the_list_says_who_has_a_slug_while_ids_and_slugs_answer_404() {
    run(async |dir| {
        let mut world = World::new(1, 2, setup(), dir.path()).await;
        world.create("First").await;
        pass(&world, 1).await;
        let gone = |path: &str| json!({"method": "GET", "path": path, "status": 404});
        let silent = [gone("/organizations/*/team/*"), gone("/orgs/*/teams/*")];
        let cut = json!({"method": "GET", "path": "/orgs/*/teams", "lacks": "second"});
        world.faults(&[silent.as_slice(), &[cut]].concat()).await;
        world.rename("first", "Second").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(300)).await;
        world.faults(&silent).await;
        for (slug, name) in [("team-1", "First"), ("second", "Team 1")] {
            world.rename(slug, name).await;
        }
        hear(&mut world).await;
        world.requests().await;
        world.work(Duration::from_secs(300)).await;
        let deletes = world.requests().await.into_iter().filter(|it| it["method"] == "DELETE").count();
        assert_eq!(deletes, 0, "{:?}", linked(&world).await);
        world.faults(&[]).await;
        pass(&world, 300).await;
        assert!(linked(&world).await.contains(&"@acme/team-1".to_owned()), "{:?}", linked(&world).await);
    });
}

#[test]
fn a_list_that_lacks_what_an_earlier_one_has_shown_makes_no_orphan() {
    run(async |dir| {
        let mut world = World::new(1, 3, setup(), dir.path()).await;
        world.datadog_team("Core").await;
        pass(&world, 1).await;
        assert_eq!(world.owned().await.len(), 3, "the first lists were up to date");
        let stale = json!({"method": "GET", "path": "/api/v2/team/connections", "stale_ms": 6000});
        world.faults(&[stale]).await;
        world.rename("team-1", "Core").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(120)).await;
        assert_eq!(linked(&world).await, ["@acme/core", "@acme/team-2", "@acme/team-3"]);
        let audit = world.ledger.audit(None, teamlink::model::Time(0)).await.unwrap();
        assert!(!audit.iter().any(|line| line.action == "removed_by_others"), "{audit:?}");
    });
}

#[test]
fn an_heir_that_wants_nothing_is_looked_at_without_end_under_no_mode() {
    for mode in [Mode::Observe, Mode::Upsert, Mode::Sync] {
        run(async |dir| {
            let mut world = World::new(1, 2, setup(), dir.path()).await;
            pass(&world, 1).await;
            world.setup.mode = mode;
            world.setup.rules = vec![RuleSpec::ignore("acme/*")];
            world.restart().await;
            for (slug, name) in [("team-1", "Between"), ("team-2", "Team 1"), ("between", "Team 2")] {
                world.rename(slug, name).await;
            }
            hear(&mut world).await;
            world.requests().await;
            let work = world.work(Duration::from_secs(600));
            tokio::time::timeout(Duration::from_secs(30), work).await.expect("it comes to rest");
            let requests = world.requests().await;
            assert!(requests.len() < 150, "{mode:?}: {} requests", requests.len());
        });
    }
}

#[test]
fn what_an_interrupted_delete_may_have_removed_is_in_no_share() {
    run(async |dir| {
        let limits = Limits { max_share: 0.3, above: 0, max_removals: 50 };
        let tight = Setup { limits, grace: Duration::from_secs(2), ..setup() };
        let mut world = World::new(1, 3, tight, dir.path()).await;
        world.datadog_team("Core").await;
        pass(&world, 1).await;
        let lost = json!({"method": "DELETE", "path": "/api/v2/team/connections", "reset": true});
        world.faults(&[lost]).await;
        world.delete("team-2").await;
        hear(&mut world).await;
        world.work(Duration::from_millis(1500)).await;
        world.rename("team-1", "Core").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(60)).await;
        assert_eq!(held(&world).await, ["@acme/team-2"], "1 of 3, and not of 4");
        assert_eq!(linked(&world).await, ["@acme/core", "@acme/team-2", "@acme/team-3"]);
    });
}

#[test]
fn a_connection_that_waits_for_a_paused_team_with_its_name_goes_when_that_team_goes_too() {
    run(async |dir| {
        let setup = Setup { grace: Duration::from_secs(2), ..setup() };
        let mut world = World::new(1, 2, setup, dir.path()).await;
        pass(&world, 1).await;
        made_anew_and_paused(&world).await;
        hear(&mut world).await;
        world.work(Duration::from_secs(60)).await;
        assert_eq!(
            linked(&world).await,
            ["@acme/team-1", "@acme/team-2"],
            "the name is that of a paused team"
        );
        world.delete("team-1").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(60)).await;
        assert_eq!(linked(&world).await, ["@acme/team-2"]);
    });
}

#[test]
fn two_teams_with_each_others_names_rest_while_their_organisation_is_paused() {
    run(async |dir| {
        let setup = Setup { grace: Duration::from_secs(2), ..setup() };
        let mut world = World::new(1, 3, setup, dir.path()).await;
        pass(&world, 1).await;
        let paused = PauseScope::Org(world.org);
        world.ledger.pause(paused, "", world.clock.now()).await.unwrap();
        for (slug, name) in [("team-1", "Between"), ("team-2", "Team 1"), ("between", "Team 2")] {
            world.rename(slug, name).await;
        }
        hear(&mut world).await;
        world.work(Duration::from_secs(10)).await;
        world.delete("team-1").await;
        hear(&mut world).await;
        world.requests().await;
        let work = world.work(Duration::from_secs(600));
        tokio::time::timeout(Duration::from_secs(30), work).await.expect("it comes to rest");
        let requests = world.requests().await;
        assert!(requests.len() < 100, "{} requests", requests.len());
        world.ledger.resume(paused, "", world.clock.now()).await.unwrap();
        world.work(Duration::from_secs(60)).await;
        assert_eq!(linked(&world).await, ["@acme/team-2", "@acme/team-3"]);
    });
}

#[test]
fn what_the_resumed_team_with_its_name_does_not_want_is_decided_too() {
    run(async |dir| {
        let setup = Setup { grace: Duration::from_secs(2), ..setup() };
        let mut world = World::new(1, 2, setup, dir.path()).await;
        pass(&world, 1).await;
        let anew = made_anew_and_paused(&world).await;
        world.setup.rules = vec![RuleSpec::ignore("acme/team-1"), RuleSpec::handles("acme/*", ["{slug}"])];
        world.restart().await;
        hear(&mut world).await;
        world.work(Duration::from_secs(60)).await;
        world.ledger.resume(PauseScope::Team(anew), "", world.clock.now()).await.unwrap();
        world.work(Duration::from_secs(60)).await;
        let owner = world.state().await.unwrap().owned.into_iter().find(|it| it.key.github == "@acme/team-1");
        assert_eq!(owner.unwrap().team, anew.team, "about a name that is there, a person decides");
        assert_eq!(held(&world).await, ["@acme/team-1"]);
    });
}

#[test]
fn a_team_whose_name_the_row_of_a_paused_team_had_is_connected_once_that_row_goes() {
    run(async |dir| {
        let mut world = World::new(1, 2, setup(), dir.path()).await;
        pass(&world, 30).await;
        let paused = PauseScope::Team(TeamKey { org: world.org, team: team_id(&world, "team-1").await });
        world.ledger.pause(paused, "", world.clock.now()).await.unwrap();
        let of_team_1 = |(id, it): (String, Connection)| (it.github == "@acme/team-1").then_some(id);
        let id = world.connections().await.into_iter().find_map(of_team_1).unwrap();
        world.disconnect(&id).await;
        for (slug, name) in [("team-1", "X one"), ("team-2", "Team 1")] {
            world.rename(slug, name).await;
        }
        hear(&mut world).await;
        world.work(Duration::from_secs(300)).await;
        assert_eq!(linked(&world).await, ["@acme/team-2"], "the row of a paused team keeps its key");
        world.ledger.resume(paused, "", world.clock.now()).await.unwrap();
        world.work(Duration::from_secs(300)).await;
        assert_eq!(linked(&world).await, ["@acme/team-1"]);
    });
}

#[test]
fn the_children_of_a_team_that_the_list_of_another_look_proves_to_be_gone_go_too() {
    run(async |dir| {
        let limits = Limits { max_share: 1.0, above: 0, max_removals: 1000 };
        let wide = Setup { limits, max_per_window: 1000, first_creates: 1000, ..setup() };
        let mut world = World::new(1, 260, wide, dir.path()).await;
        for name in ["Parent", "Child"] {
            world.datadog_team(name).await;
        }
        world.create("Parent").await;
        let parent = world.ask("GET", "/orgs/acme/teams/parent", Value::Null).await.1["id"].clone();
        let child = json!({"name": "Child", "parent_team_id": parent});
        world.ask("POST", "/orgs/acme/teams", child).await;
        pass(&world, 60).await;
        assert_eq!(world.state().await.unwrap().owned.len(), 262);
        std::iter::from_fn(|| world.webhooks.try_recv().ok()).for_each(drop);
        for team in 1..=259 {
            world.delete(&format!("team-{team}")).await;
        }
        world.ask("PATCH", "/orgs/acme/teams/parent", json!({"description": "a family"})).await;
        world.delete("parent").await;
        // What tells of the family's end is lost.
        let told: Vec<_> = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
        let lost = |body: &Value| {
            body["action"] == "deleted"
                && ["parent", "child"].contains(&body["team"]["slug"].as_str().unwrap())
        };
        let heard = told.into_iter().filter(|it| !lost(&serde_json::from_slice(&it.body).unwrap()));
        world.deliver(heard.collect()).await;
        world.work(Duration::from_secs(900)).await;
        assert_eq!(linked(&world).await, ["@acme/team-260"]);
    });
}

#[test]
fn what_a_wrong_total_says_of_one_id_is_asked_once_more_in_a_look() {
    run(async |dir| {
        let mut world = World::new(1, 1, setup(), dir.path()).await;
        let off =
            json!({"method": "GET", "path": "/api/v2/team/connections", "total_off": 1, "stale_ms": 6000});
        world.faults(std::slice::from_ref(&off)).await;
        pass(&world, 1).await;
        world.faults(&[]).await;
        let id = world.connections().await.into_keys().next().unwrap();
        world.disconnect(&id).await;
        world.faults(&[off]).await;
        world.requests().await;
        world.work(Duration::from_secs(600)).await;
        let requests = world.requests().await;
        let by_id = |it: &Value| it["query"].as_str().is_some_and(|query| query.contains("connection_ids"));
        let looks =
            requests.iter().filter(|it| it["path"].as_str().unwrap().starts_with("/organizations/")).count();
        let asked = requests.iter().filter(|it| by_id(it)).count();
        assert!(asked > 0 && asked <= 2 * looks, "{asked} in {looks} looks");
        assert_eq!(linked(&world).await, ["@acme/team-1"]);
    });
}

#[test]
fn a_team_that_gets_its_name_back_keeps_a_connection_while_a_delete_shows_late() {
    run(async |dir| {
        let mut world = World::new(1, 2, setup(), dir.path()).await;
        world.datadog_team("Core").await;
        pass(&world, 30).await;
        let stale = json!({"method": "GET", "path": "/api/v2/team/connections", "stale_ms": 9000});
        world.faults(std::slice::from_ref(&stale)).await;
        world.rename("team-1", "Core").await;
        hear(&mut world).await;
        world.requests().await;
        loop {
            world.work(Duration::from_millis(500)).await;
            if world.requests().await.iter().any(|it| it["method"] == "DELETE") {
                break;
            }
        }
        world.rename("core", "Team 1").await;
        hear(&mut world).await;
        for second in 0..300 {
            world.work(Duration::from_secs(1)).await;
            world.faults(&[]).await;
            let there = linked(&world).await;
            world.faults(std::slice::from_ref(&stale)).await;
            let kept = there.iter().any(|it| ["@acme/core", "@acme/team-1"].contains(&it.as_str()));
            assert!(kept, "after {second} s: {there:?}");
        }
        world.faults(&[]).await;
        assert_eq!(linked(&world).await, ["@acme/team-1", "@acme/team-2"]);
    });
}

/// Renames `team-1` to `core`, and works until a DELETE of its old connection was sent, whose answer is lost and which the
/// service has yet to carry out. Returns the id of that connection.
async fn its_delete_is_under_way(world: &mut World) -> String {
    world.datadog_team("Core").await;
    pass(world, 30).await;
    let of_team_1 = |all: &BTreeMap<String, Connection>| {
        all.iter().find(|(_, it)| it.github == "@acme/team-1").map(|(id, _)| id.clone())
    };
    let id = of_team_1(&world.connections().await).unwrap();
    let lost = json!({"method": "DELETE", "path": "/api/v2/team/connections", "status": 500, "reset": true});
    world.faults(&[lost]).await;
    world.rename("team-1", "Core").await;
    hear(world).await;
    world.requests().await;
    loop {
        world.work(Duration::from_millis(500)).await;
        if world.requests().await.iter().any(|it| it["method"] == "DELETE") {
            break;
        }
    }
    world.faults(&[]).await;
    assert_eq!(of_team_1(&world.connections().await), Some(id.clone()));
    id
}

#[test]
fn a_delete_that_arrives_late_takes_no_connection_from_a_team_that_has_its_name_back() {
    run(async |dir| {
        let mut world = World::new(1, 2, setup(), dir.path()).await;
        let id = its_delete_is_under_way(&mut world).await;
        world.rename("core", "Team 1").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(2)).await;
        world.disconnect(&id).await;
        for second in 0..150 {
            let there = linked(&world).await;
            let kept = there.iter().any(|it| ["@acme/core", "@acme/team-1"].contains(&it.as_str()));
            assert!(kept, "after {second} s: {there:?}");
            world.work(Duration::from_secs(1)).await;
        }
        assert_eq!(linked(&world).await, ["@acme/team-1", "@acme/team-2"]);
    });
}

#[test]
fn a_delete_that_arrives_late_takes_no_connection_from_the_next_team_of_that_name() {
    run(async |dir| {
        let mut world = World::new(1, 2, setup(), dir.path()).await;
        let id = its_delete_is_under_way(&mut world).await;
        world.create("Team 1").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(2)).await;
        world.disconnect(&id).await;
        world.work(Duration::from_secs(150)).await;
        assert_eq!(linked(&world).await, ["@acme/core", "@acme/team-1", "@acme/team-2"]);
    });
}
