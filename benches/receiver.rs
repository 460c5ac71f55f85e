//! What a signed delivery of 8 KiB costs the webhook receiver.
//!
//! `signed 8 KiB, stored in memory` is the receiver alone: limits, signature, hand-over. The figure printed
//! first is the whole way, over a real socket to a real RabbitMQ with the confirm awaited, in CPU time of this
//! process; the sender's share, measured with the same requests against a route that only reads the body, is
//! taken off.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub, reason = "a benchmark")]

#[path = "../tests/servers/network.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod network;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request, routing::post};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{StreamExt, future::BoxFuture, stream};
use hmac::{Hmac, KeyInit, Mac};
use network::Corner;
use sha2::Sha256;
use support::eventually;
use teamlink::{
    intake::{Inbox, Refused},
    model::Delivery,
    queue::Publisher,
    webhook,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const SECRET: &str = "a secret";
const REQUESTS: usize = 20_000;
const AT_A_TIME: usize = 64;

struct Nowhere;

impl Inbox for Nowhere {
    fn accept(&self, _: Delivery) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async { Ok(()) })
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

fn body() -> Bytes {
    Bytes::from(format!(r#"{{"action":"created","filler":"{}"}}"#, "x".repeat(8 * 1024 - 35)))
}

fn signature(body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(body).finalize();
    format!("sha256={}", hex::encode(mac.into_bytes()))
}

fn router(inbox: Arc<dyn Inbox>) -> Router {
    let (_, secrets) = tokio::sync::watch::channel(vec![SECRET.into()]);
    let options = webhook::Options { secrets, max_body: 25 << 20, github_host: None, counts_stored: true };
    webhook::router(options, inbox)
}

fn receiver(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(whole_way());

    let (body, router) = (body(), router(Arc::new(Nowhere)));
    let signature = signature(&body);
    let mut group = criterion.benchmark_group("receiver");
    group.throughput(Throughput::Elements(1));
    group.bench_function("signed 8 KiB, stored in memory", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let request = Request::post("/webhooks/github")
                .header("content-type", "application/json")
                .header("content-length", body.len())
                .header("x-github-event", "team")
                .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
                .header("x-hub-signature-256", &signature)
                .body(Body::from(body.clone()))
                .unwrap();
            let router = router.clone();
            async move { assert_eq!(router.oneshot(request).await.unwrap().status(), 202) }
        });
    });
}

async fn whole_way() {
    let corner = Corner::new().await;
    let publisher = Publisher::new(corner.options.clone());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (publisher, shutdown) = (publisher.clone(), shutdown.clone());
        async move { publisher.run(shutdown).await }
    });
    eventually("the publisher is ready", Ok(()), async || publisher.ready()).await;
    let router =
        router(Arc::new(publisher)).route("/read", post(async |_: Bytes| http::StatusCode::ACCEPTED));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });

    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let client = reqwest::Client::new();
    let (body, started) = (body(), std::time::Instant::now());
    send(&client, &format!("{place}/read"), &body, 2_000).await;
    let plain = cpu(send(&client, &format!("{place}/read"), &body, REQUESTS)).await;
    send(&client, &format!("{place}/webhooks/github"), &body, 2_000).await;
    let begun = started.elapsed();
    let whole = cpu(send(&client, &format!("{place}/webhooks/github"), &body, REQUESTS)).await;
    let per_second = REQUESTS as f64 / (started.elapsed() - begun).as_secs_f64();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / REQUESTS as f64;
    println!(
        "signed 8 KiB over HTTP, confirmed by RabbitMQ: {:.1} µs of CPU each with the sender, {:.1} µs of them for \
         sending and reading alone, so {:.1} µs for receiving beyond that; {per_second:.0} requests/s",
        each(whole),
        each(plain),
        each(whole.saturating_sub(plain)),
    );
    serving.abort();
    shutdown.cancel();
    running.await.unwrap();
}

async fn send(client: &reqwest::Client, url: &str, body: &Bytes, requests: usize) {
    let signature = signature(body);
    stream::iter(0..requests)
        .for_each_concurrent(AT_A_TIME, |number| {
            let request = client
                .post(url)
                .header("content-type", "application/json")
                .header("x-github-event", "team")
                .header("x-github-delivery", format!("guid-{number}"))
                .header("x-hub-signature-256", &signature)
                .body(body.clone());
            async move { assert_eq!(request.send().await.unwrap().status(), 202) }
        })
        .await;
}

/// CPU time of this process, all threads, that something takes.
async fn cpu(work: impl Future<Output = ()>) -> Duration {
    let before = cpu_so_far();
    work.await;
    cpu_so_far() - before
}

fn cpu_so_far() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // After the command's name: utime and stime are fields 14 and 15, in hundredths of a second.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

criterion_group!(benches, receiver);
criterion_main!(benches);
