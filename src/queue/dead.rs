//! What the broker gave up delivering goes into the ledger: parked first, then accepted again, once.
//!
//! A message is dead after twenty deliveries in vain. Perhaps it is what brought each of its consumers down; so it is
//! fetched alone, and acknowledged once it is parked, before anybody looks at what it says. It is tried again out of
//! the ledger, which remembers that it was. The queue is asked every few seconds: nothing here waits for a delivery
//! that may never come.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lapin::{
    Channel,
    message::Delivery as Message,
    options::{BasicAckOptions, BasicGetOptions},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    connect::{NOT_FOUND, Supervision, Trouble, answer, connect, open_channel},
    message,
    topology::{self, User},
};
use crate::{intake::Intake, model::Time, telemetry::doors};

const USER: &str = "dead queue";
/// How often an empty dead queue is asked again.
const POLL: Duration = Duration::from_secs(5);
/// How often it is looked for where it does not exist: a topology that somebody else made may have none.
const MISSING: Duration = Duration::from_secs(60);
/// Longest wait between attempts to park a message that the ledger refuses.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Drains the dead queue into what is parked.
#[derive(Clone)]
pub struct DeadQueue {
    options: Options,
    intake: Intake,
}

impl DeadQueue {
    /// A drain that is not connected yet.
    pub fn new(options: Options, intake: Intake) -> Self {
        Self { options, intake }
    }

    /// Drains until `shutdown`. A message in hand that was not acknowledged then comes again.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut supervision = Supervision::new(USER);
        while let Some(trouble) = shutdown.run_until_cancelled(self.session(&mut supervision)).await {
            let missing = trouble.code == Some(NOT_FOUND);
            let wait = supervision.lost(trouble).max(if missing { MISSING } else { Duration::ZERO });
            shutdown.run_until_cancelled(sleep(wait)).await;
        }
        doors::broker_left(USER);
    }

    /// One connection, from its making to its end; answers why it ended.
    async fn session(&self, supervision: &mut Supervision) -> Trouble {
        let connected = async {
            let connection = connect(&self.options, USER).await?;
            let channel = open_channel(&connection).await?;
            topology::ensure(&channel, &self.options, User::DeadQueue).await?;
            Ok::<_, Trouble>((connection, channel))
        };
        // The connection lives as long as this does.
        let (_connection, channel) = match connected.await {
            Ok(connected) => connected,
            Err(trouble) => return trouble,
        };
        supervision.connected();
        loop {
            // First what an earlier process parked and did not try again.
            self.revive().await;
            match self.fetch(&channel).await {
                Ok(true) => {}
                Ok(false) => sleep(POLL).await,
                Err(trouble) => return trouble,
            }
        }
    }

    /// Parks the oldest message; says whether there was one.
    async fn fetch(&self, channel: &Channel) -> Result<bool, Trouble> {
        let queue = &self.options.dead_queue;
        // It stays with the broker until it is parked.
        let options = BasicGetOptions { no_ack: false };
        let got = channel.basic_get(topology::name(queue), options);
        let got = answer(&format!("failed to fetch from {queue:?}"), got).await?;
        let Some(got) = got else { return Ok(false) };
        let tag = got.delivery.delivery_tag;
        self.park(got.delivery).await;
        let acked = channel.basic_ack(tag, BasicAckOptions { multiple: false });
        answer("failed to acknowledge what is parked", acked).await?;
        Ok(true)
    }

    /// Parks a message, however long the ledger refuses.
    async fn park(&self, message: Message) {
        let why = message::why_dead(&message.properties);
        let (key, now) = (message.routing_key.as_str(), Time::from(SystemTime::now()));
        let delivery = message::read(key, &message.properties, Bytes::from(message.data), now);
        let mut waited = Duration::ZERO;
        while let Err(refused) = self.intake.park_dead(delivery.clone(), why.clone()).await {
            let wait = refused.retry_after.max(waited * 2).min(MAX_WAIT);
            doors::consumer_waits(&refused.reason, 1, wait, waited.is_zero());
            sleep(wait).await;
            waited = wait;
        }
    }

    async fn revive(&self) {
        match self.intake.revive_dead().await {
            Ok(0) => {}
            Ok(revived) => doors::dead_revived(revived),
            Err(refused) => doors::consumer_waits(&refused.reason, 1, POLL, false),
        }
    }
}
