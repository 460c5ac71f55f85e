//! A hundred kinds of poison among many good messages, on either ledger: no kind stops what comes behind it, and each is
//! accounted for.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, LongString},
};
use teamlink::{
    intake::{Intake, VerifyWhen, Watch},
    ledger::{Ledger, Pace},
    model::Delivery,
};

use crate::{
    broker::worker::{TEAM, Worker, headers},
    network::Corner,
    schema::Schema,
    support::eventually,
};

/// Good events between two poisons.
const GOOD: usize = 100;

/// Text that no database can make smaller.
fn noise(length: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + u8::try_from(state % 90).unwrap())
    };
    (0..length).map(next).collect()
}

/// A message: its properties and its body.
type Message = (BasicProperties, Vec<u8>);

fn with(header: &str, value: &str, body: &[u8]) -> Message {
    let mut all = vec![("X-GitHub-Event", "team")];
    all.retain(|(name, _)| *name != header);
    all.push((header, value));
    (headers(&all), body.to_vec())
}

/// Bytes as a header.
fn raw(header: &str, value: &[u8]) -> Message {
    let mut table = FieldTable::default();
    table.insert("X-GitHub-Event".into(), AMQPValue::LongString("team".into()));
    table.insert(header.into(), AMQPValue::LongString(LongString::from(value.to_vec())));
    (BasicProperties::default().with_headers(table).with_delivery_mode(2), TEAM.to_vec())
}

/// A team's event with this in place of a value.
fn body(what: &str, value: &str) -> Message {
    let (mut action, mut id, mut slug, mut org, mut login) = ("\"created\"", "12", "\"b\"", "1", "\"acme\"");
    match what {
        "action" => action = value,
        "id" => id = value,
        "slug" => slug = value,
        "org" => org = value,
        _ => login = value,
    }
    let text = format!(
        r#"{{"action":{action},"team":{{"id":{id},"slug":{slug},"name":"B"}},"organization":{{"id":{org},"login":{login}}}}}"#
    );
    with("X-Poison", what, text.as_bytes())
}

/// The kinds.
fn kinds() -> Vec<Message> {
    let mut kinds = Vec::new();
    let lengths = [256, 1_000, 2_700, 3_000, 8_191, 20_000];
    for header in ["X-GitHub-Delivery", "X-GitHub-Event", "X-GitHub-Enterprise-Host", "X-Hub-Signature-256"] {
        kinds.extend(lengths.map(|length| with(header, &noise(length), TEAM)));
        for odd in
            ["", " ", "\0", "a\0b", "\u{1b}[2J", "\u{202e}", "\u{fffd}", "é", "'; DROP TABLE marks; --"]
        {
            kinds.push(with(header, odd, TEAM));
        }
        kinds.push(raw(header, b"\xff\xfe"));
    }
    for what in ["action", "slug", "login"] {
        let long = format!("\"{}\"", "y".repeat(300_000));
        for value in [long.as_str(), "\"\\u0000\"", "\"\\ud800\"", "7", "null", "[]"] {
            kinds.push(body(what, value));
        }
    }
    for what in ["id", "org"] {
        for value in ["-1", "9223372036854775807", "9223372036854775808", "1e400", "0.5", "\"12\"", "null"] {
            kinds.push(body(what, value));
        }
    }
    for text in ["", "{", "null", "[]", "\u{feff}{}", "{\"team\":", "{}{}"] {
        kinds.push(with("X-Poison", "text", text.as_bytes()));
    }
    kinds.push(with("X-Poison", "deep", "[".repeat(100_000).as_bytes()));
    kinds.push(with("X-Poison", "zeros", &[0; 10_000]));
    kinds
}

async fn poisoned(url: Option<&str>) {
    let corner = Corner::new().await;
    let worker = Worker::start_on(url, corner.options.clone(), VerifyWhen::Never, &[]).await;
    worker.is_ready().await;
    let kinds = kinds();
    assert!(kinds.len() >= 100, "{}", kinds.len());
    let all: BTreeSet<String> = (0..kinds.len() * GOOD).map(|number| format!("good-{number}")).collect();
    let mut good = all.iter();
    let poisons = kinds.len();
    for (number, (properties, mut body)) in kinds.into_iter().enumerate() {
        // Without an id, a delivery is named by its body.
        body.resize(body.len() + number, b' ');
        corner.publish("github.team", properties, &body).await;
        for guid in good.by_ref().take(GOOD) {
            let named = headers(&[("X-GitHub-Event", "team"), ("X-GitHub-Delivery", guid)]);
            corner.send("github.team", named, TEAM).await;
        }
    }
    eventually("every good event is stored", 0, async || {
        let stored = worker.stored_guids().await;
        all.difference(&stored).count()
    })
    .await;
    eventually("nothing waits", (0, 0), async || (corner.queued().await, corner.dead().await)).await;
    assert_eq!(worker.consumer.ready(), Ok(()));
    let stored = worker.stored_guids().await;
    assert_eq!(stored.difference(&all).count(), poisons, "each is applied, ignored, parked or a stub");
    let parked = worker.parked().await;
    assert!(parked.len() >= 10, "what cannot be read is parked: {parked:?}");
    assert!(parked.iter().all(|(guid, _)| guid.len() <= 100), "{parked:?}");
    assert!(!parked.iter().any(|(guid, _)| all.contains(guid)), "a good one is parked: {parked:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kinds_of_poison_stop_nothing_on_sqlite() {
    poisoned(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kinds_of_poison_stop_nothing_on_postgres() {
    let schema = Schema::create().await;
    poisoned(Some(&schema.url)).await;
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_even_be_parked_becomes_a_stub_and_stops_nothing_beside_it() {
    let schema = Schema::create().await;
    let ledger = Ledger::open(&schema.url).await.unwrap();
    let pace = Pace { debounce: Duration::from_secs(1), max_wait: Duration::from_secs(5) };
    let intake = Intake::start(ledger.clone(), Watch::new(&[], []), pace, Arc::default(), Default::default());
    // Both doors bound a GUID. Were there a way past them, PostgreSQL could not index this one.
    let delivery = |guid: &str| Delivery {
        guid: guid.to_owned(),
        event: "team".into(),
        host: None,
        signature: None,
        received_at: ledger.clock().now(),
        body: TEAM.into(),
    };
    let poison = noise(3_000);
    intake.accept_all(["before", &poison, "behind"].map(delivery).into()).await.unwrap();
    let parked = ledger.parked().await.unwrap();
    assert_eq!(parked.iter().map(|it| it.place.as_str()).collect::<Vec<_>>(), ["stub"]);
    assert!(parked[0].subject.starts_with("sha256:"), "{:?}", parked[0]);
    assert!(parked[0].error.contains("failed to park it"), "{:?}", parked[0]);
    let due = ledger.due_strangers(ledger.clock().now()).await.unwrap();
    assert_eq!(due.len(), 1, "those beside it are stored");
    ledger.close().await;
    schema.remove().await;
}
