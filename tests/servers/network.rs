//! A corner of a real RabbitMQ, and a network that can be cut or frozen.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    process::Stdio,
    sync::Arc,
};

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use teamlink::queue;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    process::Command,
    sync::watch,
};

use crate::support::amqp_url;

/// Names at the broker that no other test uses, removed at the end.
pub struct Corner {
    pub options: queue::Options,
    pub channel: Channel,
    /// Its end would end the channel.
    _connection: Connection,
}

impl Corner {
    pub async fn new() -> Self {
        let connection = Connection::connect(&amqp_url(), ConnectionProperties::default())
            .await
            .expect("these tests need RabbitMQ at AMQP_URL: run tests/run");
        let channel = connection.create_channel().await.unwrap();
        let name = format!("teamlink-test-{}", uuid::Uuid::new_v4());
        let options = queue::Options {
            url: amqp_url().into(),
            exchange: name.clone(),
            queue: name.clone(),
            dead_queue: format!("{name}-dead"),
            bindings: vec!["github.#".into()],
            declare: true,
            prefetch: 1000,
        };
        Self { options, channel, _connection: connection }
    }

    /// The same corner, reached through a proxy.
    pub fn through(&self, proxy: &Proxy) -> queue::Options {
        queue::Options { url: proxy.url(&amqp_url()).into(), ..self.options.clone() }
    }

    /// Messages that are ready in a queue; those that a consumer holds do not count. Asked on a connection of its own: a
    /// broker that was restarted has ended the first one.
    pub async fn depth(&self, queue: &str) -> u32 {
        let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await.unwrap();
        connection.close(200, "done".into()).await.unwrap();
        declared.message_count()
    }

    pub async fn queued(&self) -> u32 {
        self.depth(&self.options.queue).await
    }

    pub async fn dead(&self) -> u32 {
        self.depth(&self.options.dead_queue).await
    }

    /// Removes the bindings of the queue.
    pub async fn unbind(&self) {
        let (queue, exchange) = (self.options.queue.as_str(), self.options.exchange.as_str());
        for key in &self.options.bindings {
            let arguments = FieldTable::default();
            let unbound =
                self.channel.queue_unbind(queue.into(), exchange.into(), key.as_str().into(), arguments);
            unbound.await.unwrap();
        }
    }

    /// Removes the queue with all that waits in it.
    pub async fn delete_queue(&self) {
        let queue = self.options.queue.as_str();
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    /// Somebody who publishes here over a connection of their own.
    pub async fn publisher(&self) -> Publisher {
        let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Publisher { channel, exchange: self.options.exchange.clone(), _connection: connection }
    }

    /// The same without waiting until the broker has it.
    pub async fn send(&self, key: &str, properties: BasicProperties, body: &[u8]) {
        let options = BasicPublishOptions { mandatory: false, immediate: false };
        let exchange = self.options.exchange.as_str().into();
        drop(self.channel.basic_publish(exchange, key.into(), options, body, properties).await.unwrap());
    }

    /// Publishes without any of our own code.
    pub async fn publish(&self, key: &str, properties: BasicProperties, body: &[u8]) {
        let options = BasicPublishOptions { mandatory: false, immediate: false };
        let exchange = self.options.exchange.as_str().into();
        self.channel
            .basic_publish(exchange, key.into(), options, body, properties)
            .await
            .unwrap()
            .await
            .unwrap();
    }
}

/// Publishes to a corner over a connection of its own.
pub struct Publisher {
    channel: Channel,
    exchange: String,
    /// Its end would end the channel.
    _connection: Connection,
}

impl Publisher {
    /// Publishes without waiting until the broker has it.
    pub async fn send(&self, key: &str, properties: BasicProperties, body: &[u8]) {
        let options = BasicPublishOptions { mandatory: false, immediate: false };
        let exchange = self.exchange.as_str().into();
        drop(self.channel.basic_publish(exchange, key.into(), options, body, properties).await.unwrap());
    }
}

impl Drop for Corner {
    fn drop(&mut self) {
        let options = self.options.clone();
        // A runtime of its own: this one may be going away. The old channel may be closed by a failed test.
        let removed = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async move {
                let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await?;
                let channel = connection.create_channel().await?;
                for queue in [&options.queue, &options.dead_queue] {
                    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
                }
                channel
                    .exchange_delete(options.exchange.as_str().into(), ExchangeDeleteOptions::default())
                    .await?;
                connection.close(200, "done".into()).await
            })
        });
        if !std::thread::panicking() {
            removed.join().unwrap().unwrap();
        }
    }
}

/// What the network does with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fair,
    /// Connections are accepted and nothing moves, as with a stopped (SIGSTOP) process at the other end.
    Frozen,
    /// Connections are reset and new ones refused by closing them at once.
    Down,
}

/// A TCP proxy before a server, so that one test can lose its connection without disturbing any other.
pub struct Proxy {
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
}

impl Proxy {
    pub async fn to_broker() -> Self {
        Self::to(&amqp_url(), 5672).await
    }

    /// Before the server that a URL names.
    pub async fn to(url: &str, default_port: u16) -> Self {
        let url = url::Url::parse(url).unwrap();
        let host = url.host_str().unwrap().to_owned();
        let server = (host, url.port().unwrap_or(default_port)).to_socket_addrs().unwrap().next().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, changes) = watch::channel(Weather::Fair);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, changes.clone()));
            }
        });
        Self { address, weather }
    }

    /// The URL of the server, through here.
    pub fn url(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.to_string()
    }

    pub fn freeze(&self) {
        self.weather.send_replace(Weather::Frozen);
    }

    pub fn cut(&self) {
        self.weather.send_replace(Weather::Down);
    }

    pub fn restore(&self) {
        self.weather.send_replace(Weather::Fair);
    }
}

async fn carry(client: TcpStream, broker: SocketAddr, mut weather: watch::Receiver<Weather>) {
    // An error here is the proxy's user going away.
    let work = async {
        weather.wait_for(|weather| *weather != Weather::Frozen).await.ok()?;
        if *weather.borrow() == Weather::Down {
            return None;
        }
        let server = TcpStream::connect(broker).await.ok()?;
        let client = Arc::new(client);
        let server = Arc::new(server);
        let mut down = weather.clone();
        tokio::select! {
            () = pump(&client, &server, weather.clone()) => {}
            () = pump(&server, &client, weather.clone()) => {}
            _ = down.wait_for(|weather| *weather == Weather::Down) => {}
        }
        Some(())
    };
    work.await;
}

async fn pump(from: &TcpStream, to: &TcpStream, mut weather: watch::Receiver<Weather>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(()) = from.readable().await else { return };
        if weather.wait_for(|weather| *weather != Weather::Frozen).await.is_err() {
            return;
        }
        let mut rest = match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        while !rest.is_empty() {
            let Ok(()) = to.writable().await else { return };
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// Has the local broker's own command do something, and gives it this on its standard input. The node has the name that its
/// package gave it, or that which tests/run did.
pub async fn rabbitmqctl(args: &[&str], input: &str) {
    let mut said = String::new();
    for node in [&[][..], &["--node", "rabbit@localhost"]] {
        let mut command = Command::new("rabbitmqctl");
        command.arg("--quiet").args(node).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running =
            command.spawn().expect("this test needs rabbitmqctl and the broker on this machine");
        running.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let output = running.wait_with_output().await.unwrap();
        if output.status.success() {
            return;
        }
        said += &String::from_utf8_lossy(&output.stdout);
        said += &String::from_utf8_lossy(&output.stderr);
    }
    panic!("rabbitmqctl {args:?} failed: {said}");
}
