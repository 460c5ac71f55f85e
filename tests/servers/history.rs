//! A history of an organisation's teams that follows from a seed: played on the sandbox, collected as the webhooks
//! that it sends, and published to a real RabbitMQ as GitHub's deliveries are: one to three times each, shuffled.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use futures_util::{StreamExt, stream};
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::{
    network::Corner,
    support::{
        amqp_url, eventually,
        world::{SECRET, World, linked},
    },
};

/// The seed of this run: `TEAMLINK_TEST_SEED`, or one that is always the same.
pub fn seed() -> u64 {
    let seed = std::env::var("TEAMLINK_TEST_SEED").map_or(20_261_121, |seed| seed.parse().unwrap());
    println!("TEAMLINK_TEST_SEED={seed}");
    seed
}

/// Teams that are there from the beginning and that no event is about.
pub const QUIET: usize = 20;

/// Changes made at a time.
const PLAYERS: usize = 16;

/// Settings under which the guard stops nothing and the paces are the defaults.
pub const SETTINGS: [(&str, &str); 6] = [
    ("TEAMLINK_RECONCILE__DEBOUNCE", "1s"),
    ("TEAMLINK_RECONCILE__MAX_WAIT", "5s"),
    ("TEAMLINK_GUARD__MAX_SHARE", "1"),
    ("TEAMLINK_GUARD__MAX_REMOVALS", "1000000"),
    ("TEAMLINK_GUARD__MAX_PER_WINDOW", "1000000"),
    ("TEAMLINK_GUARD__FIRST_CREATES", "1000000"),
];

/// One change of the world, which GitHub tells in one event.
#[derive(Clone, Debug)]
pub enum Change {
    Create { name: String },
    Rename { from: String, to: String },
    Describe { name: String, text: String },
    Delete { name: String },
}

impl Change {
    /// The two teams that it is of.
    pub fn pair(&self) -> &str {
        match self {
            Self::Create { name } | Self::Describe { name, .. } | Self::Delete { name } => pair(name),
            Self::Rename { from, .. } => pair(from),
        }
    }

    async fn make(&self, world: &World) {
        let team = |name: &str| format!("/orgs/acme/teams/{name}");
        match self {
            Self::Create { name } => {
                world.github(Method::POST, "/orgs/acme/teams", json!({"name": name})).await
            }
            Self::Rename { from, to } => world.github(Method::PATCH, &team(from), json!({"name": to})).await,
            Self::Describe { name, text } => {
                world.github(Method::PATCH, &team(name), json!({"description": text})).await
            }
            Self::Delete { name } => world.github(Method::DELETE, &team(name), Value::Null).await,
        };
    }
}

/// `pair-007` of `pair-007-a`.
pub fn pair(slug: &str) -> &str {
    &slug[..8]
}

/// The changes of `teams` teams that are told in `deliveries` deliveries, and how often each is told.
pub struct History {
    pub changes: Vec<Change>,
    pub times: Vec<usize>,
    /// Every slug that exists at some time.
    pub slugs: Vec<String>,
}

impl History {
    pub fn new(teams: usize, deliveries: usize, dice: &mut StdRng) -> Self {
        // Two teams share four names, so that a name passes from one to the other, and back to a new one.
        let mut free: Vec<Vec<String>> = (0..teams.div_ceil(2))
            .map(|pair| ["a", "b", "c", "d"].map(|letter| format!("pair-{pair:03}-{letter}")).to_vec())
            .collect();
        let slugs = free.concat();
        let mut alive: Vec<Option<String>> = vec![None; teams];
        let (mut changes, mut times, mut told) = (Vec::new(), Vec::new(), 0);
        // Each team once, then any.
        let mut order: Vec<usize> = (0..teams).collect();
        order.shuffle(dice);
        while told < deliveries {
            let team = order.pop().unwrap_or_else(|| dice.random_range(0..teams));
            let names = &mut free[team / 2];
            let any = dice.random_range(0..names.len());
            changes.push(match (&mut alive[team], dice.random_range(0..10)) {
                (slot @ None, _) => {
                    let name = names.swap_remove(any);
                    *slot = Some(name.clone());
                    Change::Create { name }
                }
                (slot @ Some(_), 0..3) => {
                    let name = slot.take().unwrap();
                    names.push(name.clone());
                    Change::Delete { name }
                }
                (Some(name), 3..7) => {
                    let to = names.swap_remove(any);
                    names.push(name.clone());
                    let from = std::mem::replace(name, to.clone());
                    Change::Rename { from, to }
                }
                (Some(name), _) => {
                    Change::Describe { name: name.clone(), text: format!("text {}", changes.len()) }
                }
            });
            let copies = dice.random_range(1..=3).min(deliveries - told);
            told += copies;
            times.push(copies);
        }
        Self { changes, times, slugs }
    }

    /// One event in twenty is never told, nothing about the first six teams, and about the next six nothing but
    /// how they began.
    pub fn lose(&mut self, dice: &mut StdRng) {
        let beginning = self.changes.len() / 5;
        for (index, (change, times)) in self.changes.iter().zip(&mut self.times).enumerate() {
            let silent = change.pair() < "pair-003" || change.pair() < "pair-006" && index >= beginning;
            if silent || dice.random_bool(0.05) {
                *times = 0;
            }
        }
    }
}

/// A world in step, with the quiet teams and a Datadog team for every slug that will ever exist.
pub async fn world(history: &History, env: &[(&str, &str)]) -> World {
    let env = [&SETTINGS, env].concat();
    let world = World::new(QUIET, &env).await;
    let teams: Vec<_> = history.slugs.iter().map(|slug| json!({"handle": slug, "name": slug})).collect();
    world.seed(json!({"datadog_teams": teams})).await;
    world.pass().await;
    assert_eq!(world.connections().await.len(), QUIET);
    world
}

/// Waits until a process answers 200 at `/readyz`: the queue is declared, and consumed.
pub async fn ready(world: &World, address: std::net::SocketAddr) {
    let url = format!("http://{address}/readyz");
    eventually("the worker is ready", true, async || {
        world.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
}

/// The settings that put a worker behind this corner of the broker.
pub fn queue_settings(corner: &Corner) -> [(String, String); 4] {
    [
        ("AMQP_URL".to_owned(), amqp_url()),
        ("TEAMLINK_QUEUE__EXCHANGE".to_owned(), corner.options.exchange.clone()),
        ("TEAMLINK_QUEUE__QUEUE".to_owned(), corner.options.queue.clone()),
        ("TEAMLINK_QUEUE__DEAD_QUEUE".to_owned(), corner.options.dead_queue.clone()),
    ]
}

/// A webhook as GitHub sent it.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub event: String,
    pub guid: String,
    pub signature: String,
    pub body: Bytes,
}

impl Webhook {
    /// The id and the slug of the team that it is about.
    pub fn team(&self) -> (u64, String) {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        (body["team"]["id"].as_u64().unwrap(), body["team"]["slug"].as_str().unwrap().to_owned())
    }
}

/// Hears of the organisation, and keeps what it hears.
pub struct Collector {
    webhooks: mpsc::UnboundedReceiver<Webhook>,
}

impl Collector {
    pub async fn hook(world: &World) -> Self {
        let (heard, webhooks) = mpsc::unbounded_channel();
        let router = Router::new().route("/", post(hear)).with_state(heard);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = json!({"url": url, "secret": SECRET, "content_type": "json"});
        world.github(Method::POST, "/orgs/acme/hooks", json!({"config": config})).await;
        let mut collector = Self { webhooks };
        assert_eq!(collector.webhooks.recv().await.unwrap().event, "ping");
        collector
    }

    /// Carries out changes, those of each pair of teams in their order, and answers what GitHub told of each.
    pub async fn play(&mut self, world: &World, changes: &[Change]) -> Vec<Webhook> {
        let mut pairs: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        for change in changes {
            pairs.entry(change.pair()).or_default().push(change);
        }
        stream::iter(pairs.into_values())
            .for_each_concurrent(PLAYERS, async |changes| {
                for change in changes {
                    change.make(world).await;
                }
            })
            .await;
        // Each pair was told in its order.
        let mut told: BTreeMap<String, VecDeque<Webhook>> = BTreeMap::new();
        for _ in changes {
            let webhook = self.webhooks.recv().await.unwrap();
            told.entry(pair(&webhook.team().1).to_owned()).or_default().push_back(webhook);
        }
        changes.iter().map(|change| told.get_mut(change.pair()).unwrap().pop_front().unwrap()).collect()
    }
}

async fn hear(State(heard): State<mpsc::UnboundedSender<Webhook>>, headers: HeaderMap, body: Bytes) {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (event, guid) = (header("x-github-event"), header("x-github-delivery"));
    heard.send(Webhook { event, guid, signature: header("x-hub-signature-256"), body }).unwrap();
}

/// What was published of a history.
pub struct Told {
    /// In the order in which it happened, each with whether it was published at all.
    pub webhooks: Vec<(Webhook, bool)>,
    pub deliveries: usize,
    /// When the last delivery was confirmed.
    pub last: Instant,
}

impl Told {
    pub fn guids(&self) -> BTreeSet<String> {
        self.webhooks.iter().filter(|(_, told)| *told).map(|(webhook, _)| webhook.guid.clone()).collect()
    }
}

/// Plays a history, window by window. Each window is published shuffled, one copy in five a window late, while the
/// next one happens. After each window, `between`.
pub async fn play_and_publish(
    world: &World,
    corner: &Corner,
    collector: &mut Collector,
    history: &History,
    window: usize,
    dice: &mut StdRng,
    mut between: impl AsyncFnMut(),
) -> Told {
    let began = Instant::now();
    let mut told = Told { webhooks: Vec::new(), deliveries: 0, last: began };
    let mut late: Vec<Webhook> = Vec::new();
    for (changes, times) in history.changes.chunks(window).zip(history.times.chunks(window)) {
        let mut batch = std::mem::take(&mut late);
        let webhooks = collector.play(world, changes).await;
        for (webhook, &times) in webhooks.into_iter().zip(times) {
            for _ in 0..times {
                let delayed = dice.random_bool(0.2);
                if delayed { &mut late } else { &mut batch }.push(webhook.clone());
            }
            told.webhooks.push((webhook, times > 0));
        }
        batch.shuffle(dice);
        told.deliveries += batch.len();
        publish(corner, &batch).await;
        between().await;
    }
    told.deliveries += late.len();
    publish(corner, &late).await;
    told.last = Instant::now();
    println!(
        "{} changes played, {} deliveries published in {:?}",
        history.changes.len(),
        told.deliveries,
        began.elapsed()
    );
    told
}

/// Plays a history while something is struck again and again, a window of it for each strike, so that events come all
/// the time.
pub async fn play_under(
    world: &World,
    corner: &Corner,
    collector: &mut Collector,
    history: &History,
    dice: &mut StdRng,
    strikes: usize,
    mut strike: impl AsyncFnMut(),
) -> Told {
    let (struck, mut seen) = watch::channel(0);
    let striking = async {
        for count in 1..=strikes {
            strike().await;
            struck.send_replace(count);
        }
    };
    let mut played = 0;
    let window = history.changes.len() / (strikes + 1) + 1;
    let playing = play_and_publish(world, corner, collector, history, window, dice, async || {
        played += 1;
        seen.wait_for(|struck| *struck >= played.min(strikes)).await.unwrap();
    });
    let ((), told) = tokio::join!(striking, playing);
    told
}

/// Publishes deliveries as GitHub words them, and answers once the broker has confirmed every one. A broker that goes
/// away meanwhile is told of all of them again.
pub async fn publish(corner: &Corner, webhooks: &[Webhook]) {
    while let Err(error) = try_to_publish(corner, webhooks).await {
        println!("published again: {error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn try_to_publish(corner: &Corner, webhooks: &[Webhook]) -> lapin::Result<()> {
    let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions { nowait: false }).await?;
    let mut confirms = Vec::new();
    for webhook in webhooks {
        let text = |value: &str| AMQPValue::LongString(value.into());
        let mut headers = FieldTable::default();
        headers.insert("X-GitHub-Event".into(), text(&webhook.event));
        headers.insert("X-GitHub-Delivery".into(), text(&webhook.guid));
        headers.insert("X-Hub-Signature-256".into(), text(&webhook.signature));
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let key = format!("github.{}", webhook.event);
        let exchange = corner.options.exchange.as_str().into();
        confirms.push(channel.basic_publish(exchange, key.into(), options, &webhook.body, properties).await?);
    }
    for confirm in confirms {
        // With a message in it, the ack would be for one that no queue took.
        let confirmed = confirm.await?;
        assert!(matches!(confirmed, Confirmation::Ack(None)), "{confirmed:?}");
    }
    connection.close(200, "done".into()).await
}

/// What Datadog is to hold: every team that GitHub shows, linked to the Datadog team of the same name.
pub async fn expected(world: &World) -> BTreeSet<String> {
    let mut slugs = Vec::new();
    for page in 1.. {
        let path = format!("/orgs/acme/teams?per_page=100&page={page}");
        let teams = world.github(Method::GET, &path, Value::Null).await;
        let teams = teams.as_array().unwrap();
        slugs.extend(teams.iter().map(|team| team["slug"].as_str().unwrap().to_owned()));
        if teams.len() < 100 {
            return linked(slugs);
        }
    }
    unreachable!()
}

/// Waits until Datadog holds exactly this, and answers how long that took since `since`.
pub async fn right(world: &World, expected: &BTreeSet<String>, since: Instant, within: Duration) -> Duration {
    let handles = world.handles().await;
    loop {
        let now = world.connections_of(&handles).await;
        let took = since.elapsed();
        if now == *expected {
            return took;
        }
        assert!(
            took < within,
            "after {took:?}: missing {:#?}, too many {:#?}",
            expected.difference(&now).collect::<Vec<_>>(),
            now.difference(expected).collect::<Vec<_>>()
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Requests to Datadog so far, by route, and how many of all are not the test's own.
pub async fn datadog_requests(world: &World) -> (BTreeMap<String, u64>, u64) {
    let stats = world.remote.stats().await.unwrap();
    let requests = stats["requests"].as_object().unwrap();
    let of_datadog = requests.iter().filter(|(route, _)| route.contains(" /api/v2/"));
    let routes: BTreeMap<String, u64> =
        of_datadog.map(|(route, count)| (route.clone(), count.as_u64().unwrap())).collect();
    let all: u64 = routes.values().sum();
    (routes, all - world.asked.load(Ordering::Relaxed))
}

pub fn dice(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}
