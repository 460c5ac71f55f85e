//! How fast events pass from a real RabbitMQ into the ledger, committed and acknowledged.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub, reason = "a benchmark")]

#[path = "../tests/servers/network.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod network;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use network::Corner;
use support::eventually;
use teamlink::{
    intake::{Intake, Watch},
    ledger::{Ledger, Pace},
    model::{OrgFacts, OrgId},
    queue::Consumer,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const EVENTS: u32 = 50_000;
const TEAMS: u32 = 500;

#[tokio::main]
async fn main() {
    let corner = Corner::new().await;
    let directory = tempfile::tempdir().unwrap();
    let ledger =
        Ledger::open(&format!("sqlite:{}", directory.path().join("bench.db").display())).await.unwrap();
    let pace = Pace { debounce: Duration::from_secs(1), max_wait: Duration::from_secs(5) };
    let acme = OrgFacts { id: OrgId(1), login: "acme".into() };
    ledger.bind_org(&acme, ledger.clock().now()).await.unwrap();
    let watch = Watch::new(&[], [(acme.id, acme.login)]);
    let intake = Intake::start(ledger, watch, pace, Arc::new(Notify::new()), Default::default());
    // Once to declare the topology.
    run(&corner, &intake, async || {
        eventually("declared", true, async || corner.channel.status().connected()).await;
    })
    .await;
    let filler = "x".repeat(8 * 1024 - 150);
    for number in 0..EVENTS {
        let team = number % TEAMS;
        let body = format!(
            r#"{{"action":"edited","team":{{"id":{team},"slug":"team-{team}","name":"Team {team}"}},"organization":{{"id":1,"login":"acme"}},"filler":"{filler}"}}"#
        );
        corner.publish("github.team", properties(number), body.as_bytes()).await;
    }
    eventually("all are in the queue", EVENTS, async || corner.queued().await).await;
    let started = Instant::now();
    run(&corner, &intake, async || {
        let mut free = 0;
        while free < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            free = if corner.queued().await == 0 { free + 1 } else { 0 };
        }
    })
    .await;
    // Stopping finished the batch in hand; what was not acknowledged is back.
    let took = started.elapsed();
    let done = EVENTS - corner.queued().await;
    println!(
        "{done} events of 8 KiB for {TEAMS} teams, committed and acknowledged: {:.0}/s",
        f64::from(done) / took.as_secs_f64()
    );
}

async fn run(corner: &Corner, intake: &Intake, until: impl AsyncFnOnce()) {
    let consumer = Consumer::new(corner.options.clone(), intake.clone());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (consumer, shutdown) = (consumer.clone(), shutdown.clone());
        async move { consumer.run(shutdown).await }
    });
    eventually("the consumer is ready", Ok(()), async || consumer.ready()).await;
    until().await;
    shutdown.cancel();
    running.await.unwrap();
}

fn properties(guid: u32) -> BasicProperties {
    let text = |value: String| AMQPValue::LongString(value.into());
    let mut headers = FieldTable::default();
    headers.insert("X-GitHub-Event".into(), text("team".into()));
    headers.insert("X-GitHub-Delivery".into(), text(format!("72d3162e-cc78-11e3-81ab-{guid:012}")));
    BasicProperties::default().with_headers(headers).with_delivery_mode(2)
}
