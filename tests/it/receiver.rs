//! The receiver over a real socket, where a sender that is answered early must still read the answer.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use teamlink::{
    intake::{Inbox, Refused},
    model::Delivery,
    server, webhook,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

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
    tokio::spawn(server::serve(listener, router, server::Limits::of_process(), CancellationToken::new()));
    address
}

/// Everything but the length and the body.
const HEAD: &str = "POST /webhooks/github HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                    content-type: application/json\r\nx-github-event: team\r\nx-github-delivery: g\r\n\
                    x-hub-signature-256: \
                    sha256=0000000000000000000000000000000000000000000000000000000000000000\r\n";

#[tokio::test]
async fn a_body_of_26_mb_is_answered_413_whether_announced_or_not() {
    let address = serve().await;
    let mebibyte = vec![b'x'; 1024 * 1024];
    let announced = (format!("{HEAD}content-length: {}\r\n\r\n", 26 * 1024 * 1024), mebibyte.clone(), "");
    let chunk = [b"100000\r\n", &mebibyte[..], b"\r\n"].concat();
    let streamed = (format!("{HEAD}transfer-encoding: chunked\r\n\r\n"), chunk, "0\r\n\r\n");
    for (head, piece, end) in [announced, streamed] {
        let mut sender = TcpStream::connect(address).await.unwrap();
        // Like many clients, it sends all it has before it looks at the answer.
        sender.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..26 {
            sender.write_all(&piece).await.unwrap();
        }
        sender.write_all(end.as_bytes()).await.unwrap();
        let mut answer = String::new();
        sender.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("larger than 26214400 bytes"), "{answer}");
    }
}

#[tokio::test]
async fn a_sender_that_stops_sending_is_let_go_in_time() {
    let mut sender = TcpStream::connect(serve().await).await.unwrap();
    let started = Instant::now();
    let head = format!("{HEAD}content-length: 1000\r\n\r\n{{");
    sender.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    sender.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
}
