//! The inbox that publishes: `Ok` only once the broker has confirmed that it keeps the message.
//!
//! Each publish in flight has a channel to itself, out of a small pool. On a shared channel lapin hands a
//! *returned* message (one that no queue is bound for) to whichever confirm comes next, so two deliveries in
//! flight could swap their answers, and the unroutable one would be taken for stored. Alone on its channel, a
//! publish can only meet its own answer.
//!
//! A broker that is frozen (stopped, swapped out, cut off) accepts bytes and answers nothing. A confirm that is
//! late therefore condemns the connection: the supervisor drops it and connects anew, and until that has worked
//! every delivery is refused at once, so that nothing piles up in lapin's unbounded send buffer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture};
use lapin::{
    Channel, Confirmation, Connection, Event,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    connect::{Supervision, Trouble, answer, connect, open_channel},
    message,
    topology::{self, User},
};
use crate::{
    intake::{Inbox, Refused},
    model::Delivery,
    telemetry::doors,
};

const USER: &str = "publisher";
/// Publishes in flight at a time, and so channels. A confirm takes some milliseconds: room for 10,000 a second.
const CHANNELS: u32 = 64;
/// How long a delivery waits for a free channel. With [`CONFIRM_WITHIN`] it must stay below what the webhook
/// allows, 8.5 s, which must stay below GitHub's 10 s.
const CHANNEL_WITHIN: Duration = Duration::from_millis(2500);
/// How long the broker may take to confirm.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);
/// What to tell a sender; the supervisor's backoff is no longer.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long leaving may take at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Each event that no binding names comes back: the topology is declared no more often than this because of them.
const DECLARE_AT_MOST_EVERY: Duration = Duration::from_secs(2);

/// Publishes deliveries to the exchange. Works only while [`Publisher::run`] does.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    slots: Semaphore,
    state: Mutex<State>,
}

enum State {
    Down(String),
    Up(Arc<Session>),
}

/// What lives as long as one connection.
struct Session {
    connection: Connection,
    idle: Mutex<Vec<Channel>>,
    /// Set once, to why this connection is given up.
    condemned: watch::Sender<Option<Trouble>>,
    /// When the topology was declared again.
    declared_at: tokio::sync::Mutex<Option<Instant>>,
}

/// What became of a message.
enum Sent {
    /// The broker keeps it.
    Kept,
    /// No queue takes it, in words.
    Returned(String),
}

impl Publisher {
    /// A publisher that is not connected yet.
    pub fn new(options: Options) -> Self {
        let state = Mutex::new(State::Down("not connected to RabbitMQ yet".into()));
        Self { shared: Arc::new(Shared { options, slots: Semaphore::new(CHANNELS as usize), state }) }
    }

    /// Keeps a connection until `shutdown`: connects, declares the topology, and does so again whenever the
    /// connection is lost or condemned.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut supervision = Supervision::new(USER);
        while let Some(trouble) = shutdown.run_until_cancelled(self.session(&mut supervision)).await {
            *lock(&self.shared.state) = State::Down(trouble.to_string());
            let wait = supervision.lost(trouble);
            shutdown.run_until_cancelled(sleep(wait)).await;
        }
        // What is in flight is seen through; what comes after is refused.
        timeout(CONFIRM_WITHIN, self.shared.slots.acquire_many(CHANNELS)).await.ok();
        let last = std::mem::replace(&mut *lock(&self.shared.state), State::Down("shutting down".into()));
        if let State::Up(session) = last {
            // A frozen broker must not hold up the exit.
            timeout(CLOSE_WITHIN, session.connection.close(200, "shutting down".into())).await.ok();
            doors::broker_left(USER);
        }
    }

    /// One connection, from its making to its end; answers why it ended.
    async fn session(&self, supervision: &mut Supervision) -> Trouble {
        let session = match self.open().await {
            Ok(session) => Arc::new(session),
            Err(trouble) => return trouble,
        };
        let mut events = session.connection.events_listener();
        *lock(&self.shared.state) = State::Up(Arc::clone(&session));
        supervision.connected();
        let mut condemned = session.condemned.subscribe();
        let attempted = "lost a channel or the connection to RabbitMQ";
        // It may have gone before anybody listened.
        while session.connection.status().connected() {
            tokio::select! {
                Ok(reason) = condemned.wait_for(Option::is_some) => {
                    return reason.clone().unwrap_or_else(|| Trouble::new(attempted));
                }
                event = events.next() => match event {
                    Some(Event::Error(error)) => return Trouble::of(attempted, &error),
                    Some(_) => {}
                    None => break,
                }
            }
        }
        Trouble::new(attempted)
    }

    async fn open(&self) -> Result<Session, Trouble> {
        let connection = connect(&self.shared.options, USER).await?;
        let channel = confirming(&connection).await?;
        topology::ensure(&channel, &self.shared.options, User::Publisher).await?;
        Ok(Session {
            connection,
            idle: Mutex::new(vec![channel]),
            condemned: watch::Sender::new(None),
            declared_at: tokio::sync::Mutex::default(),
        })
    }

    fn live(&self) -> Result<Arc<Session>, String> {
        match &*lock(&self.shared.state) {
            State::Down(reason) => Err(reason.clone()),
            // https://www.rabbitmq.com/docs/alarms: it takes no publishes while memory or disk run low.
            State::Up(session) if session.connection.status().blocked() => {
                Err("RabbitMQ has blocked publishers: it runs low on memory or disk".into())
            }
            State::Up(session) => Ok(Arc::clone(session)),
        }
    }

    async fn publish(&self, delivery: Delivery) -> Result<(), String> {
        let session = self.live()?;
        let _slot = timeout(CHANNEL_WITHIN, self.shared.slots.acquire())
            .await
            .map_err(|_| "RabbitMQ confirms too slowly for what comes in".to_owned())?
            .map_err(|_| "shutting down".to_owned())?;
        let returned = match self.send(&session, &delivery).await? {
            Sent::Kept => return Ok(()),
            Sent::Returned(returned) => returned,
        };
        // A queue or a binding was removed, perhaps: it is declared again before the next publish.
        if self.declare_again(&session).await?
            && let Sent::Kept = self.send(&session, &delivery).await?
        {
            return Ok(());
        }
        Err(format!(
            "RabbitMQ returned the delivery {returned}; add its key to queue.bindings, or disable the event in GitHub"
        ))
    }

    /// Declares the topology again, where it is ours to declare and that was not just done. Says whether it was.
    async fn declare_again(&self, session: &Arc<Session>) -> Result<bool, String> {
        if !self.shared.options.declare {
            return Ok(false);
        }
        let mut declared_at = session.declared_at.lock().await;
        if declared_at.is_some_and(|at| at.elapsed() < DECLARE_AT_MOST_EVERY) {
            // Somebody else may have done it while this one waited.
            return Ok(true);
        }
        *declared_at = Some(Instant::now());
        let declare = async {
            let channel = confirming(&session.connection).await?;
            topology::ensure(&channel, &self.shared.options, User::Publisher).await?;
            lock(&session.idle).push(channel);
            Ok::<_, Trouble>(())
        };
        match timeout(CONFIRM_WITHIN, declare).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(trouble)) => {
                self.condemn(session, trouble.clone());
                Err(trouble.to_string())
            }
            Err(_) => Err("RabbitMQ did not declare the queue again in time".to_owned()),
        }
    }

    async fn send(&self, session: &Arc<Session>, delivery: &Delivery) -> Result<Sent, String> {
        let (key, properties) =
            message::write(delivery).map_err(|error| format!("the delivery cannot be published: {error}"))?;
        let options = BasicPublishOptions {
            // What no queue is bound for comes back, rather than being confirmed and dropped.
            mandatory: true,
            // RabbitMQ does not implement it.
            immediate: false,
        };
        let exchange = topology::name(&self.shared.options.exchange);
        let confirm = async {
            let channel = session.channel().await?;
            let sent =
                channel.basic_publish(exchange, key.clone(), options, &delivery.body, properties).await;
            let confirmation = match sent {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            let confirmation =
                confirmation.map_err(|error| Trouble::of("failed to publish a delivery", &error))?;
            Ok::<_, Trouble>((channel, confirmation))
        };
        let (channel, confirmation) = match timeout(CONFIRM_WITHIN, confirm).await {
            Ok(Ok(confirmed)) => confirmed,
            Ok(Err(trouble)) => {
                self.condemn(session, trouble.clone());
                return Err(trouble.to_string());
            }
            Err(_) => {
                let late = Trouble::new("RabbitMQ did not confirm a delivery in time");
                // While it blocks publishers it is slow on purpose, and a new connection would fare no better.
                if !session.connection.status().blocked() {
                    self.condemn(session, late.clone());
                }
                return Err(late.to_string());
            }
        };
        lock(&session.idle).push(channel);
        match confirmation {
            Confirmation::Ack(None) => Ok(Sent::Kept),
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                let (words, exchange) = (returned.reply_text.to_string(), &self.shared.options.exchange);
                Ok(Sent::Returned(format!("({words}): no queue is bound to {exchange:?} for {key:?}")))
            }
            Confirmation::Nack(None) => Err("RabbitMQ could not keep the delivery (nack)".into()),
            Confirmation::NotRequested => Err("the channel does not ask for confirms".into()),
        }
    }

    /// From here on deliveries are refused at once, until the supervisor has a new connection.
    fn condemn(&self, session: &Arc<Session>, trouble: Trouble) {
        let mut state = lock(&self.shared.state);
        if matches!(&*state, State::Up(current) if Arc::ptr_eq(current, session)) {
            *state = State::Down(trouble.to_string());
            session.condemned.send_replace(Some(trouble));
        }
    }
}

impl Session {
    /// A channel nobody else uses; it goes back to `idle` only when its publish was answered.
    async fn channel(&self) -> Result<Channel, Trouble> {
        let idle = lock(&self.idle).pop();
        match idle {
            Some(channel) => Ok(channel),
            None => confirming(&self.connection).await,
        }
    }
}

impl Inbox for Publisher {
    fn accept(&self, delivery: Delivery) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async {
            self.publish(delivery).await.map_err(|reason| Refused { reason, retry_after: RETRY_AFTER })
        })
    }

    fn ready(&self) -> Result<(), String> {
        self.live().map(drop)
    }
}

async fn confirming(connection: &Connection) -> Result<Channel, Trouble> {
    let channel = open_channel(connection).await?;
    // Without it lapin answers `NotRequested` to every publish. `nowait` false: it must be in force.
    let confirms = channel.confirm_select(ConfirmSelectOptions { nowait: false });
    answer("failed to ask for confirms", confirms).await?;
    Ok(channel)
}

/// No code holds these locks over anything that can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
