//! The receiver over a real socket, where a sender that is answered early must still read the answer.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream};
use teamlink::{
    intake::{Inbox, Refused},
    model::Delivery,
    webhook,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

const MAX_BODY: usize = 25 * 1024 * 1024;

struct Nowhere;

impl Inbox for Nowhere {
    fn accept(&self, _: Delivery) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async { Ok(()) })
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

async fn serve() -> std::net::SocketAddr {
    let (_, secrets) = tokio::sync::watch::channel(vec!["a secret".into()]);
    let options = webhook::Options { secrets, max_body: MAX_BODY, github_host: None, counts_stored: true };
    let router = webhook::router(options, Arc::new(Nowhere));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn a_body_of_26_mb_is_answered_413_whether_announced_or_not() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let (client, address) = (reqwest::Client::new(), serve().await);
    let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
    let big = Bytes::from(piece.repeat(26));
    let streamed = stream::iter(vec![Ok::<_, std::io::Error>(piece); 26]);
    for body in [reqwest::Body::from(big), reqwest::Body::from(http_body(streamed))] {
        let response = client
            .post(format!("http://{address}/webhooks/github"))
            .header("content-type", "application/json")
            .header("x-github-event", "team")
            .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
            .header("x-hub-signature-256", "sha256=00")
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 413);
        let error = response.text().await.unwrap();
        assert!(error.contains("larger than 26214400 bytes"), "{error}");
    }
}

#[tokio::test]
async fn a_sender_that_stops_sending_is_let_go_in_time() {
    let mut sender = TcpStream::connect(serve().await).await.unwrap();
    let started = Instant::now();
    let head = "POST /webhooks/github HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\
                x-github-event: team\r\nx-github-delivery: g\r\nx-hub-signature-256: sha256=00\r\n\r\n{";
    sender.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    sender.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
}

fn http_body(
    pieces: impl stream::Stream<Item = Result<Bytes, std::io::Error>> + Send + Sync + 'static,
) -> reqwest::Body {
    use futures_util::StreamExt;
    let frames = pieces.map(|piece| piece.map(http_body::Frame::data));
    reqwest::Body::wrap(http_body_util::StreamBody::new(frames))
}
