//! What `deploy/THREATS.md` says: each test that it names exists, and those that belong nowhere else stand here.

use std::{
    fs::{self, File, Permissions},
    net::{SocketAddr, TcpListener},
    os::unix::fs::{PermissionsExt as _, symlink},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{app, model::Time, settings::Settings, signature};
use tokio::process::Command;

use crate::support::{
    self, eventually,
    world::{APP, SECRET, World, linked, text},
};

#[test]
fn each_threat_names_tests_that_exist() {
    let mut named = 0;
    for line in include_str!("../../deploy/THREATS.md").lines().filter(|line| line.starts_with("| ")) {
        let tests: Vec<&str> = line.split('`').skip(1).step_by(2).filter(|it| it.contains(".rs::")).collect();
        assert!(!tests.is_empty() || line.starts_with("| who "), "no test is named: {line}");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap();
            let code = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(code.contains(&format!("fn {name}(")), "{file} has no test {name}");
            named += 1;
        }
    }
    assert!(named > 20, "only {named} tests are named");
}

/// Sends a daemon a delivery with a good signature.
async fn deliver(world: &World, address: SocketAddr, guid: &str, body: &Value) -> u16 {
    let body = body.to_string();
    let request = world.http.post(format!("http://{address}/webhooks/github"));
    let request = request.header("content-type", "application/json").header("x-github-event", "team");
    let signature = signature::sign(body.as_bytes(), &[SECRET.into()]).unwrap();
    let request = request.header("x-github-delivery", guid).header("x-hub-signature-256", signature);
    request.body(body).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_forged_and_replayed_deletion_costs_looks_and_removes_nothing_though_the_secret_is_known() {
    let mut world = World::new(3, &[]).await;
    world.pass().await;
    let before = world.connections().await;
    world.start().await;
    let address = world.daemon.as_ref().unwrap().addr;
    let org = world.github(Method::GET, "/orgs/acme", Value::Null).await["id"].clone();
    let teams = world.github(Method::GET, "/orgs/acme/teams", Value::Null).await;
    let since = world.seq().await;
    for replay in 0..20 {
        for team in teams.as_array().unwrap() {
            let body = json!({
                "action": "deleted",
                "team": {"id": team["id"], "slug": team["slug"], "name": "x"},
                "organization": {"id": org, "login": "acme"},
            });
            let guid = format!("{}-{}", team["slug"], replay % 2);
            assert_eq!(deliver(&world, address, &guid, &body).await, 202);
        }
    }
    let ledger = app::ledger(&world.settings).await.unwrap();
    let now = || Time::from(std::time::SystemTime::now());
    let org = ledger.orgs().await.unwrap()[0].facts.id;
    let unanswered =
        async || ledger.progress(teamlink::model::Lane::Org(org), now()).await.unwrap().unanswered;
    eventually("all are looked at", 0, unanswered).await;
    let writes = world.requests(since).await.into_iter().filter(|request| request["method"] != "GET").count();
    assert_eq!(writes, 0);
    assert_eq!(world.connections().await, before);
    world.stop().await;
}

#[tokio::test]
async fn the_admin_token_opens_nothing_that_could_write() {
    let token = "sekret-admin-token";
    let mut world = World::new(1, &[("TEAMLINK_SERVER__ADMIN_TOKEN", token)]).await;
    world.start().await;
    let url = format!("http://{}", world.daemon.as_ref().unwrap().addr);
    for path in ["/", "/api/held", "/api/approve", "/api/parked/1/replay"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let request = world.http.request(method.clone(), format!("{url}{path}")).bearer_auth(token);
            let status = request.send().await.unwrap().status().as_u16();
            assert!([404, 405].contains(&status), "{method} {path}: {status}");
        }
    }
    world.stop().await;
}

/// The secrets that a process is given here. None is a part of anything else.
const SECRETS: [(&str, &str); 6] = [
    ("GITHUB_TOKEN", "sekret-github-token"),
    ("DD_API_KEY", "sekret-datadog-api"),
    ("DD_APP_KEY", "sekret-datadog-app"),
    ("GITHUB_WEBHOOK_SECRET", "sekret-webhook"),
    ("TEAMLINK_SERVER__ADMIN_TOKEN", "sekret-admin"),
    ("AMQP_URL", "sekret-amqp"),
];

/// The forms in which a secret might be written.
fn forms(secret: &str) -> [String; 4] {
    let bytes = format!("{:?}", secret.as_bytes());
    let bytes = bytes.trim_matches(['[', ']']).to_owned();
    // The beginning is left out, and the end: base64 writes them with what stands beside them.
    let middle = BASE64_STANDARD.encode(secret);
    let middle = middle.trim_end_matches('=');
    [secret.to_owned(), bytes, hex::encode(secret), middle[..middle.len() - 2].to_owned()]
}

#[track_caller]
fn keeps_secrets(what: &str, said: &str) {
    let key: Vec<&str> = APP[1].1.lines().filter(|line| line.len() > 40).collect();
    let all = SECRETS.iter().flat_map(|(_, secret)| forms(secret)).chain(key.into_iter().map(str::to_owned));
    // What a token of GitHub's App begins with: base64 of `{"`, as in each JWT.
    for secret in all.chain(["eyJ".to_owned(), SECRET.to_owned()]) {
        if let Some(at) = said.find(&secret) {
            let from = said.floor_char_boundary(at.saturating_sub(300));
            let to = said.ceil_char_boundary((at + 100).min(said.len()));
            panic!("{what} tells {secret:?}: …{}…", &said[from..to]);
        }
    }
}

/// A daemon that tells all that it can, into a file.
struct Talkative {
    process: tokio::process::Child,
    address: SocketAddr,
    log: String,
}

impl Talkative {
    fn start(world: &World, name: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = world.file(name, "");
        let process = Command::new(env!("CARGO_BIN_EXE_teamlink"))
            .arg("run")
            .env_clear()
            .envs(&world.env)
            .env("RUST_LOG", "trace")
            .env("TEAMLINK_SERVER__LISTEN", address.to_string())
            .stderr(File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { process, address, log }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    async fn says(&self, text: &str) {
        eventually(text, true, async || self.said().contains(text)).await;
    }

    /// What it tells over HTTP.
    async fn pages(&self, world: &World) -> String {
        let mut pages = String::new();
        for path in ["/metrics", "/healthz", "/readyz", "/"] {
            let answer = world.http.get(format!("http://{}{path}", self.address)).send().await.unwrap();
            pages += &answer.text().await.unwrap();
        }
        pages
    }

    async fn stop(mut self, world: &World, what: &str) {
        keeps_secrets(what, &self.pages(world).await);
        self.process.kill().await.unwrap();
        let said = self.said();
        assert!(said.len() > 10_000, "hardly anything was logged: {said}");
        keeps_secrets(what, &said);
    }
}

#[tokio::test]
async fn no_secret_is_told_by_logs_pages_commands_or_debug_whether_it_is_right_or_wrong() {
    let secret = |name: &str| SECRETS.iter().find(|(it, _)| *it == name).unwrap().1;
    let given: Vec<_> = SECRETS.iter().copied().filter(|(name, _)| *name != "AMQP_URL").collect();
    let mut world = World::new(2, &given).await;
    world.set(&[("TEAMLINK_RECONCILE__EVERY", "1h")]);

    // Before the daemon reads the list of Datadog's teams, which it then keeps for a while.
    world.seed(json!({"datadog_teams": [{"handle": "new-team", "name": "New"}]})).await;

    // All is well: a pass, an event, a forged one.
    let daemon = Talkative::start(&world, "well.log");
    daemon.says("is up").await;
    let hook = json!({"config": {
        "url": format!("http://{}/webhooks/github", daemon.address),
        "secret": secret("GITHUB_WEBHOOK_SECRET"),
        "content_type": "json",
    }});
    world.github(Method::POST, "/orgs/acme/hooks", hook).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "New team"})).await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    world.becomes(&linked(slugs), Duration::from_secs(60)).await;
    assert_eq!(deliver(&world, daemon.address, "forged", &json!({})).await, 401);
    for command in [
        &["check"][..],
        &["sync", "-vv"],
        &["plan", "-vv"],
        &["explain", "acme/new-team"],
        &["audit"],
        &["connections", "list"],
        &["parked", "list"],
    ] {
        keeps_secrets(&command.join(" "), &text(&world.teamlink(command).await));
    }
    daemon.stop(&world, "a daemon that works").await;

    // Nothing is well: keys that are refused, an app's key, a broker that does not know us.
    let url = url::Url::parse(&support::amqp_url()).unwrap();
    let broker = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5672));
    let amqp = format!("amqp://teamlink:{}@{broker}/%2f", secret("AMQP_URL"));
    world
        .faults(json!([
            {"path": "/orgs/*", "status": 401, "body": "{\"message\": \"Bad credentials\"}"},
            {"path": "/app*", "status": 401, "body": "{\"message\": \"Bad credentials\"}"},
            {"path": "/api/*", "status": 403, "body": "{\"errors\": [\"Forbidden\"]}"},
        ]))
        .await;
    world.env.remove("GITHUB_TOKEN");
    world.set(&[APP[0], APP[1], ("AMQP_URL", &amqp)]);
    let daemon = Talkative::start(&world, "unwell.log");
    daemon.says("failed to connect to RabbitMQ").await;
    daemon.says("Bad credentials").await;
    for command in [&["check"][..], &["check", "-vv"], &["plan"], &["connections", "list"]] {
        keeps_secrets(&command.join(" "), &text(&world.teamlink(command).await));
    }
    daemon.stop(&world, "a daemon that does not work").await;

    // Settings, well or mistaken.
    keeps_secrets("Debug", &format!("{:?}", Settings::load(&[], &world.env).unwrap()));
    for (name, value) in [
        ("TEAMLINK_QUEUE__URL", format!("kafka://teamlink:{}@host", secret("AMQP_URL"))),
        ("AMQP_URL", format!("amqp//teamlink:{}@host", secret("AMQP_URL"))),
        ("TEAMLINK_GITHUB__BASE_URL", format!("https://me:{}@host:port", secret("GITHUB_TOKEN"))),
        ("TEAMLINK_DATADOG__BASE_URL", format!("ftp://me:{}@host", secret("DD_API_KEY"))),
        ("TEAMLINK_LEDGER__URL", format!("mysql://me:{}@host", secret("DD_API_KEY"))),
        ("TEAMLINK_LEDGER__URL", format!("postgres://me:{}@127.0.0.1:1/nowhere", secret("DD_API_KEY"))),
    ] {
        let mut env = world.env.clone();
        env.insert(name.to_owned(), value);
        let mut command = Command::new(env!("CARGO_BIN_EXE_teamlink"));
        let output = command.args(["parked", "list", "-vv"]).env_clear().envs(&env).output().await.unwrap();
        assert!(!output.status.success(), "{name} was taken");
        keeps_secrets(name, &text(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_teamlink_makes_is_its_users_alone_and_goes_through_no_link() {
    let mut world = World::new(1, &[]).await;
    let ledger = world.file("private.db", "");
    let beside = |name: &str| ledger.replace("private.db", name);
    fs::set_permissions(&ledger, Permissions::from_mode(0o644)).unwrap();
    world.set(&[("TEAMLINK_LEDGER__URL", &format!("sqlite:{ledger}"))]);
    world.start().await;
    let plan = beside("plan.json");
    assert!(world.teamlink(&["plan", "--out", &plan]).await.status.success());
    for name in ["private.db", "private.db-wal", "private.db-shm", "private.db.lock", "plan.json"] {
        let mode = fs::metadata(beside(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    world.stop().await;

    let theirs = world.file("theirs", "theirs");
    fs::remove_file(beside("private.db.lock")).unwrap();
    for (link, command) in [("plan-link", vec!["plan", "--out", "LINK"]), ("private.db.lock", vec!["run"])] {
        let link = beside(link);
        symlink(&theirs, &link).unwrap();
        let args: Vec<&str> = command.into_iter().map(|it| if it == "LINK" { &link } else { it }).collect();
        let output = world.teamlink(&args).await;
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("it is a symbolic link"), "{}", text(&output));
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
    }
    let shown = world.teamlink(&["plan", "--out", "/dev/stdout"]).await;
    assert!(shown.status.success(), "{}", text(&shown));
}
