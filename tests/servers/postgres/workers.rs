//! Several workers on one RabbitMQ and one PostgreSQL: restarted one after the other, they lose nothing, write nothing
//! twice, and never write beside each other.

use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    time::Duration,
};

use rand::{RngExt, seq::SliceRandom};
use reqwest::Method;
use serde_json::{Value, json};

use super::processes::{self, Worker};
use crate::{
    history::{self, Change, Collector, History},
    network::Corner,
    schema::Schema,
    support::{
        eventually,
        world::{self, World},
    },
};

const TEAMS: usize = 60;
const DELIVERIES: usize = 900;
const RESTARTS: usize = 6;

/// Settings of workers on this corner of the broker and this schema of the database.
fn settings(corner: &Corner, schema: &Schema) -> Vec<(String, String)> {
    let mut settings = history::queue_settings(corner).to_vec();
    settings.push(("TEAMLINK_LEDGER__URL".to_owned(), schema.url.clone()));
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_restarted_one_after_the_other_lose_nothing_and_write_nothing_twice() {
    let mut dice = history::dice(history::seed());
    let history = History::new(TEAMS, DELIVERIES, &mut dice);
    let (corner, schema) = (Corner::new().await, Schema::create().await);
    let settings = settings(&corner, &schema);
    let env: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let world = history::world(&history, &env).await;
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/postgres_workers.log");
    println!("the workers' log: {path}");
    let log = File::create(path).unwrap();
    let mut workers = VecDeque::new();
    for _ in 0..3 {
        let worker = Worker::start(&world, &[], &log).await;
        worker.ready(&world).await;
        workers.push_back(worker);
    }
    let mut collector = Collector::hook(&world).await;
    let before = world.seq().await;

    let window = history.changes.len() / RESTARTS + 1;
    let restart = async || {
        let next = Worker::start(&world, &[], &log).await;
        next.ready(&world).await;
        workers.push_back(next);
        workers.pop_front().unwrap().stop().await;
    };
    let told =
        history::play_and_publish(&world, &corner, &mut collector, &history, window, &mut dice, restart)
            .await;
    assert_eq!(told.deliveries, DELIVERIES);

    let expected = history::expected(&world).await;
    let took = history::right(&world, &expected, told.last, Duration::from_secs(60)).await;
    processes::all_is_well(&world, &corner, &schema, &told.guids()).await;
    let writes = processes::writes_in_order(&world, before).await;
    println!("right {:.1} s after the last event; {writes:?}", took.as_secs_f64());
    assert_eq!(writes.refused, 0, "what is there is not made again, what is gone is not deleted again");
    assert!(writes.takeovers > 0, "several workers write");
    for worker in workers {
        worker.stop().await;
    }
    schema.remove().await;
}

/// Two teams exchange their slugs: three renames, whose events go to two workers at once. `TEAMLINK_TEST_SWAPS` says how
/// often.
#[tokio::test(flavor = "multi_thread")]
async fn two_teams_that_swap_their_slugs_again_and_again_end_right() {
    let swaps: usize = std::env::var("TEAMLINK_TEST_SWAPS").map_or(30, |swaps| swaps.parse().unwrap());
    let mut dice = history::dice(history::seed());
    let (corner, schema) = (Corner::new().await, Schema::create().await);
    let settings = settings(&corner, &schema);
    let mut env: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    env.extend(history::SETTINGS);
    env.extend([("TEAMLINK_RECONCILE__DEBOUNCE", "10ms"), ("TEAMLINK_RECONCILE__MAX_WAIT", "50ms")]);
    let world = World::new(0, &env).await;
    let [a, b, spare] = ["swapping-a", "swapping-b", "swapping-c"];
    let datadog: Vec<_> = [a, b, spare].map(|name| json!({"handle": name, "name": name})).into();
    let teams = json!([{"name": a}, {"name": b}]);
    world.seed(json!({"orgs": [{"login": "acme", "teams": teams}], "datadog_teams": datadog})).await;
    world.pass().await;
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/postgres_swaps.log");
    println!("the workers' log: {path}");
    let log = File::create(path).unwrap();
    let both = [Worker::start(&world, &[], &log).await, Worker::start(&world, &[], &log).await];
    for worker in &both {
        worker.ready(&world).await;
    }
    let mut collector = Collector::hook(&world).await;
    let before = world.seq().await;
    let mut guids = BTreeSet::new();
    for _ in 0..swaps {
        let mut told = Vec::new();
        for (from, to) in [(a, spare), (b, a), (spare, b)] {
            let change = Change::Rename { from: from.into(), to: to.into() };
            told.extend(collector.play(&world, &[change]).await);
            // From all at once to one after the other, and in any order.
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..300))).await;
            told.shuffle(&mut dice);
            let now = told.split_off(told.len() / 2);
            guids.extend(now.iter().map(|webhook| webhook.guid.clone()));
            history::publish(&corner, &now).await;
        }
        guids.extend(told.iter().map(|webhook| webhook.guid.clone()));
        history::publish(&corner, &told).await;

        eventually("each delivery is stored", guids.len(), async || {
            processes::column(&schema, "SELECT guid FROM deliveries").await.len()
        })
        .await;
        eventually("each mark is answered", BTreeSet::new(), async || {
            let sql = "SELECT kind || team_id FROM marks WHERE first_at IS NOT NULL
                       UNION SELECT github FROM intents";
            processes::column(&schema, sql).await
        })
        .await;
        assert_eq!(world.connections().await, world::linked([a, b]));
        let teams = world.github(Method::GET, "/orgs/acme/teams", Value::Null).await;
        let teams = teams.as_array().unwrap().iter();
        let owners = teams.map(|team| format!("{} = @acme/{}", team["id"], team["slug"].as_str().unwrap()));
        let known = processes::column(&schema, "SELECT team_id || ' = ' || github FROM connections").await;
        assert_eq!(known, owners.collect());
    }
    let writes = processes::writes_in_order(&world, before).await;
    println!("{swaps} swaps; {writes:?}");
    assert!(writes.takeovers > 0, "both workers write");
    for worker in both {
        worker.stop().await;
    }
    schema.remove().await;
}
