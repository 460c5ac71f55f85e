//! Somebody else removes what teamlink makes, or makes again what teamlink removed.

use std::time::Duration;

use teamlink::{
    model::{LISTS_LAG, Lane, TeamKey, Time},
    operate,
    reconcile::Asked,
};

use super::{
    Setup,
    grace::{pass, setup},
    sequences::{held, linked, run, team_id},
    world::{THEIRS, World},
};

const MINUTE: u64 = 60;

/// Somebody removes the connection of this team, once no list may lag behind its create any more.
async fn somebody_removes(world: &World, slug: &str) {
    world.clock.advance(LISTS_LAG);
    somebody_removes_at_once(world, slug).await;
}

async fn somebody_removes_at_once(world: &World, slug: &str) {
    let github = format!("@acme/{slug}");
    let found = world.connections().await.into_iter().find(|(_, it)| it.github == github);
    world.disconnect(&found.unwrap().0).await;
}

async fn is_linked(world: &World, slug: &str) -> bool {
    linked(world).await.contains(&format!("@acme/{slug}"))
}

/// How often the ledger says that somebody removed connections of ours.
async fn fights(world: &World) -> Vec<(String, usize)> {
    let fights = world.ledger.removed_by_others(Lane::Org(world.org), world.clock.now()).await.unwrap();
    fights.into_iter().map(|(key, removals)| (key.github, removals.times())).collect()
}

async fn audited(world: &World) -> usize {
    let lines = world.ledger.audit(None, Time(0)).await.unwrap();
    lines.into_iter().filter(|line| line.action == "removed_by_others").count()
}

#[test]
fn a_connection_that_somebody_removes_again_and_again_is_made_later_and_later_and_then_held() {
    run(async |dir| {
        let world = World::new(1, 4, setup(), dir.path()).await;
        pass(&world, 1).await;
        // (how long after the removal it is still missing, and when it is there), in minutes.
        for (removal, wait) in [(1, 0), (2, 0), (3, 1), (4, 5), (5, 30)] {
            somebody_removes(&world, "team-1").await;
            pass(&world, 1).await;
            assert_eq!(is_linked(&world, "team-1").await, wait == 0, "removal {removal}");
            assert_eq!(fights(&world).await, [("@acme/team-1".to_owned(), removal)]);
            if wait > 0 {
                pass(&world, wait * MINUTE - 10).await;
                assert!(!is_linked(&world, "team-1").await, "removal {removal}");
                world.work(Duration::from_secs(20)).await;
                assert!(is_linked(&world, "team-1").await, "removal {removal}");
            }
            let progress = world.ledger.progress(Lane::Org(world.org), world.clock.now()).await.unwrap();
            assert_eq!((progress.removed_by_others, progress.failing), (i64::from(removal >= 3), 0));
            assert_eq!(audited(&world).await, removal);
        }
        somebody_removes(&world, "team-1").await;
        pass(&world, 60 * MINUTE).await;
        assert!(!is_linked(&world, "team-1").await);
        assert_eq!(held(&world).await, ["@acme/team-1"]);
        // Neither time nor a person's pass ends the hold.
        world.clock.advance(Duration::from_secs(48 * 3600));
        let asks = teamlink::model::Asks::PERSON;
        world.worker.begin_pass(&["acme".to_owned()], teamlink::model::Cause::Person, asks).await.unwrap();
        world.work(Duration::from_secs(60)).await;
        assert_eq!(held(&world).await, ["@acme/team-1"]);
        let now = world.clock.now();
        let set = world.ledger.held_set(Lane::Org(world.org), now).await.unwrap().unwrap();
        assert!(set.items[0].reason.to_string().starts_with("somebody removes it"), "{set:?}");
        // An approval makes it once, and the count begins again.
        world.ledger.approve(&set.hash, "", Duration::from_secs(60), now).await.unwrap().unwrap();
        world.work(Duration::from_secs(10)).await;
        assert!(is_linked(&world, "team-1").await);
        assert_eq!(fights(&world).await, []);
        somebody_removes(&world, "team-1").await;
        pass(&world, 1).await;
        assert!(is_linked(&world, "team-1").await);
        assert_eq!(fights(&world).await, [("@acme/team-1".to_owned(), 1)]);
    });
}

#[test]
fn removals_that_are_a_day_apart_are_no_fight() {
    run(async |dir| {
        let world = World::new(1, 4, setup(), dir.path()).await;
        pass(&world, 1).await;
        for _ in 0..6 {
            somebody_removes(&world, "team-1").await;
            pass(&world, 1).await;
            assert!(is_linked(&world, "team-1").await);
            world.clock.advance(Duration::from_secs(13 * 3600));
        }
    });
}

#[test]
fn what_went_by_our_own_hand_or_with_its_datadog_team_was_removed_by_nobody_else() {
    run(async |dir| {
        let world = World::new(1, 6, Setup { grace: Duration::ZERO, ..setup() }, dir.path()).await;
        pass(&world, 1).await;
        // A delete of ours whose answer is lost.
        let lost = serde_json::json!({"method": "DELETE", "path": "/api/v2/team/connections", "reset": true, "times": 1});
        world.faults(&[lost]).await;
        world.delete("team-1").await;
        pass(&world, 60).await;
        world.faults(&[]).await;
        let id = world.datadog_teams().await["team-2"].clone();
        world.ask("DELETE", &format!("/api/v2/team/{id}"), serde_json::Value::Null).await;
        pass(&world, 4000).await;
        pass(&world, 4000).await;
        assert_eq!(linked(&world).await.len(), 4);
        assert_eq!(fights(&world).await, []);
    });
}

#[test]
fn a_delete_of_ours_that_the_lists_show_late_was_done_by_nobody_else() {
    for lag in [2_500, 9_000, 60_000] {
        run(async |dir| {
            let world = World::new(1, 4, setup(), dir.path()).await;
            pass(&world, 100).await;
            let path = "/api/v2/team/connections";
            world.faults(&[serde_json::json!({"method": "GET", "path": path, "stale_ms": lag})]).await;
            world.delete("team-1").await;
            pass(&world, 900).await;
            assert_eq!(linked(&world).await.len(), 3, "lag {lag}");
            assert_eq!((fights(&world).await, audited(&world).await), (Vec::new(), 0), "lag {lag}");
        });
    }
}

#[test]
fn an_answered_create_that_somebody_undoes_before_a_list_shows_it_counts_once() {
    run(async |dir| {
        let world = World::new(1, 4, setup(), dir.path()).await;
        let path = "/api/v2/team/connections";
        let stale = [serde_json::json!({"method": "GET", "path": path, "stale_ms": 15_000})];
        world.faults(&stale).await;
        pass(&world, 1).await;
        world.faults(&[]).await;
        // No list has shown it to a look, and after this none ever does.
        somebody_removes_at_once(&world, "team-1").await;
        world.faults(&stale).await;
        world.work(Duration::from_secs(300)).await;
        assert!(is_linked(&world, "team-1").await);
        assert_eq!(fights(&world).await, [("@acme/team-1".to_owned(), 1)]);
        assert_eq!(audited(&world).await, 1);
    });
}

#[test]
fn a_removal_that_one_look_notes_and_another_repairs_is_counted_once() {
    run(async |dir| {
        let world = World::new(1, 4, setup(), dir.path()).await;
        pass(&world, 1).await;
        somebody_removes(&world, "team-1").await;
        let down = serde_json::json!({"method": "POST", "path": "/api/v2/team/connections", "status": 503, "times": 3});
        world.faults(&[down]).await;
        pass(&world, 120).await;
        assert!(is_linked(&world, "team-1").await);
        assert_eq!(fights(&world).await, [("@acme/team-1".to_owned(), 1)]);
        assert_eq!(audited(&world).await, 1);
    });
}

#[test]
fn a_foreign_connection_that_comes_back_after_its_adoption_is_only_told() {
    run(async |dir| {
        let world = World::new(1, 2, Setup { first_creates: 0, ..setup() }, dir.path()).await;
        pass(&world, 1).await;
        let handles = world.datadog_teams().await;
        world.connect(&handles["team-1"], "team-1", THEIRS).await.unwrap();
        let asked = Asked::ManagedBy(THEIRS.into());
        let (survey, orgs) = (world.survey(), ["acme".to_owned()]);
        for candidate in operate::adopt::candidates(&survey, &world.ledger, &orgs, &asked).await.unwrap() {
            world.worker.adopt(&candidate, candidate.step.as_ref().unwrap()).await.unwrap();
        }
        somebody_removes(&world, "team-1").await;
        let theirs = world.connect(&handles["team-1"], "team-1", THEIRS).await.unwrap();
        pass(&world, 60).await;
        assert!(world.connections().await.contains_key(&theirs));
        let key = TeamKey { org: world.org, team: team_id(&world, "team-1").await };
        let lines = world.ledger.audit(Some(key), Time(0)).await.unwrap();
        let told = lines.iter().filter(|line| line.reason.contains("somebody made the connection"));
        assert_eq!(told.count(), 1, "{lines:?}");
    });
}
