//! RabbitMQ: topology, publisher with confirms (an `Inbox`), supervised consumer.
//!
//! The broker moves deliveries between machines and keeps them while the ledger is away; it remembers nothing
//! else. Retries, attempts and schedules live in the ledger. So there are no TTL chains and no nacks here: a
//! message is acknowledged once it is committed, and until then it is simply not acknowledged.
//!
//! lapin can recover connections by itself; this room does not use that. A supervised loop that connects,
//! declares and resumes from nothing has one path for the first connection and for every later one, and can say
//! what is wrong and what to do about it.

mod connect;
mod consumer;
mod dead;
mod held;
mod message;
mod pace;
mod patrol;
mod probe;
mod publisher;
mod topology;

use secrecy::SecretString;

pub use connect::Trouble;
pub use consumer::Consumer;
pub use dead::DeadQueue;
pub use message::read as read_message;
pub use probe::{Finding, Verdict, probe};
pub use publisher::Publisher;

/// Where the broker is and what things are called there.
#[derive(Clone, Debug)]
pub struct Options {
    /// `amqp://user:password@host:port/vhost`, or `amqps://`.
    pub url: SecretString,
    /// The topic exchange that deliveries are published to.
    pub exchange: String,
    /// The queue that they are consumed from.
    pub queue: String,
    /// Where the broker puts what it gave up delivering.
    pub dead_queue: String,
    /// Routing keys that bind the queue to the exchange; a delivery's key is `github.<event>`.
    pub bindings: Vec<String>,
    /// Create what is missing. Without it, what is missing is an error.
    pub declare: bool,
    /// How many messages the broker may send ahead of their acknowledgement.
    pub prefetch: u16,
}
