//! GitHub's document while thousands of repository events come through a real RabbitMQ.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lapin::BasicProperties;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};
use teamlink::app::{Daemon, Role};

use crate::{
    network::Corner,
    support::{
        self,
        documents::{ORG, names, put, puts, repo, repository},
        eventually,
        world::{self, World},
    },
};

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
        ("TEAMLINK_GUARD__MAX_PER_WINDOW", "1000"),
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
    expected.insert("by-hand".into());
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
        if event == 0 {
            eventually("the first document", expected.clone(), async || names(&world).await).await;
        }
    }
    eventually("wanted and foreign", expected.clone(), async || names(&world).await).await;
    let took = started.elapsed();
    eventually("every event is stored", EVENTS as i64, async || {
        let mut ledger = SqliteConnection::connect(&world.env["TEAMLINK_LEDGER__URL"]).await.unwrap();
        sqlx::query_scalar("SELECT COUNT(*) FROM deliveries").fetch_one(&mut ledger).await.unwrap()
    })
    .await;
    world.stop().await;
    // The events that came after the last change took nothing away.
    let last = names(&world).await;
    assert_eq!(last, expected);
    let puts = puts(&world).await;
    let times: Vec<u64> = puts.iter().map(|put| put["at_us"].as_u64().unwrap()).collect();
    let closest = times.windows(2).map(|pair| Duration::from_micros(pair[1] - pair[0])).min();
    let max_wait = world.settings.reconcile.max_wait;
    println!(
        "{EVENTS} events over {REPOS} repositories in {:.1} s: {} PUTs, the closest two {closest:?} apart, with a \
         max_wait of {max_wait:?}; {} entries in the end",
        took.as_secs_f64(),
        puts.len(),
        last.len(),
    );
    assert!(
        puts.len() > 1 && closest.is_none_or(|closest| closest >= max_wait),
        "two PUTs within `max_wait`"
    );
    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
}
