//! Three workers on one RabbitMQ and one PostgreSQL, and every few seconds one of them is killed or restarted, or the
//! broker or the database goes away for a moment, while events come: nothing that was confirmed is lost, no two workers
//! write beside each other, and Datadog ends as GitHub is, without a full pass.
//!
//! Here for half a minute; `tests/chaos` is three minutes of it and 20,000 events.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use rand::{RngExt, rngs::StdRng};
use tokio::process::Command;

use super::processes::{self, Worker};
use crate::{
    history::{self, Collector, History},
    network::Corner,
    network::Proxy,
    schema::Schema,
    support::{amqp_url, world},
};

const WORKERS: usize = 3;

/// A number from the environment, which makes the same test a long one.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

/// What is done to the set-up every few seconds.
struct Chaos<'a> {
    world: &'a world::World,
    /// Settings that put both proxies between a worker and its servers.
    env: Vec<(String, String)>,
    workers: Vec<Worker>,
    broker: Proxy,
    database: Proxy,
    log: File,
    dice: StdRng,
}

impl Chaos<'_> {
    /// A worker that is up: one that does not find its database ends, and has to be started again.
    async fn start(&self) -> Worker {
        let worker = Worker::start(self.world, &self.env, &self.log).await;
        worker.ready(self.world).await;
        worker
    }

    async fn strike(&mut self) -> &'static str {
        let victim = self.dice.random_range(0..WORKERS);
        let for_so_long = Duration::from_millis(self.dice.random_range(100..2000));
        match self.dice.random_range(0..6) {
            0..3 => {
                let next = self.start().await;
                std::mem::replace(&mut self.workers[victim], next).kill().await;
                "worker killed"
            }
            3 => {
                let next = self.start().await;
                std::mem::replace(&mut self.workers[victim], next).stop().await;
                "worker restarted"
            }
            4 => {
                away(&self.broker, "TEAMLINK_CHAOS_BROKER", for_so_long).await;
                "broker away"
            }
            _ => {
                away(&self.database, "TEAMLINK_CHAOS_DATABASE", for_so_long).await;
                "database away"
            }
        }
    }
}

/// Restarts a server by the command that the environment names for it. Without one, only its proxy is cut for a while:
/// other tests use the server too.
async fn away(proxy: &Proxy, command: &str, for_so_long: Duration) {
    if let Ok(restart) = std::env::var(command) {
        let restarted = Command::new("sh").arg("-ec").arg(&restart).output().await.unwrap();
        assert!(restarted.status.success(), "{command}: {restart}: {restarted:?}");
    } else {
        proxy.cut();
        tokio::time::sleep(for_so_long).await;
        proxy.restore();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_or_goes_away_nothing_is_lost_and_no_two_write_at_once() {
    let (events, seconds) = (number("TEAMLINK_CHAOS_EVENTS", 1_500), number("TEAMLINK_CHAOS_SECONDS", 30));
    let every = Duration::from_secs(number("TEAMLINK_CHAOS_EVERY", 3));
    let seed = history::seed();
    let mut dice = history::dice(seed);
    let history = History::new(200, usize::try_from(events).unwrap(), &mut dice);
    let (corner, schema) = (Corner::new().await, Schema::create().await);
    let (broker, database) = (Proxy::to_broker().await, Proxy::to(&schema.url, 5432).await);
    let mut settings = history::queue_settings(&corner).to_vec();
    settings.push(("TEAMLINK_LEDGER__URL".to_owned(), schema.url.clone()));
    let env: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let world = history::world(&history, &env).await;
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/postgres_chaos.log");
    println!("the workers' log: {path}");
    let log = File::create(path).unwrap();
    let env = vec![
        ("AMQP_URL".to_owned(), broker.url(&amqp_url())),
        ("TEAMLINK_LEDGER__URL".to_owned(), database.url(&schema.url)),
    ];
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let worker = Worker::start(&world, &env, &log).await;
        worker.ready(&world).await;
        workers.push(worker);
    }
    let mut collector = Collector::hook(&world).await;
    let before = world.seq().await;

    let strikes = usize::try_from(seconds / every.as_secs()).unwrap();
    let mut chaos =
        Chaos { world: &world, env, workers, broker, database, log, dice: history::dice(seed + 1) };
    let began = Instant::now();
    // A strike that takes longer than it may does not put off those after the next.
    let mut ticks = tokio::time::interval(every);
    ticks.tick().await;
    let told =
        history::play_under(&world, &corner, &mut collector, &history, &mut dice, strikes, async || {
            ticks.tick().await;
            let at = began.elapsed();
            let what = chaos.strike().await;
            println!("{:>5.1} s: {what}, {:.1} s", at.as_secs_f64(), (began.elapsed() - at).as_secs_f64());
        })
        .await;
    println!("{strikes} strikes in {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(told.deliveries, usize::try_from(events).unwrap());

    let expected = history::expected(&world).await;
    // A lease that nobody gave back ends after 15 s.
    let took = history::right(&world, &expected, told.last, Duration::from_secs(120)).await;
    processes::all_is_well(&world, &corner, &schema, &told.guids()).await;
    let writes = processes::writes_in_order(&world, before).await;
    println!("right {:.1} s after the last event; {writes:?}", took.as_secs_f64());
    assert!(writes.takeovers > 0, "several workers write");
    for worker in chaos.workers {
        worker.stop().await;
    }
    schema.remove().await;
}
