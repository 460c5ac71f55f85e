//! What `deploy/THREATS.md` says: each test that it names exists, and those that belong nowhere else stand here.

use std::{
    fs::{self, File, Permissions},
    net::{SocketAddr, TcpListener},
    os::unix::fs::{PermissionsExt as _, symlink},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Method;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use teamlink::{app, model::Time, settings::Settings, signature};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::support::{
    self, eventually,
    process::Process,
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
pub async fn deliver(world: &World, address: SocketAddr, guid: &str, body: &Value) -> u16 {
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

#[tokio::test]
async fn a_web_page_whose_name_leads_to_this_machine_reads_no_metrics() {
    let mut world = World::new(1, &[]).await;
    world.start().await;
    let url = format!("http://{}/metrics", world.daemon.as_ref().unwrap().addr);
    let asks = async |host: &str| world.http.get(&url).header("host", host).send().await.unwrap().status();
    assert_eq!(asks("evil.example").await, 421);
    assert_eq!(asks("localhost:8080").await, 200);
    assert_eq!(world.http.get(&url).send().await.unwrap().status(), 200);
    world.stop().await;
}

#[tokio::test]
async fn whoever_answers_in_place_of_postgresql_ends_a_command_with_an_error_and_no_more() {
    let header = |length: u32| [&b"R"[..], &length.to_be_bytes()].concat();
    for answer in [header(0), header(u32::MAX), b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Vec::new()] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://u:p@{}/teamlink", listener.local_addr().unwrap());
        let said = answer.clone();
        let server = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                connection.write_all(&said).await.ok();
                held.push(connection);
            }
        });
        let world = World::new(0, &[("TEAMLINK_LEDGER__URL", &url)]).await;
        let ran = tokio::time::timeout(Duration::from_secs(60), world.teamlink(&["audit"])).await;
        let ran = ran.unwrap_or_else(|_| panic!("it hangs: {answer:?}"));
        assert_eq!(ran.status.code(), Some(1), "{answer:?}: {}", text(&ran));
        assert!(
            text(&ran).contains("failed to connect to the ledger's PostgreSQL at 127.0.0.1"),
            "{}",
            text(&ran)
        );
        server.abort();
    }
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
    let planned = world.teamlink(&["plan", "--out", &plan]).await;
    assert_ne!(planned.status.code(), Some(1), "{}", text(&planned));
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
    assert_ne!(shown.status.code(), Some(1), "{}", text(&shown));
}

/// The head of a delivery whose signature has the form of one.
fn unsigned(length: usize) -> String {
    format!(
        "POST /webhooks/github HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-github-event: team\r\n\
         x-github-delivery: g\r\nx-hub-signature-256: sha256={}\r\ncontent-length: {length}\r\n\r\n",
        "0".repeat(64)
    )
}

/// How many of a hundred deliveries with a good signature are taken.
async fn taken_of_a_hundred(world: &World, address: SocketAddr) -> usize {
    let mut taken = 0;
    for number in 0..100 {
        let body = json!({"action": "edited", "team": {"id": 7}, "organization": {"id": 1, "login": "acme"}});
        taken += usize::from(deliver(world, address, &format!("signed-{number}"), &body).await == 202);
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn held_connections_keep_nobody_out_and_hold_up_no_stop() {
    let world = World::new(1, &[]).await;
    let worker = Process::start_with_files(&world, 1024).await;
    let own = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: own.maximum, ..own }).unwrap();
    let mut held = Vec::new();
    for _ in 0..1100 {
        let mut connection = TcpStream::connect(worker.address()).await.unwrap();
        connection.write_all(b"POST /webhooks/github HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        held.push(connection);
    }
    let within = Duration::from_secs(5);
    let healthy = timeout(within, world.http.get(worker.url("/healthz")).send()).await;
    assert!(healthy.expect("within 5 s").unwrap().status().is_success());
    let body = json!({"action": "edited", "team": {"id": 7}, "organization": {"id": 1, "login": "acme"}});
    let answer = timeout(within, deliver(&world, worker.address(), "signed", &body)).await;
    assert_eq!(answer.expect("within 5 s"), 202);
    held.push(TcpStream::connect(worker.address()).await.unwrap());
    timeout(within, worker.stop()).await.expect("it stops within 5 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_of_large_bodies_without_the_secret_keep_no_delivery_out() {
    let world = World::new(1, &[]).await;
    let worker = Process::start(&world).await;
    let address = worker.address();
    let senders: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn(async move {
                let piece = vec![b'x'; 64 << 10];
                loop {
                    let mut sender = TcpStream::connect(address).await.unwrap();
                    // Whoever is answered before the end begins again.
                    drop(sender.write_all(unsigned(25 << 20).as_bytes()).await);
                    for _ in 0..400 {
                        if sender.write_all(&piece).await.is_err() {
                            break;
                        }
                    }
                    drop(sender.read(&mut [0; 12]).await);
                }
            })
        })
        .collect();
    let taken = taken_of_a_hundred(&world, address).await;
    senders.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(taken >= 99, "{taken} of 100");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_large_senders_fill_no_memory() {
    let world = World::new(1, &[]).await;
    let worker = Process::start(&world).await;
    let (address, piece, before) = (worker.address(), vec![b'x'; 1 << 20], worker.peak());
    let mut senders = Vec::new();
    for _ in 0..1000 {
        let mut sender = TcpStream::connect(address).await.unwrap();
        sender.write_all(unsigned(25 << 20).as_bytes()).await.unwrap();
        // What the other side does not read fills the buffers of the kernel, and then waits.
        drop(timeout(Duration::from_millis(5), sender.write_all(&piece)).await);
        senders.push(sender);
    }
    assert!(taken_of_a_hundred(&world, address).await >= 99);
    println!("1,000 senders of large bodies: {} MB, {before} MB before", worker.peak());
    assert!(worker.peak() <= 150, "{} MB", worker.peak());
    worker.stop().await;
}

#[tokio::test]
async fn what_may_go_in_the_clear_is_said_by_check_and_in_the_log() {
    // RFC 5737: nobody has this address.
    let otlp = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://192.0.2.1:4318");
    let mut world = World::new(1, &[]).await;
    world.env.insert(otlp.0.to_owned(), otlp.1.to_owned());
    let refused = world.teamlink(&["check"]).await;
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused));
    let remedy = "write `https://`, or list 192.0.2.1 in network.allow_plaintext";
    assert!(text(&refused).contains(remedy), "{}", text(&refused));

    world.set(&[otlp, ("TEAMLINK_NETWORK__ALLOW_PLAINTEXT", "192.0.2.1")]);
    let check = world.teamlink(&["check"]).await;
    let finding =
        "connections are encrypted: telemetry.otlp_endpoint: credentials go to 192.0.2.1 in the clear";
    assert!(check.status.success() && text(&check).contains(finding), "{}", text(&check));
    let log = world.file("log", "");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_teamlink"));
    daemon.arg("run").env_clear().envs(&world.env).stderr(File::create(&log).unwrap()).kill_on_drop(true);
    let _daemon = daemon.spawn().unwrap();
    let says = async || {
        let log = fs::read_to_string(&log).unwrap();
        log.lines().any(|line| line.contains("without TLS") && line.contains("192.0.2.1"))
    };
    eventually("the daemon says so", true, says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_captured_body_under_new_guids_fills_no_disk() {
    let mut world = World::new(1, &[]).await;
    world.start().await;
    let address = world.daemon.as_ref().unwrap().addr;
    let size = || {
        let ledger = world.file("kept", "");
        let files = fs::read_dir(std::path::Path::new(&ledger).parent().unwrap()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let before = size();
    // It can't be decoded as an event of a team: the name of the event is not signed.
    let body = json!({"action": "created", "zen": "x".repeat(1 << 20)});
    for number in 0..100 {
        assert_eq!(deliver(&world, address, &format!("again-{number}"), &body).await, 202);
    }
    let ledger = app::ledger(&world.settings).await.unwrap();
    let parked = ledger.parked().await.unwrap();
    assert_eq!(parked.len(), 100);
    let kept = i64::try_from(body.to_string().len()).unwrap();
    assert!(parked.iter().all(|one| one.body_bytes == Some(kept)));
    let (grown, most) = (size() - before, 16 << 20);
    assert!(grown < most, "{grown} bytes");
    world.stop().await;
}
