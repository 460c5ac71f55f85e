//! A worker's way in, from the queue to a ledger of its own.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use sqlx::{AnyConnection, Connection, SqliteConnection};
use teamlink::{
    intake::{Intake, Verify, VerifyWhen, Watch},
    ledger::{Ledger, Pace},
    model::{OrgFacts, OrgId},
    queue::{Consumer, DeadQueue, Options},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::support::eventually;

/// The tasks that a worker runs for the broker, and their ledger.
pub struct Worker {
    pub ledger: Ledger,
    pub consumer: Consumer,
    pub shutdown: CancellationToken,
    pub tasks: Vec<JoinHandle<()>>,
    url: String,
    directory: tempfile::TempDir,
}

impl Worker {
    /// A worker that consumes.
    pub async fn start(options: Options) -> Self {
        let worker = Self::start_unconnected(options).await;
        worker.is_ready().await;
        worker
    }

    pub async fn start_unconnected(options: Options) -> Self {
        Self::start_with(options, VerifyWhen::Never, &[]).await
    }

    /// A worker that checks signatures.
    pub async fn start_with(options: Options, when: VerifyWhen, secrets: &[&str]) -> Self {
        Self::start_on(None, options, when, secrets).await
    }

    /// A worker on a ledger at this URL, or on an SQLite file of its own.
    pub async fn start_on(url: Option<&str>, options: Options, when: VerifyWhen, secrets: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = url.map_or_else(|| Self::url(&directory), str::to_owned);
        let ledger = Ledger::open(&url).await.unwrap();
        let pace = Pace { debounce: Duration::from_secs(1), max_wait: Duration::from_secs(5) };
        let acme = OrgFacts { id: OrgId(1), login: "acme".into() };
        ledger.bind_org(&acme, ledger.clock().now()).await.unwrap();
        let (watch, wake) = (Watch::new(&[], [(acme.id, acme.login)]), Arc::new(Notify::new()));
        let secrets = secrets.iter().map(|&secret| secret.into()).collect();
        let verify = Verify { when, secrets: watch::channel(secrets).1 };
        let intake = Intake::start(ledger.clone(), watch, pace, wake, Default::default()).verifying(verify);
        let consumer = Consumer::new(options.clone(), intake.clone());
        let dead = DeadQueue::new(options, intake);
        let shutdown = CancellationToken::new();
        let (consuming, draining) = (consumer.clone(), dead.clone());
        let (stop, stop_too) = (shutdown.clone(), shutdown.clone());
        let tasks = vec![
            tokio::spawn(async move { consuming.run(stop).await }),
            tokio::spawn(async move { draining.run(stop_too).await }),
        ];
        Self { ledger, consumer, shutdown, tasks, url, directory }
    }

    pub async fn is_ready(&self) {
        eventually("the consumer is ready", Ok(()), async || self.consumer.ready()).await;
    }

    fn url(directory: &tempfile::TempDir) -> String {
        format!("sqlite:{}", directory.path().join("teamlink.db").display())
    }

    /// A connection to the ledger of nobody's but ours.
    pub async fn sqlite(&self) -> SqliteConnection {
        SqliteConnection::connect(&Self::url(&self.directory)).await.unwrap()
    }

    /// How many different deliveries are in the ledger.
    pub async fn stored(&self) -> i64 {
        let mut sqlite = self.sqlite().await;
        sqlx::query_scalar("SELECT COUNT(*) FROM deliveries").fetch_one(&mut sqlite).await.unwrap()
    }

    /// The GUIDs in the ledger, whichever that is.
    pub async fn stored_guids(&self) -> BTreeSet<String> {
        sqlx::any::install_default_drivers();
        let mut ledger = AnyConnection::connect(&self.url).await.unwrap();
        let guids = sqlx::query_scalar("SELECT guid FROM deliveries").fetch_all(&mut ledger).await.unwrap();
        guids.into_iter().collect()
    }

    /// Every delivery in the ledger: its GUID, its event and what became of it.
    pub async fn deliveries(&self) -> BTreeSet<(String, String, String)> {
        let mut sqlite = self.sqlite().await;
        let rows = sqlx::query_as("SELECT guid, event, outcome FROM deliveries").fetch_all(&mut sqlite).await;
        rows.unwrap().into_iter().collect()
    }

    /// Where each parked delivery was given up on, by its GUID.
    pub async fn parked(&self) -> BTreeSet<(String, String)> {
        let parked = self.ledger.parked().await.unwrap();
        parked.into_iter().map(|parked| (parked.subject, parked.place)).collect()
    }

    /// How many targets are marked.
    pub async fn marks(&self) -> i64 {
        let mut sqlite = self.sqlite().await;
        sqlx::query_scalar("SELECT COUNT(*) FROM marks").fetch_one(&mut sqlite).await.unwrap()
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        self.ledger.close().await;
    }
}

/// A body that marks a team.
pub const TEAM: &[u8] =
    br#"{"action":"created","team":{"id":11,"slug":"a","name":"A"},"organization":{"id":1,"login":"acme"}}"#;

/// Headers of a message.
pub fn headers(headers: &[(&str, &str)]) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    BasicProperties::default().with_headers(table).with_delivery_mode(2)
}

/// A message as our own webhook publishes it.
pub fn github(guid: usize) -> BasicProperties {
    headers(&[("X-GitHub-Event", "team"), ("X-GitHub-Delivery", &format!("guid-{guid}"))])
}
