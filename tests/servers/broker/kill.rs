//! `kill -9` of the worker at random moments, while events come and the organisation changes: nothing that the
//! broker confirmed is lost, and Datadog ends as GitHub is, without a full pass.

use std::{
    collections::BTreeSet,
    fs::File,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::RngExt;
use reqwest::Method;
use serde_json::Value;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::process::{Child, Command};

use crate::{
    history::{self, Collector, History},
    network::Corner,
    support::{eventually, world::World},
};

const TEAMS: usize = 200;
const DELIVERIES: usize = 3_000;
const KILLS: usize = 10;

/// The built binary as a worker. It dies with the test.
fn start(world: &World, log: &File) -> Child {
    Command::new(env!("CARGO_BIN_EXE_teamlink"))
        .args(["run", "--role", "worker"])
        .env_clear()
        .envs(&world.env)
        .stderr(log.try_clone().unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// An address that is free now.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The ledger, read beside whoever writes it.
async fn ledger(world: &World) -> SqliteConnection {
    let options: SqliteConnectOptions = world.env["TEAMLINK_LEDGER__URL"].parse().unwrap();
    SqliteConnection::connect_with(&options.read_only(true)).await.unwrap()
}

async fn column(world: &World, sql: &'static str) -> BTreeSet<String> {
    let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut ledger(world).await).await.unwrap();
    rows.into_iter().collect()
}

/// Ids of the connections in Datadog that bear our mark.
async fn ours(world: &World) -> BTreeSet<String> {
    let mut ours = BTreeSet::new();
    for page in 0.. {
        let path = format!("/api/v2/team/connections?page[size]=100&page[number]={page}");
        let list = world.datadog(Method::GET, &path, Value::Null).await;
        let data = list["data"].as_array().unwrap();
        let marked = data.iter().filter(|connection| connection["attributes"]["managed_by"] == "teamlink");
        ours.extend(marked.map(|connection| connection["id"].as_str().unwrap().to_owned()));
        if data.len() < 100 {
            break;
        }
    }
    ours
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_again_and_again_loses_nothing() {
    let seed = history::seed();
    let mut dice = history::dice(seed);
    let history = History::new(TEAMS, DELIVERIES, &mut dice);
    let corner = Corner::new().await;
    let address = free_address();
    let listen = address.to_string();
    let queue = history::queue_settings(&corner);
    let mut env: Vec<_> = queue.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    env.push(("TEAMLINK_SERVER__LISTEN", &listen));
    let world = history::world(&history, &env).await;
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/broker_kill.log");
    println!("the worker's log: {path}");
    let log = File::create(path).unwrap();
    let mut worker = start(&world, &log);
    history::ready(&world, address).await;
    let mut collector = Collector::hook(&world).await;

    let mut moments = history::dice(seed + 1);
    let told = history::play_under(&world, &corner, &mut collector, &history, &mut dice, KILLS, async || {
        // The moment is what this test is about: from before it is up to the middle of its looks.
        tokio::time::sleep(Duration::from_millis(moments.random_range(50..2500))).await;
        worker.kill().await.unwrap();
        worker = start(&world, &log);
    })
    .await;
    assert_eq!(told.deliveries, DELIVERIES);

    let expected = history::expected(&world).await;
    // Writes that were cut off are looked at again once the last of them cannot arrive any more.
    let took = history::right(&world, &expected, told.last, Duration::from_secs(60)).await;
    println!("killed {KILLS} times; right {:.1} s after the last event", took.as_secs_f64());
    eventually("every write's end is known", 0, async || {
        let sql = "SELECT COUNT(*) FROM intents";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut ledger(&world).await).await.unwrap()
    })
    .await;
    let id = worker.id().unwrap().to_string();
    let began = Instant::now();
    assert!(Command::new("kill").arg(id).status().await.unwrap().success());
    assert!(worker.wait().await.unwrap().success(), "it did not end in order; see {path}");
    println!("ended {:?} after SIGTERM", began.elapsed());

    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
    assert_eq!(world.connections().await, expected);
    assert_eq!(column(&world, "SELECT guid FROM deliveries").await, told.guids());
    assert_eq!(column(&world, "SELECT connection_id FROM connections").await, ours(&world).await);
    assert_eq!(column(&world, "SELECT error FROM parked").await, BTreeSet::new());
}
