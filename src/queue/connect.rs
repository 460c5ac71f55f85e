//! One connection to the broker, and what can be wrong with it, in words that say what to do.

use std::{
    fmt,
    io::ErrorKind as Io,
    str::FromStr,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use lapin::{Channel, Connection, ConnectionProperties, Error, ErrorKind, uri::AMQPUri};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::Options;
use crate::telemetry::doors;

/// How long one attempt to connect may take, handshake included. Not shorter: lapin keeps the thread of an
/// attempt that was given up until its socket closes, and a frozen broker closes none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Heartbeat unless the URL says otherwise (`?heartbeat=`): a silent broker is noticed within twice this.
const HEARTBEAT_S: u16 = 10;
/// Waits between attempts to connect grow from this to [`MAX_WAIT`], with jitter on top, so that many workers do
/// not return to a restarted broker in the same instant.
const MIN_WAIT: Duration = Duration::from_millis(200);
/// Short, since a refused attempt costs the broker nothing, and GitHub's deliveries are refused meanwhile.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// A connection that lasted this long was a good one: what ends it is news.
const STEADY: Duration = Duration::from_secs(60);

/// AMQP's reply code for something that does not exist.
pub(super) const NOT_FOUND: u16 = 404;

/// The same for a frame that cannot be read.
pub(super) const FRAME_ERROR: u16 = 501;

/// The longest that an answer of the broker may take. A broker that has frozen, or a connection that was lost in the middle
/// of a frame, gives none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What is wrong between us and the broker, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Trouble {
    /// What was attempted and what happened.
    pub what: String,
    /// What a person can do, when we know.
    pub remedy: Option<String>,
    /// The broker's reply code, when it was the broker who said so.
    pub(super) code: Option<u16>,
}

impl Trouble {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: None, code: None }
    }

    fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// What lapin's error means while `attempted` ("failed to …").
    pub(super) fn of(attempted: &str, error: &Error) -> Self {
        let mut trouble = Self::new(format!("{attempted}: {error}"));
        if let ErrorKind::ProtocolError(error) = error.kind() {
            trouble.code = Some(error.get_id());
        }
        match error.kind() {
            // https://www.rabbitmq.com/amqp-0-9-1-reference.html#constants
            ErrorKind::ProtocolError(error) => match error.get_id() {
                403 => trouble.with_remedy(
                    "check the user and password in queue.url, and its permissions on this virtual host: \
                     configure, write and read (rabbitmqctl set_permissions); with queue.declare = false, \
                     configure is not needed",
                ),
                NOT_FOUND => trouble.with_remedy("create what is missing, or set queue.declare = true"),
                405 => trouble.with_remedy("somebody else uses this queue exclusively; choose another queue.queue"),
                406 => trouble.with_remedy(
                    "it exists with other arguments than ours: choose another name in [queue], or delete it once \
                     it is empty, or set queue.declare = false to use it as it is",
                ),
                320 => trouble.with_remedy("an operator or a restart closed the connection"),
                FRAME_ERROR => trouble.with_remedy(
                    "the headers of a message are larger than a frame; remove `frame_max` from queue.url, or remove the \
                     message from the queue",
                ),
                530 => trouble.with_remedy("check the virtual host in queue.url (rabbitmqctl list_vhosts)"),
                _ => trouble,
            },
            ErrorKind::IOError(error) => match error.kind() {
                Io::ConnectionRefused => trouble.with_remedy("start RabbitMQ there, or correct queue.url"),
                _ => trouble,
            },
            _ => trouble,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// Connects once; `role` is what the broker shows as the connection's name.
pub(super) async fn connect(options: &Options, role: &str) -> Result<Connection, Trouble> {
    let mut uri = AMQPUri::from_str(options.url.expose_secret()).map_err(|reason| {
        Trouble::new(format!("failed to read queue.url: {reason}"))
            .with_remedy("write it as amqp://user:password@host:5672/%2f")
    })?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
    // The largest frame is the broker's, unless the URL names a smaller one (`?frame_max=`): the headers of a message are one
    // frame, however small the frames are that its reader asked for. lapin keeps room for 64 frames a connection.
    let place = format!("{}:{}", uri.authority.host, uri.authority.port);
    let attempted =
        format!("failed to connect to RabbitMQ at {place} as {}", uri.authority.userinfo.username);
    // No auto-recovery and no retries in lapin: the supervised loops here do both.
    let properties = ConnectionProperties::default().with_connection_name(format!("teamlink {role}").into());
    match timeout(CONNECT_TIMEOUT, Connection::connect_uri(uri, properties)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Trouble::of(&attempted, &error)),
        Err(_) => Err(Trouble::new(format!("{attempted}: it accepts connections but does not answer"))
            .with_remedy("look at the broker's log; it may be frozen or overloaded")),
    }
}

/// What a supervised loop remembers between its connections: how long to wait, and what was said already.
pub(super) struct Supervision {
    user: &'static str,
    waits: ExponentialBackoff,
    said: Option<Trouble>,
    up_since: Option<Instant>,
}

impl Supervision {
    pub(super) fn new(user: &'static str) -> Self {
        Self { user, waits: backoff(), said: None, up_since: None }
    }

    /// Connected, with everything in place. Heard once a connection, however often it is called.
    pub(super) fn connected(&mut self) {
        if self.up_since.is_none() {
            doors::broker_connected(self.user);
            self.up_since = Some(Instant::now());
        }
    }

    /// Says what is wrong, loudly when it is news; answers how long to wait before the next attempt. A
    /// connection that did not last is no reason to say it again, nor to hurry.
    pub(super) fn lost(&mut self, trouble: Trouble) -> Duration {
        if self.up_since.take().is_some_and(|since| since.elapsed() >= STEADY) {
            *self = Self::new(self.user);
        }
        let wait = self.waits.next().unwrap_or(MAX_WAIT);
        doors::broker_lost(self.user, &trouble, self.said.as_ref() != Some(&trouble), wait);
        self.said = Some(trouble);
        wait
    }
}

fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(MIN_WAIT)
        .with_max_delay(MAX_WAIT)
        .without_max_times()
        .with_jitter()
        .build()
}

pub(super) async fn open_channel(connection: &Connection) -> Result<Channel, Trouble> {
    answer("failed to open a channel", connection.create_channel()).await
}

/// Waits for what the broker answers, but not for ever.
pub(super) async fn answer<T>(
    attempted: &str,
    asked: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Trouble> {
    match timeout(ANSWER_TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(|error| Trouble::of(attempted, &error)),
        Err(_) => Err(Trouble::new(format!("{attempted}: RabbitMQ does not answer"))
            .with_remedy("look at the broker's log; it may be frozen or overloaded")),
    }
}
