//! Clocks that are set while teamlink works, on one machine and on one of two: all is right again soon, without a
//! restart, and nothing goes because a clock said that its time was over.

use std::{future::Future, time::Duration};

use serde_json::{Value, json};
use teamlink::{clock::Clock, reconcile::Worker};

use super::{
    Setup,
    grace::{pass, setup},
    scratch,
    world::{World, rustls},
};

const HOUR: i64 = 3_600_000_000;
const STEPS: [i64; 3] = [-HOUR, -24 * HOUR, 24 * HOUR];

/// All is right this long after a clock was set.
const SOON: u64 = 30;

fn run<F: Future<Output = ()>>(life: impl FnOnce(tempfile::TempDir) -> F) {
    rustls();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(life(scratch()));
}

/// Lets workers do what is due, second by second, until this holds. Returns how many seconds it took.
async fn until(world: &World, workers: &[&Worker], most: u64, expected: &[&str]) -> u64 {
    for second in 0..=most {
        for worker in workers {
            worker.work_due().await.unwrap();
        }
        if linked(world).await == expected {
            return second;
        }
        world.clock.advance(Duration::from_secs(1));
    }
    panic!("after {most} s: {:?}, not {expected:?}", linked(world).await);
}

/// Works for this long, second by second.
async fn work(world: &World, workers: &[&Worker], seconds: u64) {
    for _ in 0..seconds {
        for worker in workers {
            worker.work_due().await.unwrap();
        }
        world.clock.advance(Duration::from_secs(1));
    }
}

async fn linked(world: &World) -> Vec<String> {
    let mut slugs: Vec<String> = world.connections().await.into_values().map(|it| it.github).collect();
    slugs.sort_unstable();
    slugs
}

/// What GitHub tells is heard.
async fn hear(world: &mut World) {
    let told = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
    world.deliver(told).await;
}

/// An outage, or a team that cannot be read, has made teamlink wait for long when its clock is set.
async fn heals_after(fault: Value, step: i64) {
    let dir = scratch();
    let mut world = World::new(1, 2, setup(), dir.path()).await;
    pass(&world, 1).await;
    world.faults(&[fault]).await;
    world.rename("team-1", "Core").await;
    hear(&mut world).await;
    let worker = world.worker.clone();
    work(&world, &[&worker], 300).await;
    world.clock.step(step);
    world.faults(&[]).await;
    until(&world, &[&worker], SOON, &["@acme/core", "@acme/team-2"]).await;
    // An event after that waits for nothing either.
    world.rename("core", "Data").await;
    hear(&mut world).await;
    until(&world, &[&worker], 10, &["@acme/data", "@acme/team-2"]).await;
}

#[test]
fn a_clock_set_after_an_outage_prolongs_no_rest() {
    run(|_| async {
        for step in STEPS {
            heals_after(json!({"path": "/api/*", "status": 503}), step).await;
            heals_after(json!({"path": "/api/v2/team/connections", "status": 403}), step).await;
        }
    });
}

#[test]
fn a_clock_that_is_set_back_makes_what_failed_alone_due() {
    run(|_| async {
        for step in [-HOUR, -24 * HOUR] {
            heals_after(json!({"path": "/organizations/*/team/*", "status": 500}), step).await;
        }
    });
}

#[test]
fn a_clock_set_between_two_looks_neither_ends_a_grace_nor_prolongs_it_for_long() {
    run(|_| async {
        for step in STEPS {
            let dir = scratch();
            let mut world = World::new(1, 3, setup(), dir.path()).await;
            pass(&world, 1).await;
            world.delete("team-1").await;
            world.rename("team-2", "X two").await;
            hear(&mut world).await;
            let worker = world.worker.clone();
            work(&world, &[&worker], 10).await;
            world.clock.step(step);
            work(&world, &[&worker], 45).await;
            assert_eq!(linked(&world).await.len(), 3, "{step}: the grace is not over");
            until(&world, &[&worker], 60, &["@acme/team-3"]).await;
        }
    });
}

#[test]
fn a_clock_set_in_the_middle_of_a_look_ends_no_grace() {
    run(|_| async {
        for requests in 1..20 {
            let dir = scratch();
            let mut world = World::new(1, 3, setup(), dir.path()).await;
            pass(&world, 1).await;
            world.delete("team-1").await;
            hear(&mut world).await;
            world.clock.advance(Duration::from_secs(1));
            let worker = world.worker.clone();
            let (gate, clock) = (world.gate.clone(), world.clock.clone());
            {
                let mut look = std::pin::pin!(async { assert!(worker.work_due().await.is_ok()) });
                if gate.stops(&mut look, super::Step::Answer, requests).await {
                    clock.step(24 * HOUR);
                    gate.open();
                    look.await;
                }
            }
            work(&world, &[&worker], 50).await;
            assert_eq!(linked(&world).await.len(), 3, "set after {requests} requests");
            until(&world, &[&worker], 60, &["@acme/team-2", "@acme/team-3"]).await;
        }
    });
}

#[test]
fn a_clock_set_forward_gives_no_slot_of_the_guards_window_back() {
    run(|_| async {
        for step in STEPS {
            let dir = scratch();
            let tight = Setup { max_per_window: 1, grace: Duration::ZERO, ..setup() };
            let world = World::new(1, 4, tight, dir.path()).await;
            pass(&world, 1).await;
            world.delete("team-1").await;
            pass(&world, 60).await;
            assert_eq!(linked(&world).await.len(), 3);
            world.clock.step(step);
            world.delete("team-2").await;
            pass(&world, 60).await;
            assert_eq!(linked(&world).await.len(), 3, "{step}: the window is of one removal");
        }
    });
}

#[test]
fn a_clock_set_while_no_process_looked_is_noticed_at_the_start() {
    run(|_| async {
        for step in [-HOUR, -24 * HOUR] {
            let dir = scratch();
            let mut world = World::new(1, 3, setup(), dir.path()).await;
            pass(&world, 1).await;
            world.faults(&[json!({"path": "/organizations/*/team/*", "status": 500})]).await;
            world.rename("team-1", "Core").await;
            world.delete("team-2").await;
            hear(&mut world).await;
            let worker = world.worker.clone();
            work(&world, &[&worker], 300).await;
            // Another process has another memory, and finds the clock as it is.
            let clock = world.clock.of_another_machine();
            clock.step(step);
            clock.take_over();
            let database = clock.clone();
            let later = world.on_another_machine(&clock, &database);
            world.faults(&[]).await;
            until(&world, &[&later], SOON, &["@acme/core", "@acme/team-2", "@acme/team-3"]).await;
            until(&world, &[&later], 90, &["@acme/core", "@acme/team-3"]).await;
        }
    });
}

/// Two workers on machines of their own, which share a database with a clock.
struct Two {
    database: Clock,
    clocks: [Clock; 2],
    workers: [Worker; 2],
}

impl Two {
    fn new(world: &World) -> Self {
        let database = world.clock.of_another_machine();
        let clocks = [(), ()].map(|()| world.clock.of_another_machine());
        let workers = clocks.each_ref().map(|clock| world.on_another_machine(clock, &database));
        Self { database, clocks, workers }
    }
}

#[test]
fn a_clock_set_on_one_of_two_machines_or_on_the_databases_prolongs_nothing_and_ends_no_grace() {
    run(|_| async {
        for step in STEPS {
            for of_database in [false, true] {
                let dir = scratch();
                let mut world = World::new(1, 3, setup(), dir.path()).await;
                pass(&world, 1).await;
                let two = Two::new(&world);
                let workers = two.workers.each_ref();
                work(&world, &workers, 1).await;
                world.faults(&[json!({"path": "/api/*", "status": 503})]).await;
                world.rename("team-1", "Core").await;
                world.delete("team-2").await;
                hear(&mut world).await;
                work(&world, &workers, 200).await;
                world.faults(&[]).await;
                until(&world, &workers, 90, &["@acme/core", "@acme/team-3"]).await;
                world.faults(&[json!({"path": "/api/*", "status": 503})]).await;
                world.rename("core", "Data").await;
                world.delete("team-3").await;
                hear(&mut world).await;
                work(&world, &workers, 20).await;
                let clock = if of_database { &two.database } else { &two.clocks[1] };
                clock.step(step);
                world.faults(&[]).await;
                until(&world, &workers, SOON, &["@acme/data", "@acme/team-3"]).await;
                until(&world, &workers, 90, &["@acme/data"]).await;
            }
        }
    });
}
