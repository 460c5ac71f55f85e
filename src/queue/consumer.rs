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
//! **Silence** is looked into: a consumer that the broker has forgotten, or delivers nothing to, hears nothing of it. When
//! nothing came for a while, the queue is asked what waits in it ([`Patrol`]), and the connection is made anew when that
//! does not fit. The loop goes round at least that often, which `/healthz` follows.
//!
//! **Bytes** are bounded by [`Pace`].

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use lapin::{
    Channel, Connection, Event,
    message::Delivery as Message,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    connect::{FRAME_ERROR, Supervision, Trouble, answer, connect, open_channel},
    held::{Batch, Held},
    pace::{BUDGET, Pace},
    patrol::Patrol,
    topology::{self, User},
};
use crate::{
    intake::{Intake, Refused},
    model::Time,
    telemetry::doors,
};

const USER: &str = "consumer";
/// Longest wait between offers of a batch that the ledger refuses.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long leaving may take at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// A loop that has not gone round for this long is stuck. To connect may take half a minute, and so may an answer of a
/// broker that has just frozen.
const STUCK: Duration = Duration::from_secs(120);

/// Takes deliveries from the queue into the ledger.
#[derive(Clone)]
pub struct Consumer {
    options: Options,
    intake: Intake,
    ready: Arc<Mutex<Result<(), String>>>,
    /// When the loop last went round.
    turned: Arc<Mutex<Instant>>,
}

impl Consumer {
    /// A consumer that is not connected yet.
    pub fn new(options: Options, intake: Intake) -> Self {
        let ready = Arc::new(Mutex::new(Err("not connected to RabbitMQ yet".into())));
        Self { options, intake, ready, turned: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Whether deliveries are being taken now, and if not, why; for `/readyz`.
    pub fn ready(&self) -> Result<(), String> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the loop goes round, and if not, since when; for `/healthz`. One that connects again and again does.
    pub fn turning(&self) -> Result<(), String> {
        let still = self.turned.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if still < STUCK {
            Ok(())
        } else {
            Err(format!("the consumer has not gone round for {} s", still.as_secs()))
        }
    }

    fn turn(&self) {
        *self.turned.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
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
            self.turn();
            if let Err(trouble) = self.session(&mut pace, &mut supervision, &shutdown).await {
                if trouble.code == Some(FRAME_ERROR) {
                    // What came before the message in the same breath is committed one by one.
                    pace.refused();
                }
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
            topology::ensure(&channel, &self.options, User::Consumer).await?;
            Ok::<_, Trouble>((connection, channel))
        };
        let Some(connected) = shutdown.run_until_cancelled(connecting).await else { return Ok(()) };
        let (connection, mut channel) = connected?;
        let mut events = connection.events_listener();
        // Where lapin reads what it cannot, the consumer hears nothing of it.
        let lost = async {
            while let Some(event) = events.next().await {
                if let Event::Error(error) = event {
                    return Trouble::of(&format!("lost the queue {:?}", self.options.queue), &error);
                }
            }
            Trouble::new("lost the connection to RabbitMQ")
        };
        let mut lost = pin!(lost);
        loop {
            let mut consuming = Consuming::new(self, &connection, &channel, pace);
            consuming.start().await?;
            supervision.connected();
            let ended = tokio::select! {
                biased;
                ended = consuming.run(shutdown) => ended,
                trouble = &mut lost => Err(trouble),
            };
            match ended? {
                End::Overflow => channel = open_channel(&connection).await?,
                End::Shutdown => {
                    // A frozen broker must not hold up the exit; everything committed is acknowledged already.
                    timeout(CLOSE_WITHIN, connection.close(200, "shutting down".into())).await.ok();
                    return Ok(());
                }
            }
        }
    }
}

/// Why consuming on one channel ended without a trouble.
enum End {
    Shutdown,
    /// Too many bytes at once; the channel is closed, and what was not acknowledged is back in the queue.
    Overflow,
}

/// A batch on its way into the ledger.
struct Commit {
    batch: Batch,
    /// How long was waited before this offer; zero for the first.
    waited: Duration,
    outcome: BoxFuture<'static, Result<(), Refused>>,
}

/// Consuming on one channel.
struct Consuming<'a> {
    of: &'a Consumer,
    connection: &'a Connection,
    channel: &'a Channel,
    pace: &'a mut Pace,
    patrol: Patrol,
    /// `None` while the ledger refuses.
    messages: Option<lapin::Consumer>,
    held: Held,
    commit: Option<Commit>,
}

impl<'a> Consuming<'a> {
    fn new(of: &'a Consumer, connection: &'a Connection, channel: &'a Channel, pace: &'a mut Pace) -> Self {
        let patrol = Patrol::new();
        Self { of, connection, channel, pace, patrol, messages: None, held: Held::default(), commit: None }
    }

    async fn run(mut self, shutdown: &CancellationToken) -> Result<End, Trouble> {
        loop {
            if self.held.bytes() > BUDGET {
                self.pace.overflowed(self.held.largest());
                doors::consumer_prefetch(self.pace.prefetch(), "too many bytes received at once");
                self.abandon().await?;
                return Ok(End::Overflow);
            }
            if self.commit.is_none()
                && let Some(batch) = self.held.next_batch()
            {
                let outcome = offer(&self.of.intake, &batch, Duration::ZERO);
                self.commit = Some(Commit { batch, waited: Duration::ZERO, outcome });
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
                () = self.patrol.due() => {
                    self.of.turn();
                    // What holds back messages of ours is no silence: too many in hand, or a ledger that refuses.
                    if self.messages.is_some() && self.held.messages() < self.pace.prefetch().into() {
                        self.patrol.look(self.connection, &self.of.options).await?;
                    }
                }
                message = message => {
                    self.take(message)?;
                    self.take_what_is_ready()?;
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
        self.messages = Some(answer(&attempted, started).await?);
        self.of.set_ready(Ok(()));
        Ok(())
    }

    fn take(&mut self, message: Option<lapin::Result<Message>>) -> Result<(), Trouble> {
        match message {
            Some(Ok(message)) => {
                self.patrol.heard();
                self.held.push(message, Time::from(SystemTime::now()));
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
        while self.held.bytes() <= BUDGET {
            let Some(Some(message)) = self.messages.as_mut().map(|messages| messages.next().now_or_never())
            else {
                break;
            };
            self.take(message)?;
        }
        Ok(())
    }

    async fn settled(&mut self, outcome: Result<(), Refused>) -> Result<(), Trouble> {
        let Some(Commit { batch, waited, .. }) = self.commit.take() else { return Ok(()) };
        if let Err(refused) = outcome {
            let wait = refused.retry_after.max(waited * 2).min(MAX_WAIT);
            doors::consumer_waits(&refused.reason, self.held.messages(), wait, waited.is_zero());
            self.of.set_ready(Err(format!("the ledger refuses deliveries: {}", refused.reason)));
            self.pace.refused();
            let outcome = offer(&self.of.intake, &batch, wait);
            self.commit = Some(Commit { batch, waited: wait, outcome });
            return self.stop().await;
        }
        self.ack(&batch).await?;
        if let Some(reason) = self.pace.committed(batch.deliveries.len(), batch.largest) {
            doors::consumer_prefetch(self.pace.prefetch(), reason);
            self.stop().await?;
        }
        if !waited.is_zero() {
            doors::consumer_resumes();
        }
        if self.messages.is_none() {
            self.start().await?;
        }
        Ok(())
    }

    async fn ack(&mut self, batch: &Batch) -> Result<(), Trouble> {
        self.held.committed(batch);
        // Everything up to its last tag is committed.
        let acked = self.channel.basic_ack(batch.last_tag, BasicAckOptions { multiple: true });
        answer("failed to acknowledge what is committed", acked).await
    }

    /// Has the broker send nothing more, and takes in what was under way, as far as the budget allows. What was
    /// received stays ours to acknowledge.
    async fn stop(&mut self) -> Result<(), Trouble> {
        let Some(messages) = &mut self.messages else { return Ok(()) };
        // Answered by the broker, so that afterwards nothing more comes.
        let options = BasicCancelOptions { nowait: false };
        let cancel = self.channel.basic_cancel(messages.tag(), options);
        let mut cancel = pin!(answer("failed to cancel the consumer", cancel).fuse());
        while self.held.bytes() <= BUDGET {
            tokio::select! {
                biased;
                message = messages.next() => match message {
                    Some(Ok(message)) => self.held.push(message, Time::from(SystemTime::now())),
                    Some(Err(error)) => return Err(Trouble::of("lost the consumer", &error)),
                    None => {
                        self.messages = None;
                        break;
                    }
                },
                cancelled = &mut cancel => cancelled?,
            }
        }
        Ok(())
    }

    /// Closes the channel without waiting for the commit in hand: lapin would buffer meanwhile whatever comes.
    /// What is under way is dropped as it arrives, and comes again, as does what was committed and could not be
    /// acknowledged.
    async fn abandon(&mut self) -> Result<(), Trouble> {
        self.held = Held::default();
        let messages = self.messages.take();
        let drop_the_rest = async {
            if let Some(mut messages) = messages {
                while messages.next().await.is_some() {}
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            closed = answer("failed to close a channel", self.channel.close(200, "too many bytes".into())) => closed,
            () = drop_the_rest => Ok(()),
        }
    }

    /// Takes nothing more, and sees the commit in hand through, unless the ledger refuses it.
    async fn finish(&mut self) -> Result<(), Trouble> {
        self.stop().await?;
        if let Some(Commit { batch, waited, outcome }) = self.commit.take()
            && waited.is_zero()
            && outcome.await.is_ok()
        {
            self.ack(&batch).await?;
        }
        Ok(())
    }
}

/// Offers a batch to the intake after a wait.
fn offer(intake: &Intake, batch: &Batch, after: Duration) -> BoxFuture<'static, Result<(), Refused>> {
    // Copies names, not bodies.
    let (intake, deliveries) = (intake.clone(), batch.deliveries.clone());
    Box::pin(async move {
        sleep(after).await;
        intake.accept_all(deliveries).await
    })
}
