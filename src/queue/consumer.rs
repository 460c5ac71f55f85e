//! The supervised consumer: queue → intake → ack.
//!
//! Messages are read as they come and collected while the batch before them commits. What is committed is
//! acknowledged with one `multiple` ack: batches are cut and committed in the order in which the channel
//! delivered them, so that everything up to the last tag of a committed batch is committed. The ack goes out on
//! the channel that delivered; when that channel is gone the broker delivers again, and the intake knows the
//! GUID.
//!
//! **The ledger refuses:** the consumer is cancelled, so that nothing more is sent, and the batch is offered
//! again and again with a growing wait. What was received stays here, unacknowledged (it is within the byte
//! budget); nothing is nacked or returned, because each return counts towards the broker's delivery limit, and a
//! ledger that is away for an hour must not make one message dead. The broker itself closes a channel that owes
//! an ack for 30 minutes (`consumer_timeout`); the session that follows begins with a single message.
//!
//! **Bytes** are bounded by [`Pace`].

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    connect::{Supervision, Trouble, connect, open_channel},
    message,
    pace::{BUDGET, Pace},
    topology,
};
use crate::{
    intake::{Intake, Refused},
    model::{Delivery, Time},
    telemetry::doors,
};

const USER: &str = "consumer";
/// Messages offered to the intake at a time: enough to spread one commit's fsync thin.
const MAX_BATCH: usize = 512;
/// Bytes offered at a time (one message may be larger).
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Longest wait between offers of a batch that the ledger refuses.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long leaving may take at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Takes deliveries from the queue into the ledger.
#[derive(Clone)]
pub struct Consumer {
    options: Options,
    intake: Intake,
    ready: Arc<Mutex<Result<(), String>>>,
}

impl Consumer {
    /// A consumer that is not connected yet.
    pub fn new(options: Options, intake: Intake) -> Self {
        Self { options, intake, ready: Arc::new(Mutex::new(Err("not connected to RabbitMQ yet".into()))) }
    }

    /// Whether deliveries are being taken now, and if not, why; for `/readyz`.
    pub fn ready(&self) -> Result<(), String> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_ready(&self, ready: Result<(), String>) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = ready;
    }

    /// Consumes until `shutdown`: connects, declares the topology, and does so again whenever the connection is
    /// lost. At shutdown it finishes the batch in hand and leaves the rest to the broker.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut supervision = Supervision::new(USER);
        let mut pace = Pace::new(self.options.prefetch);
        while !shutdown.is_cancelled() {
            if let Err(trouble) = self.session(&mut pace, &mut supervision, &shutdown).await {
                self.set_ready(Err(trouble.to_string()));
                let wait = supervision.lost(trouble);
                shutdown.run_until_cancelled(sleep(wait)).await;
            }
        }
        self.set_ready(Err("shutting down".into()));
        doors::broker_left(USER);
    }

    /// One connection, from its making to its end. `Ok` at shutdown.
    async fn session(
        &self,
        pace: &mut Pace,
        supervision: &mut Supervision,
        shutdown: &CancellationToken,
    ) -> Result<(), Trouble> {
        let connecting = async {
            let connection = connect(&self.options, USER).await?;
            let channel = open_channel(&connection).await?;
            topology::ensure(&channel, &self.options).await?;
            Ok::<_, Trouble>((connection, channel))
        };
        let Some(connected) = shutdown.run_until_cancelled(connecting).await else { return Ok(()) };
        let (connection, mut channel) = connected?;
        supervision.connected();
        loop {
            let end = Consuming::new(self, &channel, pace).run(shutdown).await?;
            let closing = async {
                channel.close(200, "done with it".into()).await?;
                if let End::Shutdown = end {
                    connection.close(200, "shutting down".into()).await?;
                }
                Ok::<_, lapin::Error>(())
            };
            match end {
                End::Shutdown => {
                    // A frozen broker must not hold up the exit; everything committed is acknowledged already.
                    timeout(CLOSE_WITHIN, closing).await.ok();
                    return Ok(());
                }
                End::Overflow => {
                    closing.await.map_err(|error| Trouble::of("failed to close a channel", &error))?;
                    channel = open_channel(&connection).await?;
                }
            }
        }
    }
}

/// Why consuming on one channel ended without a trouble.
enum End {
    Shutdown,
    /// Too many bytes at once; what is not committed goes back to the queue when the channel closes.
    Overflow,
}

struct Received {
    tag: u64,
    delivery: Delivery,
}

/// A batch on its way into the ledger.
struct Commit {
    batch: Vec<Delivery>,
    last_tag: u64,
    bytes: usize,
    largest: usize,
    /// How long was waited before this offer; zero for the first.
    waited: Duration,
    outcome: BoxFuture<'static, Result<(), Refused>>,
}

/// Consuming on one channel.
struct Consuming<'a> {
    of: &'a Consumer,
    channel: &'a Channel,
    pace: &'a mut Pace,
    /// `None` while the ledger refuses.
    messages: Option<lapin::Consumer>,
    received: VecDeque<Received>,
    /// Bytes received and not yet committed.
    bytes: usize,
    commit: Option<Commit>,
}

impl<'a> Consuming<'a> {
    fn new(of: &'a Consumer, channel: &'a Channel, pace: &'a mut Pace) -> Self {
        Self { of, channel, pace, messages: None, received: VecDeque::new(), bytes: 0, commit: None }
    }

    async fn run(mut self, shutdown: &CancellationToken) -> Result<End, Trouble> {
        self.start().await?;
        loop {
            if self.commit.is_none() {
                self.commit = self.next_batch();
            }
            let outcome = async {
                match &mut self.commit {
                    Some(commit) => (&mut commit.outcome).await,
                    None => std::future::pending().await,
                }
            };
            let message = async {
                match &mut self.messages {
                    Some(messages) => messages.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    self.finish().await?;
                    return Ok(End::Shutdown);
                }
                outcome = outcome => self.settled(outcome).await?,
                message = message => {
                    self.take(message)?;
                    self.take_what_is_ready()?;
                    if self.bytes > BUDGET {
                        let largest = self.received.iter().map(|received| received.delivery.body.len()).max();
                        self.pace.overflowed(largest.unwrap_or_default());
                        doors::consumer_prefetch(self.pace.prefetch(), "too many bytes received at once");
                        self.finish().await?;
                        return Ok(End::Overflow);
                    }
                }
            }
        }
    }

    async fn start(&mut self) -> Result<(), Trouble> {
        // Before consuming, since it holds for consumers that come after it. Per consumer, not `global`:
        // quorum queues know no other. https://www.rabbitmq.com/docs/quorum-queues#global-qos
        let qos = BasicQosOptions { global: false };
        let consume = BasicConsumeOptions {
            // RabbitMQ does not implement it.
            no_local: false,
            // Messages stay with the broker until they are committed here.
            no_ack: false,
            // Other workers compete for the same queue.
            exclusive: false,
            // We want to hear what is wrong.
            nowait: false,
        };
        let attempted = format!("failed to consume from {:?}", self.of.options.queue);
        let started = async {
            self.channel.basic_qos(self.pace.prefetch(), qos).await?;
            // No tag of ours: the broker makes up one that is unique.
            let queue = topology::name(&self.of.options.queue);
            self.channel.basic_consume(queue, "".into(), consume, FieldTable::default()).await
        };
        self.messages = Some(started.await.map_err(|error| Trouble::of(&attempted, &error))?);
        self.of.set_ready(Ok(()));
        Ok(())
    }

    /// Has the broker send nothing more, and takes in what it had sent. What was received stays ours to
    /// acknowledge.
    async fn stop(&mut self) -> Result<(), Trouble> {
        let Some(mut messages) = self.messages.take() else { return Ok(()) };
        // Answered by the broker, so that afterwards nothing more comes.
        let options = BasicCancelOptions { nowait: false };
        let cancelled = self.channel.basic_cancel(messages.tag(), options).await;
        cancelled.map_err(|error| Trouble::of("failed to cancel the consumer", &error))?;
        while let Some(Some(Ok(message))) = messages.next().now_or_never() {
            self.push(message);
        }
        Ok(())
    }

    fn take(&mut self, message: Option<lapin::Result<lapin::message::Delivery>>) -> Result<(), Trouble> {
        match message {
            Some(Ok(message)) => {
                self.push(message);
                Ok(())
            }
            Some(Err(error)) => Err(Trouble::of("lost the consumer", &error)),
            None => Err(Trouble::new(format!(
                "RabbitMQ cancelled the consumer: the queue {:?} was deleted or moved",
                self.of.options.queue
            ))),
        }
    }

    fn take_what_is_ready(&mut self) -> Result<(), Trouble> {
        while self.received.len() < MAX_BATCH && self.bytes <= BUDGET {
            let Some(Some(message)) = self.messages.as_mut().map(|messages| messages.next().now_or_never())
            else {
                break;
            };
            self.take(message)?;
        }
        Ok(())
    }

    fn push(&mut self, message: lapin::message::Delivery) {
        let now = Time::from(SystemTime::now());
        let delivery =
            message::read(message.routing_key.as_str(), &message.properties, Bytes::from(message.data), now);
        self.bytes += delivery.body.len();
        self.received.push_back(Received { tag: message.delivery_tag, delivery });
    }

    /// Cuts a batch from the front and begins to commit it.
    fn next_batch(&mut self) -> Option<Commit> {
        let (mut bytes, mut largest, mut last_tag) = (0, 0, self.received.front()?.tag);
        let mut batch = Vec::with_capacity(self.received.len().min(MAX_BATCH));
        while let Some(received) = self.received.pop_front() {
            let size = received.delivery.body.len();
            (bytes, largest, last_tag) = (bytes + size, largest.max(size), received.tag);
            batch.push(received.delivery);
            if batch.len() == MAX_BATCH || bytes >= MAX_BATCH_BYTES {
                break;
            }
        }
        let outcome = offer(&self.of.intake, &batch, Duration::ZERO);
        Some(Commit { batch, last_tag, bytes, largest, waited: Duration::ZERO, outcome })
    }

    async fn settled(&mut self, outcome: Result<(), Refused>) -> Result<(), Trouble> {
        let Some(mut commit) = self.commit.take() else { return Ok(()) };
        if let Err(refused) = outcome {
            let wait = refused.retry_after.max(commit.waited * 2).min(MAX_WAIT);
            let held = commit.batch.len() + self.received.len();
            doors::consumer_waits(&refused.reason, held, wait, commit.waited.is_zero());
            self.of.set_ready(Err(format!("the ledger refuses deliveries: {}", refused.reason)));
            self.pace.refused();
            commit.waited = wait;
            commit.outcome = offer(&self.of.intake, &commit.batch, wait);
            self.commit = Some(commit);
            return self.stop().await;
        }
        self.ack(commit.last_tag).await?;
        self.bytes -= commit.bytes;
        if let Some(reason) = self.pace.committed(commit.batch.len(), commit.largest) {
            doors::consumer_prefetch(self.pace.prefetch(), reason);
            self.stop().await?;
        }
        if !commit.waited.is_zero() {
            doors::consumer_resumes();
        }
        if self.messages.is_none() {
            self.start().await?;
        }
        Ok(())
    }

    async fn ack(&mut self, tag: u64) -> Result<(), Trouble> {
        // Everything up to `tag` is committed.
        let acked = self.channel.basic_ack(tag, BasicAckOptions { multiple: true }).await;
        acked.map_err(|error| Trouble::of("failed to acknowledge what is committed", &error))
    }

    /// Takes nothing more, and sees the commit in hand through, unless the ledger refuses it.
    async fn finish(&mut self) -> Result<(), Trouble> {
        self.messages = None;
        if let Some(commit) = self.commit.take()
            && commit.waited.is_zero()
            && commit.outcome.await.is_ok()
        {
            self.ack(commit.last_tag).await?;
        }
        Ok(())
    }
}

/// Offers a batch to the intake after a wait.
fn offer(intake: &Intake, batch: &[Delivery], after: Duration) -> BoxFuture<'static, Result<(), Refused>> {
    // Copies names, not bodies.
    let (intake, batch) = (intake.clone(), batch.to_vec());
    Box::pin(async move {
        sleep(after).await;
        intake.accept_all(batch).await
    })
}
