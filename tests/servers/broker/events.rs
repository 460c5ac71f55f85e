//! Events do the work: thousands of them through a real RabbitMQ, duplicated and shuffled, while the organisation
//! goes on changing and full passes are off.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
    time::Duration,
};

use sqlx::{Connection, SqliteConnection};
use teamlink::app::{Daemon, Role};
use tokio::sync::Mutex;

use crate::{
    history::{self, Collector, History, play_and_publish},
    network::Corner,
    support::world::{self, World},
};

const TEAMS: usize = 500;
const DELIVERIES: usize = 10_000;
/// Changes after which what they told is published.
const WINDOW: usize = 500;
const SOON: Duration = Duration::from_secs(10);

/// Both tests measure time on the same cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A world whose worker consumes a corner of the broker.
async fn start(history: &History) -> (World, Corner, Collector) {
    let corner = Corner::new().await;
    let queue = history::queue_settings(&corner);
    let queue: Vec<_> = queue.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut world = history::world(history, &queue).await;
    let daemon = Daemon::start(&world.settings, Role::Worker, world::metrics()).await.unwrap();
    history::ready(&world, daemon.addr).await;
    world.daemon = Some(daemon);
    let collector = Collector::hook(&world).await;
    (world, corner, collector)
}

/// What the ledger counts, one number.
async fn count(world: &World, sql: &'static str) -> i64 {
    let mut ledger = SqliteConnection::connect(&world.env["TEAMLINK_LEDGER__URL"]).await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut ledger).await.unwrap()
}

/// Nothing is left anywhere, and nothing was given up on.
async fn nothing_is_left(world: &mut World, corner: &Corner, told: &BTreeSet<String>) {
    // What a consumer holds without having acknowledged it comes back when it leaves.
    world.stop().await;
    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
    for sql in [
        "SELECT COUNT(*) FROM parked",
        "SELECT COUNT(*) FROM held",
        "SELECT COUNT(*) FROM intents",
        "SELECT COUNT(*) FROM audit WHERE outcome NOT IN ('done', 'already')",
    ] {
        assert_eq!(count(world, sql).await, 0, "{sql}");
    }
    assert_eq!(count(world, "SELECT COUNT(*) FROM deliveries").await, told.len() as i64);
}

/// Prints what it cost, and answers how many requests to Datadog each delivery took.
async fn say(world: &World, deliveries: usize, before: u64) -> f64 {
    let (routes, requests) = history::datadog_requests(world).await;
    let each = (requests - before) as f64 / deliveries as f64;
    let looks = count(world, "SELECT SUM(fence) FROM leases").await;
    println!("{looks} looks, {each:.4} Datadog requests a delivery");
    println!("with {} requests of the test's own: {routes:?}", world.asked.load(Ordering::Relaxed));
    each
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_are_enough_without_any_full_pass() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut dice = history::dice(history::seed());
    let history = History::new(TEAMS, DELIVERIES, &mut dice);
    let (mut world, corner, mut collector) = start(&history).await;
    let (_, before) = history::datadog_requests(&world).await;

    let told =
        play_and_publish(&world, &corner, &mut collector, &history, WINDOW, &mut dice, async || {}).await;
    assert_eq!(told.deliveries, DELIVERIES);
    let expected = history::expected(&world).await;
    let took = history::right(&world, &expected, told.last, SOON).await;
    // It stays right when the teams are read again, as they are some seconds after their last event.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(world.connections().await, expected);
    let each = say(&world, DELIVERIES, before).await;
    println!("right {:.1} s after the last event", took.as_secs_f64());
    assert!(each <= 0.1, "{each} Datadog requests a delivery");
    nothing_is_left(&mut world, &corner, &told.guids()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lost_events_leave_behind_a_full_pass_repairs_and_nothing_else() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut dice = history::dice(history::seed());
    let mut history = History::new(TEAMS, DELIVERIES, &mut dice);
    history.lose(&mut dice);
    let (mut world, corner, mut collector) = start(&history).await;
    let (_, before) = history::datadog_requests(&world).await;

    let told =
        play_and_publish(&world, &corner, &mut collector, &history, WINDOW, &mut dice, async || {}).await;
    let untold = told.webhooks.iter().filter(|(_, told)| !told).count();
    println!("{untold} of {} events are never told", history.changes.len());

    // A team whose last event was told comes right without a pass. What the others had or have may be wrong.
    let mut slugs: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut doubtful: BTreeSet<u64> = BTreeSet::new();
    for (webhook, told) in &told.webhooks {
        let (team, slug) = webhook.team();
        slugs.entry(team).or_default().insert(slug);
        if *told {
            doubtful.remove(&team)
        } else {
            doubtful.insert(team)
        };
    }
    let doubtful = world::linked(doubtful.iter().flat_map(|team| &slugs[team]));
    let certain = |connections: &BTreeSet<String>| connections - &doubtful;
    let expected = history::expected(&world).await;
    let handles = world.handles().await;
    loop {
        let now = world.connections_of(&handles).await;
        if certain(&now) == certain(&expected) {
            break;
        }
        assert!(told.last.elapsed() < SOON, "{:#?}", &certain(&now) ^ &certain(&expected));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    say(&world, told.deliveries, before).await;
    nothing_is_left(&mut world, &corner, &told.guids()).await;

    let connected = world.connections().await;
    let (missing, stale) = (&expected - &connected, &connected - &expected);
    println!("the full pass is to make {} connections and to remove {}", missing.len(), stale.len());
    assert!(missing.len() + stale.len() > 0, "nothing was lost that mattered: take another seed");
    let since = world.seq().await;
    world.pass().await;
    assert_eq!(world.connections().await, expected);
    // As many writes as there were differences, and none is left: so they were for those teams and for no others.
    assert_eq!(writes(&world, since).await, (missing.len(), stale.len()));
    let since = world.seq().await;
    world.pass().await;
    assert_eq!(writes(&world, since).await, (0, 0));
}

/// How many connections were made and removed since a request.
async fn writes(world: &World, since: u64) -> (usize, usize) {
    let (mut made, mut removed) = (0, 0);
    for request in world.requests(since).await {
        let items = request["body"]["data"].as_array().map_or(0, Vec::len);
        match (request["path"].as_str().unwrap(), request["method"].as_str().unwrap()) {
            ("/api/v2/team/connections", "POST") => made += items,
            ("/api/v2/team/connections", "DELETE") => removed += items,
            (path, method) if path.starts_with("/api/") => assert_eq!(method, "GET", "{path}"),
            _ => {}
        }
    }
    (made, removed)
}
