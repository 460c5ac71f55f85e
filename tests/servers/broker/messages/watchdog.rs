//! A broker that goes wrong: it closes, cancels, blocks, or forgets a consumer and says nothing. A proxy between us and
//! the real one plays each of these in AMQP's own frames.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use teamlink::{
    intake::Inbox,
    model::{Delivery, Time},
    queue::{Options, Publisher},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{broadcast, mpsc},
};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::worker::{TEAM, Worker, github},
    network::Corner,
    support::{amqp_url, eventually},
};

/// AMQP's frame of a method: https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 4.2.3
const METHOD: u8 = 1;
const FRAME_END: u8 = 0xce;
/// `basic.consume` and its answer.
const CONSUME: [u8; 4] = [0, 60, 0, 20];
const CONSUME_OK: [u8; 4] = [0, 60, 0, 21];

/// A frame that carries a method.
fn frame(channel: u16, method: [u8; 4], arguments: &[u8]) -> Vec<u8> {
    let size = u32::try_from(4 + arguments.len()).unwrap();
    let head = [&[METHOD][..], &channel.to_be_bytes(), &size.to_be_bytes()].concat();
    [&head, &method[..], arguments, &[FRAME_END]].concat()
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// `connection.close` or `channel.close`, as a broker sends it.
fn close(channel: u16, method: [u8; 4], code: u16) -> Vec<u8> {
    frame(channel, method, &[&code.to_be_bytes()[..], &short("as the test wishes"), &[0, 0, 0, 0]].concat())
}

/// Stands between us and the broker.
struct Liar {
    address: SocketAddr,
    /// The next `basic.consume` is answered, and never passed on.
    forget: Arc<AtomicBool>,
    /// What all clients are told beside what the broker says.
    say: broadcast::Sender<Vec<u8>>,
}

impl Liar {
    async fn start() -> Self {
        let url = url::Url::parse(&amqp_url()).unwrap();
        let broker = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5672));
        let broker = broker.to_socket_addrs().unwrap().next().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let forget = Arc::new(AtomicBool::new(false));
        let say = broadcast::Sender::new(8);
        let (forgets, says) = (forget.clone(), say.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(broker).await.unwrap();
                tokio::spawn(carry(client, server, forgets.clone(), says.subscribe()));
            }
        });
        Self { address, forget, say }
    }

    fn before(&self, corner: &Corner) -> Options {
        let mut url = url::Url::parse(&amqp_url()).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        Options { url: url.to_string().into(), ..corner.options.clone() }
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    forget: Arc<AtomicBool>,
    mut say: broadcast::Receiver<Vec<u8>>,
) {
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (tell, told) = mpsc::unbounded_channel();
    let (lies, honest) = (tell.clone(), tell);
    // Each ends when either side goes away; with it, all do.
    tokio::select! {
        _ = write_all(to_client, told) => {}
        _ = async {
            while let Ok(lie) = say.recv().await {
                honest.send(lie).ok()?;
            }
            Some(())
        } => {}
        _ = async {
            while let Some(frame) = read_frame(&mut from_server).await {
                honest.send(frame).ok()?;
            }
            Some(())
        } => {}
        _ = async {
            let mut hello = [0; 8];
            from_client.read_exact(&mut hello).await.ok()?;
            to_server.write_all(&hello).await.ok()?;
            while let Some(sent) = read_frame(&mut from_client).await {
                if sent[0] == METHOD && sent[7..11] == CONSUME && forget.swap(false, Ordering::SeqCst) {
                    let channel = u16::from_be_bytes([sent[1], sent[2]]);
                    lies.send(frame(channel, CONSUME_OK, &short("forgotten"))).ok()?;
                    continue;
                }
                to_server.write_all(&sent).await.ok()?;
            }
            Some(())
        } => {}
    }
}

async fn write_all(mut to: OwnedWriteHalf, mut frames: mpsc::UnboundedReceiver<Vec<u8>>) -> Option<()> {
    while let Some(frame) = frames.recv().await {
        to.write_all(&frame).await.ok()?;
    }
    Some(())
}

async fn read_frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut frame = vec![0; 7];
    from.read_exact(&mut frame).await.ok()?;
    let size = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]) as usize;
    frame.resize(7 + size + 1, 0);
    from.read_exact(&mut frame[7..]).await.ok()?;
    Some(frame)
}

#[tokio::test]
async fn a_consumer_that_the_broker_has_forgotten_is_found_and_made_anew() {
    let corner = Corner::new().await;
    // The topology first, so that the only consumer is the forgotten one.
    Worker::start(corner.options.clone()).await.stop().await;
    let liar = Liar::start().await;
    liar.forget.store(true, Ordering::SeqCst);
    let worker = Worker::start(liar.before(&corner)).await;
    assert!(!liar.forget.load(Ordering::SeqCst));
    corner.publish("github.team", github(1), TEAM).await;
    eventually("it comes all the same", 1, async || worker.stored().await).await;
    assert_eq!(worker.consumer.turning(), Ok(()));
    worker.stop().await;
}

#[tokio::test]
async fn whatever_the_broker_closes_or_cancels_is_made_anew() {
    let corner = Corner::new().await;
    let liar = Liar::start().await;
    let worker = Worker::start(liar.before(&corner)).await;
    let cancel = |channel| frame(channel, [0, 60, 0, 30], &[short("no such tag"), vec![1]].concat());
    let lies = [
        // CONNECTION_FORCED: an operator closes the connection.
        close(0, [0, 10, 0, 50], 320),
        // PRECONDITION_FAILED: a channel that owes an acknowledgement for too long is closed.
        close(1, [0, 20, 0, 40], 406),
        // A cancel for a consumer that we do not have.
        cancel(1),
        // A frame on a channel that nobody opened.
        cancel(77),
    ];
    for (guid, lie) in lies.into_iter().enumerate() {
        liar.say.send(lie).unwrap();
        corner.publish("github.team", github(guid), TEAM).await;
        let expected = i64::try_from(guid).unwrap() + 1;
        eventually("it comes all the same", expected, async || worker.stored().await).await;
        worker.is_ready().await;
    }
    worker.stop().await;
    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
}

#[tokio::test]
async fn while_the_broker_blocks_publishers_deliveries_are_refused_at_once() {
    let corner = Corner::new().await;
    let liar = Liar::start().await;
    let publisher = Publisher::new(liar.before(&corner));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (publisher, shutdown) = (publisher.clone(), shutdown.clone());
        async move { publisher.run(shutdown).await }
    });
    eventually("the publisher is ready", Ok(()), async || publisher.ready()).await;
    let delivery = |guid: &str| Delivery {
        guid: guid.into(),
        event: "team".into(),
        host: None,
        signature: None,
        received_at: Time(0),
        body: Bytes::from_static(TEAM),
    };
    liar.say.send(frame(0, [0, 10, 0, 60], &short("low on memory"))).unwrap();
    eventually("it says so", true, async || {
        publisher.ready().is_err_and(|reason| reason.contains("low on memory or disk"))
    })
    .await;
    publisher.accept(delivery("refused")).await.unwrap_err();
    liar.say.send(frame(0, [0, 10, 0, 61], &[])).unwrap();
    eventually("the publisher is ready", Ok(()), async || publisher.ready()).await;
    publisher.accept(delivery("accepted")).await.unwrap();
    assert_eq!(corner.queued().await, 1);
    shutdown.cancel();
    running.await.unwrap();
}
