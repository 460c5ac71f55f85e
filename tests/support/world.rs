//! A sandbox and a daemon in one process, and the questions that tests ask of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Output,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{
    app::{Daemon, Role},
    model::{Asks, Cause},
    sandbox::{self, Remote, Sandbox},
    settings::Settings,
    telemetry::{self, Metrics},
};

/// The secret that the sandbox signs webhooks with.
pub const SECRET: &str = "It's a Secret to Everybody";

/// One recorder serves all tests of a process.
pub fn metrics() -> Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS
        .get_or_init(|| {
            rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
            telemetry::install_metrics().unwrap()
        })
        .clone()
}

/// Settings that sign in as the sandbox's GitHub App. The sandbox does not look at signatures: any key serves.
pub const APP: [(&str, &str); 2] =
    [("GITHUB_APP_ID", "1"), ("GITHUB_APP_PRIVATE_KEY", include_str!("app-key.pem"))];

/// GitHub, Datadog and teamlink.
pub struct World {
    pub sandbox: Sandbox,
    /// A client of the sandbox.
    pub remote: Remote,
    pub daemon: Option<Daemon>,
    pub settings: Settings,
    pub http: reqwest::Client,
    /// The settings, as in the environment.
    pub env: BTreeMap<String, String>,
    /// Requests to Datadog that the test itself made.
    pub asked: AtomicU64,
    dir: tempfile::TempDir,
}

impl World {
    /// A sandbox whose organisation `acme` has this many teams, each with a Datadog team of the same name, and a
    /// daemon that is not started yet. `env` are settings as in the environment.
    pub async fn new(teams: usize, env: &[(&str, &str)]) -> Self {
        Self::with(sandbox::Options { teams, ..Default::default() }, env).await
    }

    /// The same in a sandbox of which the test says more than how many teams there are.
    pub async fn with(options: sandbox::Options, env: &[(&str, &str)]) -> Self {
        metrics();
        let options = sandbox::Options { org: Some("acme".into()), seed: 7, ..options };
        let sandbox = sandbox::start(options).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut all: BTreeMap<String, String> = [
            ("GITHUB_TOKEN", "token"),
            ("DD_API_KEY", "api"),
            ("DD_APP_KEY", "app"),
            ("GITHUB_WEBHOOK_SECRET", SECRET),
            ("TEAMLINK_GITHUB__ORGS", "acme"),
            ("TEAMLINK_GITHUB__BASE_URL", &sandbox.url()),
            ("TEAMLINK_DATADOG__BASE_URL", &sandbox.url()),
            ("TEAMLINK_SERVER__LISTEN", "127.0.0.1:0"),
            ("TEAMLINK_LEDGER__URL", &format!("sqlite:{}", dir.path().join("teamlink.db").display())),
            ("TEAMLINK_RECONCILE__EVERY", "off"),
            ("TEAMLINK_RECONCILE__DEBOUNCE", "50ms"),
            ("TEAMLINK_RECONCILE__MAX_WAIT", "500ms"),
            ("TEAMLINK_RECONCILE__BACKOFF_MIN", "100ms"),
            ("TEAMLINK_GUARD__GRACE", "0s"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        all.extend(env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        if all.contains_key("GITHUB_APP_ID") {
            all.remove("GITHUB_TOKEN");
        }
        let settings = Settings::load(&[], &all).unwrap().settings;
        let http = reqwest::Client::new();
        let remote = Remote::new(sandbox.url()).unwrap();
        Self { sandbox, remote, daemon: None, settings, http, env: all, asked: AtomicU64::new(0), dir }
    }

    /// A file of the world's own, by its whole path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// The same world under other settings.
    pub fn set(&mut self, env: &[(&str, &str)]) {
        self.env.extend(env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.settings = Settings::load(&[], &self.env).unwrap().settings;
    }

    /// Starts the daemon and hooks it to the organisation.
    pub async fn start(&mut self) {
        let daemon = Daemon::start(&self.settings, Role::All, metrics()).await.unwrap();
        let hook = json!({"config": {
            "url": format!("http://{}/webhooks/github", daemon.addr),
            "secret": SECRET,
            "content_type": "json",
        }});
        self.daemon = Some(daemon);
        self.github(Method::POST, "/orgs/acme/hooks", hook).await;
    }

    /// Runs a full pass to its end.
    pub async fn pass(&self) {
        let ledger = teamlink::app::ledger(&self.settings).await.unwrap();
        let worker =
            teamlink::app::worker(&self.settings, ledger, "command", std::sync::Arc::default()).unwrap();
        let orgs =
            worker.begin_pass(&self.settings.github.orgs, Cause::Person, Asks::PERSON).await.unwrap().lanes;
        worker.work_off(&orgs).await.unwrap();
    }

    /// Asks GitHub, and expects success.
    pub async fn github(&self, method: Method, path: &str, body: Value) -> Value {
        self.remote.send(method, path, body).await.unwrap()
    }

    /// Asks Datadog, and expects success.
    pub async fn datadog(&self, method: Method, path: &str, body: Value) -> Value {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.remote.send(method, path, body).await.unwrap()
    }

    /// Sets the sandbox's faults.
    pub async fn faults(&self, faults: Value) {
        self.remote.faults(faults).await.unwrap();
    }

    /// Adds to the world, without webhooks.
    pub async fn seed(&self, seed: Value) {
        self.remote.seed(seed).await.unwrap();
    }

    /// Waits until this many webhooks have been taken.
    pub async fn heard(&self, webhooks: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let stats = self.remote.stats().await.unwrap();
            if stats["webhooks"]["sent"].as_u64() >= Some(webhooks) {
                return;
            }
            assert!(Instant::now() < deadline, "{stats}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every request since a sequence number.
    pub async fn requests(&self, since: u64) -> Vec<Value> {
        self.remote.requests(since).await.unwrap()
    }

    /// The sequence number of the last request.
    pub async fn seq(&self) -> u64 {
        self.requests(0).await.last().map_or(0, |request| request["seq"].as_u64().unwrap())
    }

    /// Ids of Datadog's teams by handle.
    pub async fn datadog_teams(&self) -> BTreeMap<String, String> {
        let mut teams = BTreeMap::new();
        for page in 0.. {
            let path = format!("/api/v2/team?page[size]=100&page[number]={page}");
            let list = self.datadog(Method::GET, &path, Value::Null).await;
            let data = list["data"].as_array().unwrap();
            teams.extend(data.iter().map(|team| {
                let handle = team["attributes"]["handle"].as_str().unwrap().to_owned();
                (handle, team["id"].as_str().unwrap().to_owned())
            }));
            if data.len() < 100 {
                break;
            }
        }
        teams
    }

    /// Every connection that Datadog holds, as `handle = @org/slug`, with who manages it behind unless we do.
    pub async fn connections(&self) -> BTreeSet<String> {
        self.connections_of(&self.handles().await).await
    }

    /// Handles of Datadog's teams by id.
    pub async fn handles(&self) -> BTreeMap<String, String> {
        self.datadog_teams().await.into_iter().map(|(handle, id)| (id, handle)).collect()
    }

    /// The same, where the handles are known already.
    pub async fn connections_of(&self, handles: &BTreeMap<String, String>) -> BTreeSet<String> {
        let mut connections = BTreeSet::new();
        for page in 0.. {
            let path = format!("/api/v2/team/connections?page[size]=100&page[number]={page}");
            let list = self.datadog(Method::GET, &path, Value::Null).await;
            let data = list["data"].as_array().unwrap();
            connections.extend(data.iter().map(|connection| {
                let team = connection["relationships"]["team"]["data"]["id"].as_str().unwrap();
                let github = connection["relationships"]["connected_team"]["data"]["id"].as_str().unwrap();
                let by = connection["attributes"]["managed_by"].as_str().unwrap();
                let by = if by == "teamlink" { String::new() } else { format!(" ({by})") };
                format!("{} = {github}{by}", handles[team])
            }));
            if data.len() < 100 {
                break;
            }
        }
        connections
    }

    /// Waits until Datadog holds exactly these connections; fails with what it holds instead.
    pub async fn becomes(&self, expected: &BTreeSet<String>, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            let now = self.connections().await;
            if now == *expected {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "missing: {:#?}\ntoo many: {:#?}\nlast requests: {:#?}",
                expected.difference(&now).collect::<Vec<_>>(),
                now.difference(expected).collect::<Vec<_>>(),
                self.requests(0)
                    .await
                    .iter()
                    .rev()
                    .filter(|request| request["method"] != "GET")
                    .take(12)
                    .collect::<Vec<_>>(),
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs the command as a person would, with the world's settings.
    pub async fn teamlink(&self, args: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_teamlink"));
        command.args(args).env_clear().envs(&self.env);
        command.output().await.unwrap()
    }

    /// Stops the daemon.
    pub async fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            assert!(daemon.stop().await.is_empty());
        }
    }
}

/// What a command printed, on both of its streams.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Connections that link each of these slugs of `acme` to the Datadog team of the same name.
pub fn linked<S: AsRef<str>>(slugs: impl IntoIterator<Item = S>) -> BTreeSet<String> {
    slugs.into_iter().map(|slug| format!("{0} = @acme/{0}", slug.as_ref())).collect()
}
