//! Writes that fail for a while, alone or with others: an outage parks nothing, and poison is parked alone.

use std::time::Duration;

use serde_json::{Value, json};
use teamlink::model::Lane;

use super::{
    grace::{pass, setup},
    sequences::{linked, run},
    world::World,
};

const CONNECTIONS: &str = "/api/v2/team/connections";

async fn parked(world: &World) -> Vec<String> {
    world.ledger.parked().await.unwrap().into_iter().map(|parked| parked.subject).collect()
}

fn down(method: &str, what: Value) -> Value {
    let mut fault = json!({"method": method, "path": CONNECTIONS, "status": 500});
    fault.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    fault
}

#[test]
fn a_short_outage_of_deletes_parks_nothing_and_delays_a_lone_removal() {
    run(async |dir| {
        let world = World::new(1, 4, setup(), dir.path()).await;
        pass(&world, 1).await;
        world.delete("team-1").await;
        world.faults(&[down("DELETE", json!({"times": 2}))]).await;
        pass(&world, 120).await;
        assert_eq!(parked(&world).await, [] as [String; 0]);
        assert_eq!(linked(&world).await.len(), 3);
    });
}

#[test]
fn a_short_outage_of_creates_parks_nothing_and_delays_a_lone_create() {
    run(async |dir| {
        let world = World::new(1, 4, setup(), dir.path()).await;
        pass(&world, 1).await;
        world.datadog_team("Core").await;
        world.create("Core").await;
        world.clock.advance(Duration::from_secs(301));
        world.faults(&[down("POST", json!({"times": 3}))]).await;
        pass(&world, 120).await;
        assert_eq!(parked(&world).await, [] as [String; 0]);
        assert_eq!(linked(&world).await.len(), 5);
    });
}

#[test]
fn creates_that_succeed_say_nothing_about_deletes_that_fail() {
    run(async |dir| {
        let mut world = World::new(1, 4, setup(), dir.path()).await;
        pass(&world, 1).await;
        world.delete("team-1").await;
        world.faults(&[down("DELETE", json!({}))]).await;
        pass(&world, 70).await;
        // Each look at it is at others' creates too; there are more of them than attempts that park a look.
        for number in 0..14 {
            world.datadog_team(&format!("Core-{number}")).await;
            world.create(&format!("Core {number}")).await;
            world.clock.advance(Duration::from_secs(601));
            let told = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
            world.deliver(told).await;
            pass(&world, 30).await;
            assert_eq!(linked(&world).await.len(), 5 + number);
        }
        assert_eq!(parked(&world).await, [] as [String; 0]);
        world.faults(&[]).await;
        world.work(Duration::from_secs(700)).await;
        assert_eq!(linked(&world).await.len(), 17);
    });
}

#[test]
fn an_outage_that_a_batch_meets_again_and_again_parks_nothing() {
    run(async |dir| {
        let world = World::new(1, 9, setup(), dir.path()).await;
        pass(&world, 1).await;
        for team in 1..=7 {
            world.delete(&format!("team-{team}")).await;
        }
        world.faults(&[down("DELETE", json!({}))]).await;
        pass(&world, 600).await;
        assert_eq!(parked(&world).await, [] as [String; 0]);
        world.faults(&[]).await;
        world.work(Duration::from_secs(700)).await;
        assert_eq!((linked(&world).await.len(), parked(&world).await.len()), (2, 0));
    });
}

#[test]
fn poison_in_a_batch_is_parked_alone_whichever_place_it_has() {
    for (number, method) in [(1, "DELETE"), (4, "DELETE"), (7, "DELETE"), (1, "POST"), (7, "POST")] {
        run(async |dir| {
            let world = World::new(1, 9, setup(), dir.path()).await;
            let handles = world.datadog_teams().await;
            let slug = format!("@acme/team-{number}");
            if method == "POST" {
                world.faults(&[down("POST", json!({"contains": handles[&format!("team-{number}")]}))]).await;
                pass(&world, 200).await;
                assert_eq!(linked(&world).await.len(), 8, "{number} {method}");
            } else {
                pass(&world, 1).await;
                let id = world.connections().await.into_iter().find(|(_, it)| it.github == slug).unwrap().0;
                for team in 1..=7 {
                    world.delete(&format!("team-{team}")).await;
                }
                world.faults(&[down("DELETE", json!({"contains": id}))]).await;
                pass(&world, 200).await;
                assert_eq!(linked(&world).await.len(), 3, "{number} {method}");
            }
            let parked = parked(&world).await;
            assert_eq!(parked.len(), 1, "{parked:?}");
            assert!(parked[0].contains(&slug), "{parked:?}");
            let progress = world.ledger.progress(Lane::Org(world.org), world.clock.now()).await.unwrap();
            assert_eq!((progress.failing, progress.parked), (0, 1));
        });
    }
}

#[test]
fn a_lone_delete_that_fails_while_others_go_is_parked_once_it_fails_again() {
    run(async |dir| {
        let mut world = World::new(1, 9, setup(), dir.path()).await;
        pass(&world, 1).await;
        let id = world.connections().await.into_iter().find(|(_, it)| it.github == "@acme/team-1").unwrap().0;
        world.faults(&[down("DELETE", json!({"contains": id}))]).await;
        for team in 1..=3 {
            world.delete(&format!("team-{team}")).await;
            let told = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
            world.deliver(told).await;
            world.work(Duration::from_secs(90)).await;
        }
        world.work(Duration::from_secs(700)).await;
        assert_eq!((linked(&world).await.len(), parked(&world).await.len()), (7, 1));
    });
}
