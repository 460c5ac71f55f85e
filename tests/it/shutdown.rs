//! The end of a daemon that has work in hand: told once, it finishes or says who was late; told twice, it leaves.

use std::{process::Stdio, time::Duration};

use reqwest::Method;
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
};

use crate::support::world::{self, World};

/// A daemon that waits for an answer of Datadog's, which takes two minutes to come.
async fn stuck(grace: &str) -> (World, Child) {
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let env = [("TEAMLINK_SERVER__SHUTDOWN_GRACE", grace), ("TEAMLINK_SERVER__LISTEN", &listen.to_string())];
    let world = World::new(3, &env).await;
    world.pass().await;
    world.faults(json!([{"path": "/api/v2/*", "latency_ms": 120_000}])).await;
    let daemon = Command::new(env!("CARGO_BIN_EXE_teamlink"))
        .arg("run")
        .env_clear()
        .envs(&world.env)
        .env("TEAMLINK_DATADOG__TIMEOUT", "20s")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let health = format!("http://{listen}/readyz");
    let up = async || world.http.get(&health).send().await.is_ok_and(|answer| answer.status().is_success());
    while !up().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let hook = json!({"config": {
        "url": format!("http://{listen}/webhooks/github"),
        "secret": world::SECRET,
        "content_type": "json",
    }});
    world.github(Method::POST, "/orgs/acme/hooks", hook).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "new"})).await;
    let options: SqliteConnectOptions = world.env["TEAMLINK_LEDGER__URL"].parse().unwrap();
    let mut ledger = SqliteConnection::connect_with(&options.read_only(true)).await.unwrap();
    let sql = "SELECT COUNT(*) FROM leases WHERE holder LIKE 'daemon:%' AND expires_at > 0";
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut ledger).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (world, daemon)
}

async fn signal(daemon: &Child) {
    let id = daemon.id().unwrap().to_string();
    assert!(Command::new("kill").arg(id).status().await.unwrap().success());
}

/// How it ended, and what it said.
async fn end(mut daemon: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    daemon.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    (daemon.wait().await.unwrap().code(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_cannot_finish_in_time_names_who_was_late() {
    let (_world, daemon) = stuck("1s").await;
    signal(&daemon).await;
    let (code, said) = end(daemon).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("worker did not finish within server.shutdown_grace"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_daemon_at_once() {
    let (_world, mut daemon) = stuck("100s").await;
    signal(&daemon).await;
    let mut said = String::new();
    let mut log = daemon.stderr.take().unwrap();
    while !said.contains("received SIGTERM") {
        let mut some = [0; 4096];
        let read = log.read(&mut some).await.unwrap();
        assert!(read > 0, "it ended at the first: {said}");
        said.push_str(&String::from_utf8_lossy(&some[..read]));
    }
    signal(&daemon).await;
    let began = std::time::Instant::now();
    assert_eq!(daemon.wait().await.unwrap().code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(60), "it waited for its work");
    log.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("told twice to stop"), "{said}");
}
