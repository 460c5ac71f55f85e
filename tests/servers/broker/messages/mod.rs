//! Messages of others: CloudEvents in each of their forms, signatures, and a topology that somebody else made; and what
//! may befall the consumer of them.

mod watchdog;

use std::collections::BTreeSet;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use lapin::{
    BasicProperties, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::FieldTable,
};
use teamlink::{
    intake::VerifyWhen,
    queue::{Options, Verdict, probe},
    signature,
};

use crate::{
    broker::worker::{TEAM, Worker, github, headers},
    network::Corner,
    support::eventually,
};

const SECRET: &str = "It's a Secret to Everybody";
const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";

fn stored(guids: &[&str]) -> BTreeSet<(String, String, String)> {
    let row = |guid: &&str| ((*guid).to_owned(), "team".to_owned(), "stored".to_owned());
    guids.iter().map(row).collect()
}

#[tokio::test]
async fn cloud_events_are_read_in_each_of_their_forms() {
    let corner = Corner::new().await;
    let worker = Worker::start(corner.options.clone()).await;
    // Binary: attributes as headers, by the AMQP binding's two prefixes.
    for (guid, prefix) in [("colon", "cloudEvents:"), ("underscore", "cloudEvents_")] {
        let name = |attribute: &str| format!("{prefix}{attribute}");
        let properties = headers(&[
            (&name("specversion"), "1.0"),
            (&name("type"), "com.github.team.created"),
            (&name("source"), "https://github.com/acme"),
            (&name("id"), guid),
        ]);
        corner
            .publish("github.anything", properties.with_content_type("application/json".into()), TEAM)
            .await;
    }
    // Structured: an envelope around the body, which is JSON, text or base64.
    let structured = || BasicProperties::default().with_content_type(STRUCTURED.into());
    let team = std::str::from_utf8(TEAM).unwrap();
    let text = serde_json::to_string(team).unwrap();
    let base64 = serde_json::to_string(&BASE64_STANDARD.encode(TEAM)).unwrap();
    for (guid, data) in [
        ("json", format!("\"data\":{team}")),
        ("text", format!("\"data\":{text}")),
        ("base64", format!("\"data_base64\":{base64}")),
    ] {
        let envelope = format!(
            r#"{{"specversion":"1.0","type":"dev.knative.source.github.team","source":"s","id":"{guid}",{data}}}"#
        );
        corner.publish("github.anything", structured(), envelope.as_bytes()).await;
    }
    // An envelope that is broken is parked whole, under the name that the routing key gives.
    corner.publish("github.team", structured().with_message_id("broken".into()), b"{\"data\":").await;
    let mut all = stored(&["colon", "underscore", "json", "text", "base64"]);
    all.insert(("broken".into(), "team".into(), "parked".into()));
    eventually("each is read", all, async || worker.deliveries().await).await;
    assert_eq!(worker.parked().await, [("broken".to_owned(), "decode".to_owned())].into());
    worker.stop().await;
    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
}

/// Publishes a message of each kind: `good`, `bad`, and `none` at all.
async fn publish_signed(corner: &Corner) {
    let good = signature::sign(TEAM, &[SECRET.into()]).unwrap();
    let bad = signature::sign(TEAM, &["a forger's".into()]).unwrap();
    for (guid, signature) in [("good", Some(good.as_str())), ("bad", Some(&bad)), ("none", None)] {
        let mut all = vec![("X-GitHub-Event", "team"), ("X-GitHub-Delivery", guid)];
        all.extend(signature.map(|signature| ("X-Hub-Signature-256", signature)));
        corner.publish("github.team", headers(&all), TEAM).await;
    }
}

#[tokio::test]
async fn what_a_forger_signed_is_parked_and_marks_nothing() {
    for (when, refused) in
        [(VerifyWhen::Signed, &["bad"][..]), (VerifyWhen::Always, &["bad", "none"]), (VerifyWhen::Never, &[])]
    {
        let corner = Corner::new().await;
        let worker = Worker::start_with(corner.options.clone(), when, &["an old one", SECRET]).await;
        worker.is_ready().await;
        publish_signed(&corner).await;
        eventually("all are in the ledger", 3, async || worker.stored().await).await;
        let expected = refused.iter().map(|guid| ((*guid).to_owned(), "signature".to_owned()));
        assert_eq!(worker.parked().await, expected.collect(), "{when:?}");
        worker.stop().await;
        assert_eq!(corner.queued().await, 0);
    }
    // All messages are forged: the worker marks nothing and asks GitHub about no organisation.
    let corner = Corner::new().await;
    let worker = Worker::start_with(corner.options.clone(), VerifyWhen::Always, &["another"]).await;
    worker.is_ready().await;
    publish_signed(&corner).await;
    eventually("all are in the ledger", 3, async || worker.parked().await.len()).await;
    assert_eq!(worker.marks().await, 0);
    assert_eq!(worker.ledger.due_strangers(worker.ledger.clock().now()).await.unwrap(), []);
    worker.stop().await;
}

#[tokio::test]
async fn a_topology_that_somebody_else_made_is_used_as_it_is() {
    let corner = Corner::new().await;
    let options = Options { declare: false, ..corner.options.clone() };
    let worker = Worker::start_unconnected(options.clone()).await;
    eventually("what is missing is said", true, async || {
        let reason = worker.consumer.ready().unwrap_err();
        reason.contains("NOT_FOUND") && reason.contains("create what is missing, or set queue.declare = true")
    })
    .await;
    // Not as we would have made it: a classic queue, a fanout exchange, and no dead queue.
    let (queue, exchange) = (options.queue.as_str(), options.exchange.as_str());
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    corner.channel.queue_declare(queue.into(), durable, FieldTable::default()).await.unwrap();
    let (kind, plain) = (ExchangeKind::Fanout, ExchangeDeclareOptions::default());
    corner.channel.exchange_declare(exchange.into(), kind, plain, FieldTable::default()).await.unwrap();
    let bind = Default::default();
    corner
        .channel
        .queue_bind(queue.into(), exchange.into(), "".into(), bind, FieldTable::default())
        .await
        .unwrap();
    worker.is_ready().await;
    corner.publish("whatever", github(1), TEAM).await;
    eventually("it is stored", 1, async || worker.stored().await).await;
    worker.stop().await;
    let verdicts: Vec<_> = probe(&options).await.into_iter().map(|finding| finding.verdict).collect();
    assert_eq!(verdicts, [Verdict::Good, Verdict::Good, Verdict::Good, Verdict::Bad]);
}
