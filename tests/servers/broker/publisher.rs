//! The publisher against a real RabbitMQ: `Ok` means that the broker has it, and whatever goes wrong is refused
//! in time and healed without help.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lapin::{
    ExchangeKind,
    options::{BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions},
    types::FieldTable,
};
use teamlink::{
    intake::Inbox,
    model::{Delivery, Time},
    queue::{Options, Publisher, Verdict, probe},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    network::Corner,
    network::Proxy,
    support::{self, eventually},
};

fn delivery(guid: usize, event: &str) -> Delivery {
    Delivery {
        guid: format!("guid-{guid}"),
        event: event.into(),
        host: None,
        signature: None,
        received_at: Time(1_700_000_000_000_000),
        body: Bytes::from(format!("{{\"number\":{guid}}}")),
    }
}

struct Running {
    publisher: Publisher,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(options: Options) -> Self {
        let running = Self::start_unconnected(options);
        eventually("the publisher is ready", Ok(()), async || running.publisher.ready()).await;
        running
    }

    fn start_unconnected(options: Options) -> Self {
        let publisher = Publisher::new(options);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn({
            let (publisher, shutdown) = (publisher.clone(), shutdown.clone());
            async move { publisher.run(shutdown).await }
        });
        Self { publisher, shutdown, task }
    }

    async fn accept(&self, delivery: Delivery) -> Result<(), String> {
        self.publisher.accept(delivery).await.map_err(|refused| refused.reason)
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_confirmed_delivery_is_in_the_queue_with_its_headers_and_body() {
    let corner = Corner::new().await;
    let running = Running::start(corner.options.clone()).await;
    running.accept(delivery(1, "team")).await.unwrap();

    let queue = corner.options.queue.as_str();
    let message =
        corner.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
    assert_eq!(message.routing_key.as_str(), "github.team");
    assert_eq!(message.data, b"{\"number\":1}");
    assert_eq!(message.properties.message_id().as_ref().unwrap().as_str(), "guid-1");
    assert_eq!(message.properties.delivery_mode(), &Some(2), "persistent");
    let headers = message.properties.headers().as_ref().unwrap();
    let names = headers.into_iter().map(|(name, _)| name.as_str());
    // The broker may add its own, in lower case.
    let names: Vec<_> = names.filter(|name| name.starts_with("X-")).collect();
    assert_eq!(names, ["X-GitHub-Delivery", "X-GitHub-Event", "X-Teamlink-Received-At"]);
    running.stop().await;
}

#[tokio::test]
async fn among_many_in_flight_exactly_the_unroutable_ones_are_refused() {
    let corner = Corner::new().await;
    let options = Options { bindings: vec!["github.team".into()], ..corner.options.clone() };
    let running = Running::start(options).await;
    let all = (0..400).map(|number| {
        let routable = number % 3 > 0;
        let delivery = delivery(number, if routable { "team" } else { "push" });
        let running = &running;
        async move {
            let result = running.accept(delivery).await;
            assert_eq!(result.is_ok(), routable, "{number}: {result:?}");
            if let Err(reason) = result {
                assert!(reason.contains("github.push") && reason.contains("queue.bindings"), "{reason}");
            }
        }
    });
    futures_util::future::join_all(all).await;
    assert_eq!(corner.queued().await, 266);
    running.stop().await;
}

#[tokio::test]
async fn a_queue_or_a_binding_that_is_removed_is_declared_again_before_the_next_publish() {
    let corner = Corner::new().await;
    let running = Running::start(corner.options.clone()).await;
    running.accept(delivery(1, "team")).await.unwrap();
    corner.unbind().await;
    for number in 2..=20 {
        running.accept(delivery(number, "team")).await.unwrap();
    }
    assert_eq!(corner.queued().await, 20);
    running.stop().await;

    let running = Running::start(corner.options.clone()).await;
    corner.delete_queue().await;
    for number in 21..=40 {
        running.accept(delivery(number, "team")).await.unwrap();
    }
    assert_eq!(corner.queued().await, 20);
    running.stop().await;

    // Where the topology is somebody else's, nothing is declared.
    let options = Options { declare: false, ..corner.options.clone() };
    let running = Running::start(options).await;
    corner.unbind().await;
    let refused = running.accept(delivery(41, "team")).await.unwrap_err();
    assert!(refused.contains("queue.bindings"), "{refused}");
    running.stop().await;
}

#[tokio::test]
async fn a_lost_connection_refuses_at_once_and_is_made_again() {
    let corner = Corner::new().await;
    let proxy = Proxy::to_broker().await;
    let running = Running::start(corner.through(&proxy)).await;
    running.accept(delivery(1, "team")).await.unwrap();

    proxy.cut();
    eventually("the loss is noticed", true, async || running.publisher.ready().is_err()).await;
    let started = Instant::now();
    running.accept(delivery(2, "team")).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());

    proxy.restore();
    eventually("the publisher is ready", Ok(()), async || running.publisher.ready()).await;
    running.accept(delivery(3, "team")).await.unwrap();
    assert_eq!(corner.queued().await, 2);
    running.stop().await;
}

#[tokio::test]
async fn a_frozen_broker_refuses_in_time_then_at_once_and_works_again_when_thawed() {
    let corner = Corner::new().await;
    let proxy = Proxy::to_broker().await;
    let running = Running::start(corner.through(&proxy)).await;
    proxy.freeze();
    let started = Instant::now();
    // More than there are channels, so that some wait for one in vain.
    let refused =
        futures_util::future::join_all((0..100).map(|number| running.accept(delivery(number, "team"))));
    for result in refused.await {
        result.unwrap_err();
    }
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    let started = Instant::now();
    running.accept(delivery(1, "team")).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());

    proxy.restore();
    eventually("the publisher is ready", Ok(()), async || running.publisher.ready()).await;
    running.accept(delivery(2, "team")).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn an_exchange_that_somebody_deletes_is_declared_again() {
    let corner = Corner::new().await;
    let running = Running::start(corner.options.clone()).await;
    let exchange = corner.options.exchange.as_str();
    corner.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
    running.accept(delivery(1, "team")).await.unwrap_err();
    eventually("it is accepted", Ok(()), async || running.accept(delivery(2, "team")).await).await;
    running.stop().await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_left_alone_and_named_with_a_remedy() {
    let corner = Corner::new().await;
    let queue = corner.options.queue.as_str();
    corner
        .channel
        .queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await
        .unwrap();
    let running = Running::start_unconnected(corner.options.clone());
    eventually("it says so", true, async || {
        let reason = running.publisher.ready().unwrap_err();
        reason.contains("PRECONDITION_FAILED")
            && reason.contains(queue)
            && reason.contains("queue.declare = false")
    })
    .await;
    running.accept(delivery(1, "team")).await.unwrap_err();
    running.stop().await;

    let findings = probe(&corner.options).await;
    let bad: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).collect();
    let [finding] = &bad[..] else { panic!("{findings:#?}") };
    assert!(finding.what.contains(queue) && finding.remedy.is_some(), "{finding:?}");

    // With `declare = false` it is used as it is, once it is bound.
    let exchange = corner.options.exchange.as_str();
    let key = "github.#".into();
    corner
        .channel
        .queue_bind(queue.into(), exchange.into(), key, Default::default(), FieldTable::default())
        .await
        .unwrap();
    let as_it_is = Running::start(Options { declare: false, ..corner.options.clone() }).await;
    as_it_is.accept(delivery(2, "team")).await.unwrap();
    as_it_is.stop().await;
}

#[tokio::test]
async fn what_is_missing_is_said_when_it_may_not_be_declared() {
    let corner = Corner::new().await;
    let options = Options { declare: false, ..corner.options.clone() };
    let running = Running::start_unconnected(options.clone());
    eventually("it says so", true, async || {
        let reason = running.publisher.ready().unwrap_err();
        reason.contains("NOT_FOUND") && reason.contains("queue.declare = true")
    })
    .await;
    running.stop().await;
    let verdicts: Vec<_> = probe(&options).await.into_iter().map(|finding| finding.verdict).collect();
    assert_eq!(verdicts, [Verdict::Good, Verdict::Bad, Verdict::Bad, Verdict::Bad]);
    let verdicts: Vec<_> = probe(&corner.options).await.into_iter().map(|finding| finding.verdict).collect();
    assert_eq!(verdicts, [Verdict::Good, Verdict::Notice, Verdict::Notice, Verdict::Notice]);
    // An exchange for the clean-up to delete.
    let exchange = corner.options.exchange.as_str();
    let durable = ExchangeDeclareOptions::default();
    corner
        .channel
        .exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn refused_credentials_an_unknown_vhost_and_no_broker_are_each_said_plainly() {
    let corner = Corner::new().await;
    let broker = url::Url::parse(&support::amqp_url()).unwrap();
    let mut stranger = broker.clone();
    stranger.set_password(Some("not-the-password")).unwrap();
    let mut elsewhere = broker.clone();
    elsewhere.set_path("/no-such-vhost");
    let cases = [
        (stranger.as_str(), "user and password"),
        (elsewhere.as_str(), "virtual host"),
        ("amqp://guest:guest@127.0.0.1:1/%2f", "start RabbitMQ"),
        ("amqp//guest", "write it as amqp://"),
    ];
    for (url, remedy) in cases {
        let findings = probe(&Options { url: url.into(), ..corner.options.clone() }).await;
        let [finding] = &findings[..] else { panic!("{findings:#?}") };
        assert_eq!(finding.verdict, Verdict::Bad);
        let told = finding.remedy.as_deref().unwrap_or_default();
        assert!(told.contains(remedy), "{finding:?}");
        assert!(!format!("{finding:?}").contains("not-the-password"));
    }
}
