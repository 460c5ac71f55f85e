//! The whole chain: a real RabbitMQ, the built worker and the sandbox, on the cores that this machine has.
//!
//! `cargo bench --bench pipeline` prints how soon the worker is ready, how fast it takes events from the queue
//! into its ledger, how soon after the last of 5,000 events 500 teams are right while Datadog answers in 20 ms,
//! and the worker's peak memory over all of that.
//!
//! `TEAMLINK_SOAK=1000000 cargo bench --bench pipeline` sends that many events instead, and prints every 100,000 what
//! the worker's memory and its ledger have come to; deliveries are kept for 20 s meanwhile.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub, reason = "a benchmark")]

#[path = "../tests/servers/history.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod history;
#[path = "../tests/servers/network.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod network;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use history::{Collector, History, Webhook};
use network::Corner;
use reqwest::Method;
use serde_json::{Value, json};
use support::world::World;
use tokio::process::{Child, Command};

const TEAMS: usize = 500;
const EVENTS: usize = 5_000;
/// Deliveries that wait in the queue when the worker's way in is measured.
const BACKLOG: usize = 50_000;
/// Events of a soak between two lines of figures.
const STEP: usize = 100_000;

/// The built binary as a worker, and how long it took to be ready.
async fn start(world: &World, address: SocketAddr) -> (Child, Duration) {
    let began = Instant::now();
    let worker = Command::new(env!("CARGO_BIN_EXE_teamlink"))
        .args(["run", "--role", "worker"])
        .env_clear()
        .envs(&world.env)
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let url = format!("http://{address}/readyz");
    loop {
        if world.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return (worker, began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn stop(mut worker: Child) {
    let id = worker.id().unwrap().to_string();
    assert!(Command::new("kill").arg(id).status().await.unwrap().success());
    assert!(worker.wait().await.unwrap().success());
}

fn peak_memory_mb(worker: &Child) -> f64 {
    memory_mb(worker, "VmHWM:")
}

fn memory_mb(worker: &Child, what: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0 / 1e6
}

#[tokio::main]
async fn main() {
    let mut dice = history::dice(history::seed());
    let history = History::new(TEAMS, EVENTS, &mut dice);
    let corner = Corner::new().await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = address.to_string();
    let queue = history::queue_settings(&corner);
    let mut env: Vec<_> = queue.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    env.push(("TEAMLINK_SERVER__LISTEN", &listen));
    let soak = std::env::var("TEAMLINK_SOAK").ok().map(|events| events.parse::<usize>().unwrap());
    if soak.is_some() {
        env.push(("TEAMLINK_LEDGER__KEEP_DELIVERIES", "20s"));
    }
    let world = history::world(&history, &env).await;
    if let Some(events) = soak {
        return self::soak(&world, &corner, address, events).await;
    }

    let mut ready = Vec::new();
    for _ in 0..5 {
        let (worker, took) = start(&world, address).await;
        ready.push(took);
        stop(worker).await;
    }
    ready.sort_unstable();
    println!("ready: {:.3} s after its start (median of {})", ready[2].as_secs_f64(), ready.len());

    world.faults(json!([{"path": "/api/v2/*", "latency_ms": 20}])).await;
    let (worker, _) = start(&world, address).await;
    let mut collector = Collector::hook(&world).await;
    let (_, before) = history::datadog_requests(&world).await;
    let window = history.changes.len() / 10 + 1;
    let told =
        history::play_and_publish(&world, &corner, &mut collector, &history, window, &mut dice, async || {})
            .await;
    let expected = history::expected(&world).await;
    let took = history::right(&world, &expected, told.last, Duration::from_secs(60)).await;
    let (_, after) = history::datadog_requests(&world).await;
    println!(
        "{EVENTS} events for {TEAMS} teams, Datadog at 20 ms: right {:.1} s after the last; {:.4} Datadog requests \
         an event; peak memory {:.1} MB",
        took.as_secs_f64(),
        (after - before) as f64 / EVENTS as f64,
        peak_memory_mb(&worker),
    );
    stop(worker).await;
    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
    backlog(&world, &corner, address).await;
}

/// How fast a full queue is taken into the ledger.
async fn backlog(world: &World, corner: &Corner, address: SocketAddr) {
    publish(world, corner, 0..BACKLOG).await;
    support::eventually("all are in the queue", BACKLOG as u32, async || corner.queued().await).await;
    let (worker, _) = start(world, address).await;
    let began = Instant::now();
    let waiting = corner.queued().await;
    while corner.queued().await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let peak = peak_memory_mb(&worker);
    // What was delivered but not acknowledged by then comes back when the worker leaves.
    stop(worker).await;
    let took = began.elapsed();
    let done = waiting - corner.queued().await;
    println!(
        "queue to ledger: {done} events of 8 KiB committed and acknowledged, {:.0}/s; peak memory {peak:.1} MB",
        f64::from(done) / took.as_secs_f64()
    );
    corner.channel.queue_purge(corner.options.queue.as_str().into(), Default::default()).await.unwrap();
}

/// Whether a worker stays as small as it was, and its ledger with it.
async fn soak(world: &World, corner: &Corner, address: SocketAddr, events: usize) {
    let (worker, _) = start(world, address).await;
    let ledger = world.env["TEAMLINK_LEDGER__URL"].strip_prefix("sqlite:").unwrap();
    let size = |file: String| std::fs::metadata(file).map_or(0, |file| file.len()) as f64 / 1e6;
    let began = Instant::now();
    for sent in (0..events).step_by(STEP) {
        publish(world, corner, sent..sent + STEP).await;
        while corner.queued().await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!(
            "{:>9} events in {:>4.0} s: memory {:.1} MB, peak {:.1} MB; ledger {:.1} MB and {:.1} MB of WAL",
            sent + STEP,
            began.elapsed().as_secs_f64(),
            memory_mb(&worker, "VmRSS:"),
            peak_memory_mb(&worker),
            size(ledger.to_owned()),
            size(format!("{ledger}-wal")),
        );
    }
    stop(worker).await;
}

async fn publish(world: &World, corner: &Corner, numbers: std::ops::Range<usize>) {
    let org = world.github(Method::GET, "/orgs/acme", Value::Null).await["id"].as_u64().unwrap();
    let filler = "x".repeat(8 * 1024 - 200);
    for first in numbers.step_by(1000) {
        let webhooks: Vec<Webhook> =
            (first..first + 1000).map(|number| delivery(org, number, &filler)).collect();
        history::publish(corner, &webhooks).await;
    }
}

/// Of teams that GitHub does not know: each costs the worker a look, and Datadog nothing.
fn delivery(org: u64, number: usize, filler: &str) -> Webhook {
    let team = number % TEAMS;
    let body = json!({
        "action": "edited",
        "changes": {"description": {"from": filler}},
        "team": {"id": 1_000_000 + team, "slug": format!("team-{team}"), "name": format!("Team {team}")},
        "organization": {"id": org, "login": "acme"},
    });
    Webhook {
        event: "team".into(),
        guid: format!("72d3162e-cc78-11e3-81ab-{number:012}"),
        signature: String::new(),
        body: body.to_string().into(),
    }
}
