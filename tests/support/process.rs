//! The built worker as a process of its own, as people run it.

use std::net::{SocketAddr, TcpListener};

use reqwest::Method;
use serde_json::json;
use tokio::process::{Child, Command};

use super::{
    eventually,
    world::{SECRET, World},
};

/// A running `teamlink run`.
pub struct Process {
    child: Child,
    listen: String,
}

impl Process {
    /// Starts it with the world's settings, and waits until it is ready.
    pub async fn start(world: &World) -> Self {
        Self::start_with(world, []).await
    }

    /// The same with these in its environment too.
    pub async fn start_with(world: &World, env: impl IntoIterator<Item = (&str, String)>) -> Self {
        Self::start_command(world, Command::new(env!("CARGO_BIN_EXE_teamlink")), env).await
    }

    /// The same, and it may open so many files.
    pub async fn start_with_files(world: &World, files: u32) -> Self {
        let mut limited = Command::new("sh");
        let binary = env!("CARGO_BIN_EXE_teamlink");
        limited.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\""), binary]);
        Self::start_command(world, limited, []).await
    }

    async fn start_command(
        world: &World,
        mut command: Command,
        env: impl IntoIterator<Item = (&str, String)>,
    ) -> Self {
        command.arg("run").env_clear().envs(&world.env).envs(env);
        Self::spawn(world, command).await
    }

    /// Spawns this command, which has all its other settings, and waits until it is healthy.
    pub async fn spawn(world: &World, mut command: Command) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = port.local_addr().unwrap().to_string();
        drop(port);
        command.env("TEAMLINK_TELEMETRY__LOG", "warn").env("TEAMLINK_SERVER__LISTEN", &listen);
        command.kill_on_drop(true);
        let started = Self { child: command.spawn().unwrap(), listen };
        let healthy = started.url("/healthz");
        let answers = async || world.http.get(&healthy).send().await.is_ok_and(|it| it.status().is_success());
        eventually("the worker is healthy", true, answers).await;
        started
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listen.parse().unwrap()
    }

    /// The URL of a route of its own.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    /// Has GitHub send this organisation's webhooks to it.
    pub async fn hook(&self, world: &World, login: &str) {
        let config = json!({"url": self.url("/webhooks/github"), "secret": SECRET, "content_type": "json"});
        world.github(Method::POST, &format!("/orgs/{login}/hooks"), json!({"config": config})).await;
    }

    /// The most memory that it has taken so far, in MB.
    pub fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Stops it as an orchestrator does.
    pub async fn stop(mut self) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        assert!(self.child.wait().await.unwrap().success());
    }
}
