//! Workers as processes of their own, on one RabbitMQ and one PostgreSQL.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    net::SocketAddr,
};

use sqlx::{Connection, PgConnection};
use tokio::process::{Child, Command};

use crate::{
    history,
    network::{Corner, Proxy},
    schema::Schema,
    support::{eventually, world::World},
};

/// The built binary as a worker. It dies with the test.
pub struct Worker {
    child: Child,
    address: SocketAddr,
    /// Stands as long as this does.
    _datadog: Proxy,
}

impl Worker {
    /// Starts it under the world's settings and these; what it says goes into the log. It has a way to Datadog of its
    /// own, so that its requests can be told from the others'.
    pub async fn start(world: &World, env: &[(String, String)], log: &File) -> Self {
        Self::run(world, &["--role", "worker"], env, log).await
    }

    /// The same with these arguments.
    pub async fn run(world: &World, args: &[&str], env: &[(String, String)], log: &File) -> Self {
        let datadog = Proxy::to(&world.sandbox.url(), 80).await;
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_teamlink"))
            .arg("run")
            .args(args)
            .env_clear()
            .envs(&world.env)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .env("TEAMLINK_SERVER__LISTEN", address.to_string())
            .env("TEAMLINK_DATADOG__BASE_URL", datadog.url(&world.sandbox.url()))
            .stderr(log.try_clone().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, address, _datadog: datadog }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
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
    let mut connection = PgConnection::connect(&schema.url).await.unwrap();
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

/// What the writes to Datadog since a request say of each other.
#[derive(Debug, Default)]
pub struct Writes {
    pub all: usize,
    pub refused: usize,
    /// How many leases they were made under.
    pub leases: usize,
    /// How often a target was written by another worker than before.
    pub takeovers: usize,
}

/// The writes to Datadog since a request, after the check that none of a target carries a lower fence than one before
/// it, and none of another worker the same.
pub async fn writes_in_order(world: &World, since: u64) -> Writes {
    let mut last: BTreeMap<String, (i64, String)> = BTreeMap::new();
    let mut writes = Writes::default();
    for request in world.requests(since).await {
        if request["method"] == "GET" || !request["path"].as_str().unwrap().starts_with("/api/v2/") {
            continue;
        }
        let fence = request["fence"].as_str().unwrap_or_else(|| panic!("no fence: {request}"));
        let worker = request["host"].as_str().unwrap().to_owned();
        let (target, count) = fence.rsplit_once(':').unwrap();
        let count: i64 = count.parse().unwrap();
        let before = last.insert(target.to_owned(), (count, worker.clone())).unwrap_or_default();
        let taken_over = worker != before.1;
        assert!(
            count >= before.0 + i64::from(taken_over),
            "{target} was written under {before:?} before {request}"
        );
        writes.all += 1;
        writes.refused += usize::from(request["status"].as_u64().unwrap() >= 300);
        writes.leases += usize::from(count > before.0);
        writes.takeovers += usize::from(taken_over && !before.1.is_empty());
    }
    writes
}

/// Who wrote to Datadog since a request.
pub async fn writers(world: &World, since: u64) -> BTreeSet<String> {
    let writes = world.requests(since).await.into_iter().filter(|request| {
        request["method"] != "GET"
            && request["path"].as_str().unwrap().starts_with("/api/v2/team/connections")
    });
    writes.map(|request| request["host"].as_str().unwrap().to_owned()).collect()
}
