//! What RabbitMQ gives up delivering ends in the ledger: parked, then accepted again once.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use lapin::{
    options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions},
    types::FieldTable,
};
use sqlx::Connection;

use crate::{
    broker::worker::{TEAM, Worker, github},
    network::Corner,
    support::eventually,
};

/// Has the broker deliver each message in vain until it gives it up.
async fn kill(corner: &Corner, messages: u32) {
    let (queue, consume) = (corner.options.queue.as_str(), BasicConsumeOptions::default());
    let tag = "in-vain";
    let mut consumer =
        corner.channel.basic_consume(queue.into(), tag.into(), consume, FieldTable::default()).await.unwrap();
    let requeue = BasicNackOptions { requeue: true, multiple: false };
    let mut taken = 0;
    // Twenty returns are allowed.
    while taken < messages * 21 {
        let message = consumer.next().await.unwrap().unwrap();
        corner.channel.basic_nack(message.delivery_tag, requeue).await.unwrap();
        taken += 1;
    }
    corner.channel.basic_cancel(tag.into(), BasicCancelOptions::default()).await.unwrap();
    eventually("they are dead", messages, async || corner.dead().await).await;
}

/// A corner with its topology, where these messages are dead: a good one, one that says nothing, and another good one.
async fn with_dead() -> Corner {
    let corner = Corner::new().await;
    Worker::start(corner.options.clone()).await.stop().await;
    for (guid, body) in [(1, TEAM), (2, &TEAM[..40]), (3, TEAM)] {
        corner.publish("github.team", github(guid), body).await;
    }
    kill(&corner, 3).await;
    corner
}

fn at(place: &str, guids: &[&str]) -> BTreeSet<(String, String)> {
    guids.iter().map(|guid| ((*guid).to_owned(), place.to_owned())).collect()
}

#[tokio::test]
async fn the_dead_are_parked_and_accepted_again_once() {
    let corner = with_dead().await;
    let worker = Worker::start(corner.options.clone()).await;
    eventually("all are fetched", 0, async || corner.dead().await).await;
    // What can be read is accepted after all; what cannot stays, and says both of its errors.
    eventually("one stays", at("decode", &["guid-2"]), async || worker.parked().await).await;
    let stays = worker.ledger.parked().await.unwrap().remove(0);
    assert!(stays.first_error.contains("gave up delivering"), "{stays:?}");
    assert!(stays.first_error.contains("delivery_limit"), "{stays:?}");
    assert!(stays.error.contains("not JSON"), "{stays:?}");
    assert_eq!(stays.attempts, 2);
    assert_eq!((worker.stored().await, worker.marks().await), (3, 1), "a team");

    worker.stop().await;
    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
}

/// Puts a message where the broker puts the dead.
async fn bury(corner: &Corner, guid: usize, body: &[u8]) {
    let (dead, options) = (corner.options.dead_queue.as_str(), BasicPublishOptions::default());
    let sent = corner.channel.basic_publish("".into(), dead.into(), options, body, github(guid)).await;
    sent.unwrap().await.unwrap();
}

#[tokio::test]
async fn what_was_tried_again_once_is_not_tried_a_second_time() {
    let corner = Corner::new().await;
    let worker = Worker::start(corner.options.clone()).await;
    bury(&corner, 1, &TEAM[..40]).await;
    eventually("it is tried", at("decode", &["guid-1"]), async || worker.parked().await).await;
    // Readable this time, but it had its chance: a person decides.
    bury(&corner, 1, TEAM).await;
    eventually("it is parked as it came", at("dead_queue", &["guid-1"]), async || worker.parked().await)
        .await;
    // The next one is tried after it.
    bury(&corner, 2, TEAM).await;
    eventually("another is stored", 2, async || worker.stored().await).await;
    eventually("and taken away", at("dead_queue", &["guid-1"]), async || worker.parked().await).await;
    worker.stop().await;
    assert_eq!(corner.dead().await, 0);
}

#[tokio::test]
async fn while_the_ledger_refuses_the_dead_stay_with_the_broker() {
    let corner = Corner::new().await;
    let worker = Worker::start(corner.options.clone()).await;
    let mut lock = worker.sqlite().await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut lock).await.unwrap();
    for guid in 0..3 {
        bury(&corner, guid, TEAM).await;
    }
    // One is in hand, and not acknowledged.
    eventually("one is fetched", 2, async || corner.dead().await).await;
    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
    lock.close().await.unwrap();
    eventually("all are stored", 3, async || worker.stored().await).await;
    eventually("and taken away", at("", &[]), async || worker.parked().await).await;
    worker.stop().await;
    assert_eq!(corner.dead().await, 0);
}
