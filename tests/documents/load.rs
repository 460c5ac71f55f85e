//! GitHub's document under load, and beside a person who edits it: what is measured, and what must hold.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lapin::BasicProperties;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use teamlink::app::{Daemon, Role};

use super::{
    ORG, config, names, put, puts, repo, repositories, repository,
    support::{self, Corner, eventually},
    world::{self, World},
};

/// What the sandbox says of teamlink's PUTs.
async fn judged(world: &World) -> Value {
    let stats = format!("{}/_sandbox/stats", world.sandbox.url());
    let stats: Value = world.http.get(stats).send().await.unwrap().json().await.unwrap();
    let writers = stats["integrations"]["github"].as_object().unwrap();
    writers.iter().find(|(client, _)| client.starts_with("teamlink/")).unwrap().1.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_person_edits_at_random_nothing_that_was_seen_is_lost() {
    const PUTS: u64 = 200;
    let fast = [("TEAMLINK_RECONCILE__DEBOUNCE", "1ms"), ("TEAMLINK_RECONCILE__MAX_WAIT", "2ms")];
    let mut world = repositories(&["app", "lib"], &fast).await;
    world.start().await;
    world.pass().await;
    let mut dice = StdRng::seed_from_u64(11);
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut name = "app".to_owned();
    for edit in 0.. {
        let done = judged(&world).await["puts_after_get"].as_u64().unwrap();
        if done >= PUTS {
            break;
        }
        assert!(Instant::now() < deadline, "{done} PUTs");
        let renamed = format!("app-{edit}");
        repo(&world, &name, json!({"name": renamed})).await;
        name = renamed;
        tokio::time::sleep(Duration::from_micros(dice.random_range(0..30_000))).await;
        let mut document = config(&world, "github").await;
        let entries = document["enabled_repos"].as_array_mut().unwrap();
        let by_hand = entries.iter().position(|it| it["repo_name"].as_str().unwrap().starts_with("person"));
        match by_hand.filter(|_| dice.random_bool(0.3)) {
            Some(place) => drop(entries.remove(place)),
            None => {
                let place = dice.random_range(0..=entries.len());
                entries.insert(place, repository(&format!("person-{edit}")));
            }
        }
        put(&world, "github", &document).await;
    }
    world.stop().await;
    let ours = judged(&world).await;
    println!("beside a person who edits: {ours}");
    // What the person does within the gap is lost at times; what a GET of ours saw is not.
    assert_eq!(ours["removed_of_others"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_events_over_three_hundred_repositories_are_a_few_puts() {
    const EVENTS: usize = 5_000;
    const REPOS: usize = 300;
    let corner = Corner::new().await;
    let amqp = support::amqp_url();
    let options = &corner.options;
    let env = [
        ORG,
        ("AMQP_URL", amqp.as_str()),
        ("TEAMLINK_QUEUE__EXCHANGE", options.exchange.as_str()),
        ("TEAMLINK_QUEUE__QUEUE", options.queue.as_str()),
        ("TEAMLINK_QUEUE__DEAD_QUEUE", options.dead_queue.as_str()),
        ("TEAMLINK_GUARD__MAX_SHARE", "1"),
        ("TEAMLINK_GUARD__MAX_REMOVALS", "1000"),
    ];
    let mut world = World::new(0, &env).await;
    let repos: Vec<_> = (0..REPOS).map(|n| json!({"name": format!("repo-{n}")})).collect();
    world.seed(json!({"orgs": [{"login": "acme", "repos": repos}]})).await;
    put(&world, "github", &json!({"enabled_repos": [repository("by-hand")]})).await;
    let org = world.github(Method::GET, "/orgs/acme", json!({})).await;
    let daemon = Daemon::start(&world.settings, Role::Worker, world::metrics()).await.unwrap();
    world.daemon = Some(daemon);
    eventually("the queue is there", true, async || {
        let url = format!("http://{}/readyz", world.daemon.as_ref().unwrap().addr);
        world.http.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;

    let started = Instant::now();
    let mut dice = StdRng::seed_from_u64(5);
    let mut expected: BTreeSet<String> = (0..REPOS).map(|n| format!("repo-{n}")).collect();
    for event in 0..EVENTS {
        let number = dice.random_range(0..REPOS);
        if event % 50 == 0 {
            let name = format!("repo-{number}");
            let archived = dice.random_bool(0.7);
            repo(&world, &name, json!({"archived": archived})).await;
            match archived {
                true => expected.remove(&name),
                false => expected.insert(name),
            };
        }
        let body = json!({
            "action": "edited", "organization": org,
            "repository": {"id": number, "name": format!("repo-{number}"), "owner": {"login": "acme"}},
        });
        let properties = BasicProperties::default().with_message_id(format!("event-{event}").into());
        corner.publish("github.repository", properties, body.to_string().as_bytes()).await;
    }
    expected.insert("by-hand".into());
    eventually("wanted and foreign", expected, async || names(&world).await).await;
    let took = started.elapsed();
    eventually("every event is stored", EVENTS as i64, async || {
        let mut ledger = SqliteConnection::connect(&world.env["TEAMLINK_LEDGER__URL"]).await.unwrap();
        sqlx::query_scalar("SELECT COUNT(*) FROM deliveries").fetch_one(&mut ledger).await.unwrap()
    })
    .await;
    world.stop().await;
    let puts = puts(&world).await;
    let times: Vec<u64> = puts.iter().map(|put| put["at_us"].as_u64().unwrap()).collect();
    let closest = times.windows(2).map(|pair| pair[1] - pair[0]).min();
    println!(
        "{EVENTS} events in {:.1} s: {} PUTs, {closest:?} µs between the closest",
        took.as_secs_f64(),
        puts.len()
    );
    assert!(closest.is_none_or(|closest| closest >= 500_000), "two PUTs within `reconcile.max_wait`");
    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
}
