//! The wall clock of a machine is set while the built worker runs there: all is right soon, without a restart.
//! `tests/simulation/clocks.rs` sets clocks between any two steps.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    machine::Machine,
    schema::Schema,
    support::{
        eventually,
        process::Process,
        world::{World, linked},
    },
};

const HOUR: i64 = 3_600;
const STEPS: [i64; 3] = [-HOUR, -24 * HOUR, 24 * HOUR];

/// Attempts are never further apart than this, however long a busy machine takes to see enough of them fail.
const BACKOFF_MAX: (&str, &str) = ("TEAMLINK_RECONCILE__BACKOFF_MAX", "5s");

/// All is right this long after a clock was set.
const SOON: Duration = Duration::from_secs(30);

/// What fails: Datadog as a whole, which is given a rest, and the reads of a team, which are tried later and later.
fn faults() -> [Value; 2] {
    [json!({"path": "/api/*", "status": 503}), json!({"path": "/organizations/*/team/*", "status": 500})]
}

/// Something fails until the workers wait for it; meanwhile the machine's clock is set.
async fn heals_after(world: &World, machine: &Machine, workers: &[&Process], fault: Value, step: i64) {
    let teams = world.github(Method::GET, "/orgs/acme/teams", Value::Null).await;
    let slugs = [0, 1].map(|at| teams[at]["slug"].as_str().unwrap().to_owned());
    world.becomes(&linked(&slugs), SOON).await;
    workers[0].hook(world, "acme").await;

    let (before, status) = (world.seq().await, fault["status"].clone());
    // Each process counts its own failures: of two that share the attempts, neither may see enough of them to rest.
    let must_rest = fault["path"] == "/api/*" && workers.len() == 1;
    world.faults(json!([fault])).await;
    rename(world, &slugs[0], "Core").await;
    eventually("it failed again and again", true, async || {
        let failed = world.requests(before).await.iter().filter(|it| it["status"] == status).count();
        failed >= 3 && (!must_rest || rests(world, workers[0]).await)
    })
    .await;
    machine.set(step).await;
    world.faults(json!([])).await;
    let set = Instant::now();
    let becomes = async |slug: &str, within| {
        let expected = [format!("{} = @acme/{slug}", slugs[0]), format!("{0} = @acme/{0}", slugs[1])];
        world.becomes(&expected.into(), within).await;
    };
    becomes("core", SOON).await;
    println!("{} worker(s), the clock set by {step} s: right in {:.1?}", workers.len(), set.elapsed());
    // An event after that waits for nothing either.
    rename(world, "core", "Data").await;
    becomes("data", SOON).await;
}

/// Whether this worker gives Datadog a rest.
async fn rests(world: &World, worker: &Process) -> bool {
    let said = world.http.get(worker.url("/readyz")).send().await.unwrap();
    let said: Value = said.json().await.unwrap();
    said["upstreams"]["datadog"] != "ok"
}

async fn rename(world: &World, slug: &str, name: &str) {
    world.github(Method::PATCH, &format!("/orgs/acme/teams/{slug}"), json!({"name": name})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_while_something_fails_prolongs_no_delay() {
    for (fault, step) in faults().iter().flat_map(|fault| STEPS.map(|step| (fault, step))) {
        let world = World::new(2, &[BACKOFF_MAX, ("TEAMLINK_RECONCILE__EVERY", "1h")]).await;
        let machine = Machine::new();
        let worker = Process::start_with(&world, machine.env()).await;
        heals_after(&world, &machine, &[&worker], fault.clone(), step).await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_one_of_two_machines_that_is_set_while_something_fails_prolongs_no_delay() {
    for (fault, step) in faults().iter().flat_map(|fault| STEPS.map(|step| (fault, step))) {
        let schema = Schema::create().await;
        let env = [BACKOFF_MAX, ("TEAMLINK_RECONCILE__EVERY", "1h"), ("TEAMLINK_LEDGER__URL", &schema.url)];
        let world = World::new(2, &env).await;
        let machine = Machine::new();
        let on_it = Process::start_with(&world, machine.env()).await;
        let other = Process::start(&world).await;
        heals_after(&world, &machine, &[&on_it, &other], fault.clone(), step).await;
        on_it.stop().await;
        other.stop().await;
        schema.remove().await;
    }
}
