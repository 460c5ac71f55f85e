//! What there must be at the broker: an exchange, the queue with its bindings, and a queue for the dead.
//!
//! Declaring what exists with the same arguments changes nothing, so every user declares everything at every
//! connection; whoever comes first creates it. What exists with *other* arguments is never touched: the broker
//! answers PRECONDITION_FAILED, and a person decides.

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, LongString, ShortString},
};

use super::{
    Options,
    connect::{Trouble, answer},
};

/// How often the broker delivers a message in vain before it calls it dead. RabbitMQ 4 has 20 by default; said
/// explicitly, so that older ones do the same and redeclaring does not depend on the version.
const DELIVERY_LIMIT: i64 = 20;

/// A name as AMQP carries it. Settings refuse longer ones, so that cutting never happens in practice.
pub(super) fn name(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
}

/// Who needs what.
#[derive(Clone, Copy, Debug)]
pub(super) enum User {
    /// Publishes to the exchange.
    Publisher,
    /// Consumes the queue.
    Consumer,
    /// Drains the dead queue.
    DeadQueue,
}

/// Creates what is missing. With `declare = false` says what is missing of that which this user needs: a topology that
/// somebody else made is used as it is, and need not have the rest.
pub(super) async fn ensure(channel: &Channel, options: &Options, user: User) -> Result<(), Trouble> {
    if !options.declare {
        return match user {
            User::Publisher => declare_exchange(channel, options, true).await,
            User::Consumer => declare_queue(channel, options, true).await.map(drop),
            User::DeadQueue => declare_dead_queue(channel, options, true).await.map(drop),
        };
    }
    declare_exchange(channel, options, false).await?;
    // The dead queue first: there must never be a moment in which a dead message has nowhere to go.
    declare_dead_queue(channel, options, false).await?;
    declare_queue(channel, options, false).await?;
    bind(channel, options).await
}

pub(super) async fn declare_exchange(
    channel: &Channel,
    options: &Options,
    passive: bool,
) -> Result<(), Trouble> {
    let exchange = ExchangeDeclareOptions {
        passive,
        // It survives a restart of the broker, as the queues do.
        durable: true,
        // It stays when its last binding goes.
        auto_delete: false,
        // Publishers publish to it directly.
        internal: false,
        // We want to hear what is wrong.
        nowait: false,
    };
    let attempted = format!("failed to declare the exchange {:?}", options.exchange);
    let (exchange_name, arguments) = (name(&options.exchange), FieldTable::default());
    answer(&attempted, channel.exchange_declare(exchange_name, ExchangeKind::Topic, exchange, arguments))
        .await
}

/// Answers how many messages wait in it, and how many consumers it has.
pub(super) async fn declare_queue(
    channel: &Channel,
    options: &Options,
    passive: bool,
) -> Result<(u32, u32), Trouble> {
    let mut arguments = quorum();
    arguments.insert("x-delivery-limit".into(), DELIVERY_LIMIT.into());
    // The default exchange reaches the dead queue by its name.
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text(&options.dead_queue));
    // A dead message stays here until the dead queue has confirmed it; the broker asks for the overflow policy
    // with it. https://www.rabbitmq.com/docs/quorum-queues#activating-at-least-once-dead-lettering
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    declare(channel, &options.queue, passive, arguments).await
}

/// Answers how many messages wait in it, and how many consumers it has.
pub(super) async fn declare_dead_queue(
    channel: &Channel,
    options: &Options,
    passive: bool,
) -> Result<(u32, u32), Trouble> {
    declare(channel, &options.dead_queue, passive, quorum()).await
}

async fn bind(channel: &Channel, options: &Options) -> Result<(), Trouble> {
    for key in &options.bindings {
        let bound = channel.queue_bind(
            name(&options.queue),
            name(&options.exchange),
            name(key),
            // We want to hear what is wrong.
            QueueBindOptions { nowait: false },
            FieldTable::default(),
        );
        let attempted = format!("failed to bind {:?} to {:?} by {key:?}", options.queue, options.exchange);
        answer(&attempted, bound).await?;
    }
    Ok(())
}

async fn declare(
    channel: &Channel,
    queue: &str,
    passive: bool,
    arguments: FieldTable,
) -> Result<(u32, u32), Trouble> {
    let options = QueueDeclareOptions {
        passive,
        // It survives a restart of the broker; a quorum queue must.
        durable: true,
        // Several workers compete for it.
        exclusive: false,
        // It stays when the last worker leaves.
        auto_delete: false,
        // We want to hear what is wrong.
        nowait: false,
    };
    // A passive declaration only asks whether the queue exists.
    let arguments = if passive { FieldTable::default() } else { arguments };
    let attempted = format!("failed to declare the queue {queue:?}");
    let declared = answer(&attempted, channel.queue_declare(name(queue), options, arguments)).await?;
    Ok((declared.message_count(), declared.consumer_count()))
}

/// Replicated where there is more than one node, and never loses a confirmed message to a crash of one.
fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
