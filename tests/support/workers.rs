//! Workers as processes of their own, on one RabbitMQ and one PostgreSQL.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part; a panic is how a test fails"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    net::SocketAddr,
};

use sqlx::Connection;
use tokio::process::{Child, Command};

use crate::{
    history,
    postgres::Schema,
    support::{Corner, eventually},
    world::World,
};

/// The built binary as a worker. It dies with the test.
pub struct Worker {
    child: Child,
    address: SocketAddr,
}

impl Worker {
    /// Starts it under the world's settings and these; what it says goes into the log.
    pub fn start(world: &World, env: &[(String, String)], log: &File) -> Self {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_teamlink"))
            .args(["run", "--role", "worker"])
            .env_clear()
            .envs(&world.env)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .env("TEAMLINK_SERVER__LISTEN", address.to_string())
            .stderr(log.try_clone().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, address }
    }

    /// Waits until it consumes the queue.
    pub async fn ready(&self, world: &World) {
        history::ready(world, self.address).await;
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM. It finishes what it has in hand, and ends in order.
    pub async fn stop(mut self) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").arg(id).status().await.unwrap().success());
        let ended = self.child.wait().await.unwrap();
        assert!(ended.success(), "a worker did not end in order: {ended}");
    }
}

/// A column of the ledger.
pub async fn column(schema: &Schema, sql: &'static str) -> BTreeSet<String> {
    let mut connection = schema.connect().await;
    let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.into_iter().collect()
}

/// Nothing is left to do or was lost, and Datadog is as GitHub is, though it was told by deliveries alone.
pub async fn all_is_well(world: &World, corner: &Corner, schema: &Schema, guids: &BTreeSet<String>) {
    eventually("every write's end is known", BTreeSet::new(), async || {
        column(schema, "SELECT github FROM intents").await
    })
    .await;
    assert_eq!((corner.queued().await, corner.dead().await), (0, 0));
    assert_eq!(world.connections().await, history::expected(world).await);
    assert_eq!(column(schema, "SELECT guid FROM deliveries").await, *guids);
    assert_eq!(column(schema, "SELECT error FROM parked").await, BTreeSet::new());
}

/// The writes to Datadog since a request, after the check that none of a target carries a lower fence than one before
/// it. Answers how many there were, how many of them were refused, and how many leases they were made under.
pub async fn writes_in_order(world: &World, since: u64) -> (usize, usize, usize) {
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    let (mut writes, mut refused, mut leases) = (0, 0, 0);
    for request in world.requests(since).await {
        if request["method"] == "GET" || !request["path"].as_str().unwrap().starts_with("/api/v2/") {
            continue;
        }
        let fence = request["fence"].as_str().unwrap_or_else(|| panic!("no fence: {request}"));
        let (target, count) = fence.rsplit_once(':').unwrap();
        let count: i64 = count.parse().unwrap();
        let before = last.insert(target.to_owned(), count).unwrap_or(0);
        assert!(count >= before, "{target} was written under {before} before {request}");
        leases += usize::from(count > before);
        writes += 1;
        refused += usize::from(request["status"].as_u64().unwrap() >= 300);
    }
    (writes, refused, leases)
}
