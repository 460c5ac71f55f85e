//! The consumer against a real RabbitMQ and a real ledger: what is acknowledged is committed, and whatever is
//! not acknowledged comes again.

use lapin::{
    BasicProperties,
    options::{BasicConsumeOptions, QueueDeleteOptions},
    types::FieldTable,
};
use sqlx::Connection;
use teamlink::queue::Options;

use crate::{
    broker::worker::{TEAM, Worker, github},
    network::Corner,
    network::Proxy,
    support::eventually,
};

/// Everything that was sent is committed and acknowledged: nothing is left in the queue, nor held by anybody.
async fn drained(corner: &Corner, worker: Worker, sent: i64) {
    eventually("every delivery is stored", sent, async || worker.stored().await).await;
    // What a consumer holds without having acknowledged it comes back when it leaves.
    worker.stop().await;
    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
}

#[tokio::test]
async fn what_is_published_is_committed_then_acknowledged() {
    let corner = Corner::new().await;
    let worker = Worker::start(corner.options.clone()).await;
    for guid in 0..3000 {
        corner.publish("github.team", github(guid), TEAM).await;
    }
    drained(&corner, worker, 3000).await;
}

#[tokio::test]
async fn a_message_that_cannot_be_decoded_is_parked_and_the_next_is_handled() {
    let corner = Corner::new().await;
    let worker = Worker::start(corner.options.clone()).await;
    corner.publish("github.team", github(1), &TEAM[..40]).await;
    corner.publish("github.team", github(2), TEAM).await;
    eventually("the broken one is parked", 1, async || worker.parked().await.len()).await;
    drained(&corner, worker, 2).await;
}

#[tokio::test]
async fn messages_of_a_gateway_without_our_headers_are_stored_too() {
    let corner = Corner::new().await;
    let worker = Worker::start(corner.options.clone()).await;
    corner.publish("github.team", BasicProperties::default(), TEAM).await;
    corner.publish("github.team", BasicProperties::default().with_message_id("theirs".into()), TEAM).await;
    // The same body without an id is the same delivery.
    corner.publish("github.team", BasicProperties::default(), TEAM).await;
    drained(&corner, worker, 2).await;
}

#[tokio::test]
async fn after_a_lost_connection_it_resumes_and_nothing_is_lost() {
    let corner = Corner::new().await;
    let proxy = Proxy::to_broker().await;
    let worker = Worker::start(corner.through(&proxy)).await;
    for guid in 0..2000 {
        corner.publish("github.team", github(guid), TEAM).await;
        if guid % 500 == 250 {
            proxy.cut();
            eventually("the loss is noticed", true, async || worker.consumer.ready().is_err()).await;
            proxy.restore();
        }
    }
    drained(&corner, worker, 2000).await;
}

#[tokio::test]
async fn a_queue_that_somebody_deletes_is_declared_again() {
    let corner = Corner::new().await;
    let worker = Worker::start(corner.options.clone()).await;
    let queue = corner.options.queue.as_str();
    corner.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    eventually("the loss is noticed", true, async || worker.consumer.ready().is_err()).await;
    worker.is_ready().await;
    corner.publish("github.team", github(1), TEAM).await;
    drained(&corner, worker, 1).await;
}

#[tokio::test]
async fn while_the_ledger_refuses_messages_stay_unacknowledged_and_none_is_dead() {
    let corner = Corner::new().await;
    let worker = Worker::start(Options { prefetch: 10, ..corner.options.clone() }).await;
    let mut lock = worker.sqlite().await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut lock).await.unwrap();
    for guid in 0..50 {
        corner.publish("github.team", github(guid), TEAM).await;
    }
    eventually("the consumer says that it waits", true, async || {
        worker.consumer.ready().is_err_and(|reason| reason.starts_with("the ledger refuses"))
    })
    .await;
    // It holds what it had received, and takes no more.
    assert_eq!((corner.queued().await, corner.dead().await), (40, 0));
    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
    lock.close().await.unwrap();
    drained(&corner, worker, 50).await;
}

#[tokio::test]
async fn a_flood_of_large_bodies_is_taken_in_portions_that_fit_in_memory() {
    let corner = Corner::new().await;
    Worker::start(corner.options.clone()).await.stop().await;
    let body = format!("{{\"filler\":\"{}\"}}", "x".repeat(5 * 1024 * 1024));
    // Four times the budget waits, and the prefetch would let it come all at once; then small ones again.
    for guid in 0..50 {
        corner.publish("github.team", github(guid), body.as_bytes()).await;
    }
    for guid in 50..500 {
        corner.publish("github.team", github(guid), TEAM).await;
    }
    eventually("all are in the queue", 500, async || corner.queued().await).await;
    let before = peak_memory_kib();
    let worker = Worker::start_unconnected(corner.options.clone()).await;
    // The ledger is stuck, so that all that is sent has to be held.
    let mut lock = worker.sqlite().await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut lock).await.unwrap();
    let fits = async || (480..500).contains(&corner.queued().await);
    eventually("no more is held than fits", true, fits).await;
    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
    lock.close().await.unwrap();
    eventually("every delivery is stored", 500, async || worker.stored().await).await;
    let grown = (peak_memory_kib() - before) / 1024;
    worker.stop().await;
    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
    assert!(grown < 200, "peak memory grew by {grown} MiB");
    println!("peak memory grew by {grown} MiB");
}

fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn at_shutdown_what_is_not_committed_goes_back_to_the_queue() {
    let corner = Corner::new().await;
    let worker = Worker::start(Options { prefetch: 10, ..corner.options.clone() }).await;
    let mut lock = worker.sqlite().await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut lock).await.unwrap();
    for guid in 0..30 {
        corner.publish("github.team", github(guid), TEAM).await;
    }
    eventually("some are held", 20, async || corner.queued().await).await;
    worker.shutdown.cancel();
    // Another worker takes them all.
    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
    lock.close().await.unwrap();
    let left = {
        for task in worker.tasks {
            task.await.unwrap();
        }
        corner.queued().await
    };
    assert!(left >= 20, "{left} messages");
    let consume = BasicConsumeOptions::default();
    let queue = corner.options.queue.as_str();
    let mut others =
        corner.channel.basic_consume(queue.into(), "".into(), consume, FieldTable::default()).await.unwrap();
    for _ in 0..left {
        futures_util::StreamExt::next(&mut others).await.unwrap().unwrap();
    }
}
