//! Messages whose headers are larger than a frame, or of odd types, among good ones.

use std::collections::BTreeSet;

use lapin::{
    BasicProperties,
    types::{AMQPValue, DecimalValue, FieldArray, FieldTable, LongString},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    broker::worker::{TEAM, Worker, headers},
    network::{Corner, rabbitmqctl},
    support::eventually,
};

/// Sets the largest frame that the broker agrees to from the next connection on.
async fn frame_max(bytes: u32) {
    rabbitmqctl(&["eval", &format!("application:set_env(rabbit, frame_max, {bytes}).")], "").await;
}

/// A message with a header of so many bytes.
fn with_header(bytes: usize) -> BasicProperties {
    let mut table = FieldTable::default();
    table.insert("X-GitHub-Event".into(), AMQPValue::LongString("team".into()));
    table.insert("X-Padding".into(), AMQPValue::LongString(LongString::from(vec![b'x'; bytes])));
    BasicProperties::default().with_headers(table).with_delivery_mode(2)
}

/// A value of any type that RabbitMQ passes on.
fn value(dice: &mut StdRng, depth: u32) -> AMQPValue {
    let bytes = |dice: &mut StdRng| -> Vec<u8> {
        (0..dice.random_range(0..40)).map(|_| dice.random::<u8>()).collect()
    };
    match dice.random_range(0..if depth == 0 { 10 } else { 12 }) {
        0 => AMQPValue::Boolean(dice.random()),
        1 => AMQPValue::ShortShortInt(dice.random()),
        2 => AMQPValue::ShortInt(dice.random()),
        3 => AMQPValue::LongInt(dice.random()),
        4 => AMQPValue::LongLongInt(dice.random()),
        5 => AMQPValue::Double(dice.random()),
        6 => AMQPValue::Timestamp(dice.random()),
        7 => AMQPValue::DecimalValue(DecimalValue { scale: dice.random(), value: dice.random() }),
        8 => AMQPValue::Void,
        9 => AMQPValue::LongString(LongString::from(bytes(dice))),
        10 => {
            let values: Vec<_> = (0..dice.random_range(0..4)).map(|_| value(dice, depth - 1)).collect();
            AMQPValue::FieldArray(FieldArray::from(values))
        }
        _ => AMQPValue::FieldTable(table(dice, depth - 1)),
    }
}

/// A table in which the headers that teamlink reads may have any type.
fn table(dice: &mut StdRng, depth: u32) -> FieldTable {
    const NAMES: [&str; 9] = [
        "X-GitHub-Event",
        "X-GitHub-Delivery",
        "X-GitHub-Enterprise-Host",
        "X-Hub-Signature-256",
        "X-Teamlink-Received-At",
        "ce-type",
        "cloudEvents:id",
        "x-first-death-queue",
        "other",
    ];
    let mut table = FieldTable::default();
    for _ in 0..dice.random_range(0..8) {
        table.insert(NAMES[dice.random_range(0..NAMES.len())].into(), value(dice, depth));
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_any_size_and_type_stop_nothing_among_good_events() {
    let corner = Corner::new().await;
    let worker = Worker::start(corner.options.clone()).await;
    let good: BTreeSet<String> = (0..1000).map(|number| format!("good-{number}")).collect();
    // Whoever publishes it agreed to larger frames with the broker than the consumer did.
    frame_max(4 << 20).await;
    let publisher = corner.publisher().await;
    let dice = &mut StdRng::seed_from_u64(0x4ead);
    for (number, guid) in good.iter().enumerate() {
        let named = headers(&[("X-GitHub-Event", "team"), ("X-GitHub-Delivery", guid)]);
        publisher.send("github.team", named, TEAM).await;
        let odd = match number {
            300 => with_header(40 << 10),
            600 => with_header(1 << 20),
            _ => BasicProperties::default().with_headers(table(dice, 2)).with_delivery_mode(2),
        };
        publisher.send("github.team", odd, format!("{{\"number\":{number}}}").as_bytes()).await;
    }
    eventually("every good event is stored", 0, async || {
        let stored = worker.stored_guids().await;
        good.difference(&stored).count()
    })
    .await;
    eventually("nothing waits", (0, 0), async || (corner.queued().await, corner.dead().await)).await;
    frame_max(128 << 10).await;
    assert_eq!(worker.consumer.ready(), Ok(()));
    worker.stop().await;
}
