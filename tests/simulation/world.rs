//! GitHub, Datadog and a worker in one thread, without sockets, on a clock that only the simulation moves.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use globset::{GlobBuilder, GlobSetBuilder};
use serde_json::{Value, json};
use teamlink::{
    clock::Clock,
    datadog, github,
    intake::{Intake, Watch},
    ledger::{Ledger, LedgerError, OrgState, Pace},
    mapping::{RuleSpec, Rules},
    model::{Delivery, MissingTeam, Mode, OrgId, TeamId, Time},
    plan::Limits,
    reconcile::{Options, OrgPolicy, Survey, Worker},
    sandbox::{self, Webhook},
    transport,
    upstream::Backoff,
};
use tower::ServiceExt as _;

use super::gate::{Gate, Step};

/// Our mark, and somebody else's.
pub const OURS: &str = "teamlink";
pub const THEIRS: &str = "terraform";

/// 2026-01-01.
pub const START: Time = Time(1_767_225_600_000_000);

/// A request with the credentials of both services.
pub fn request(method: &str, path: &str, body: &Value) -> http::Request<Bytes> {
    http::Request::builder()
        .method(method)
        .uri(format!("http://sandbox{path}"))
        .header("authorization", "token t")
        .header("dd-api-key", "k")
        .header("dd-application-key", "a")
        .body(if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) })
        .unwrap()
}

/// What an operator has set.
#[derive(Clone, Debug)]
pub struct Setup {
    pub rules: Vec<RuleSpec>,
    pub mode: Mode,
    pub missing_team: MissingTeam,
    pub limits: Limits,
    pub max_per_window: usize,
    pub window: Duration,
    pub grace: Duration,
    pub protected: Vec<String>,
    /// Logins whose organisations are only observed.
    pub observed: Vec<String>,
    pub first_creates: usize,
    /// `github.orgs`; none = all that are known.
    pub orgs: Vec<String>,
    /// `datadog.managed_by`.
    pub managed_by: &'static str,
    /// Items on a full page of a list.
    pub page: usize,
}

/// A connection as Datadog holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub datadog_team: String,
    /// `@org/slug`, lower-cased.
    pub github: String,
    pub managed_by: String,
}

pub struct World {
    pub clock: Clock,
    pub ledger: Ledger,
    pub worker: Worker,
    pub setup: Setup,
    pub org: OrgId,
    /// What the organisation is called now.
    pub login: String,
    service: transport::Direct,
    /// The way to both services.
    wire: transport::Direct,
    /// Where this world's workers can be made to stand still.
    pub gate: Gate,
    pub webhooks: tokio::sync::mpsc::UnboundedReceiver<Webhook>,
    intake: Intake,
    wake: Arc<tokio::sync::Notify>,
    seq: u64,
}

/// What every world has in common: an empty ledger, ready to be copied.
pub static EMPTY_LEDGER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("empty.db");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let open = async { Ledger::open(&url(&path)).await.unwrap().close().await };
            runtime.block_on(open);
        });
    });
    std::fs::read(path).unwrap()
});

pub fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// The clients set up TLS, though nothing here uses it.
pub fn rustls() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
}

impl World {
    /// An organisation `acme` with this many teams, each with a Datadog team of the same name. `dir` is empty.
    pub async fn new(seed: u64, teams: usize, setup: Setup, dir: &Path) -> Self {
        let clock = Clock::simulated(START, seed);
        let options = sandbox::Options { org: Some("acme".into()), teams, seed, ..Default::default() };
        // A clock that is set is this machine's alone.
        let told = clock.of_another_machine();
        let now = move || u64::try_from(told.now().0).unwrap();
        let sandbox::InProcess { service, webhooks } = sandbox::in_process(&options, now).unwrap();
        let path = dir.join("ledger.db");
        std::fs::write(&path, &*EMPTY_LEDGER).unwrap();
        let gate = Gate::default();
        let ledger = Ledger::open_behind(&url(&path), gate.turnstile()).await.unwrap();
        let ledger = ledger.on_machine(clock.clone(), None);
        let wake = Arc::new(tokio::sync::Notify::new());
        let pace = Pace { debounce: Duration::from_secs(1), max_wait: Duration::from_secs(5) };
        let watch = Watch::new(&["acme".to_owned()], []);
        let intake = Intake::start(ledger.clone(), watch, pace, wake.clone(), clock.clone());
        let wire = gate.before(service.clone());
        let worker = worker(&wire, &ledger, &setup, &clock, &wake);
        let mut world = Self {
            clock,
            ledger,
            worker,
            setup,
            org: OrgId(0),
            login: "acme".into(),
            service,
            wire,
            gate,
            webhooks,
            intake,
            wake,
            seq: 0,
        };
        let (_, org) = world.ask("GET", "/orgs/acme", Value::Null).await;
        world.org = OrgId(org["id"].as_i64().unwrap());
        world
    }

    /// Another worker on the same ledger.
    pub fn another(&self) -> Worker {
        worker(&self.wire, &self.ledger, &self.setup, &self.clock, &self.wake)
    }

    /// A worker on another machine, which has this clock and shares the ledger as PostgreSQL is shared: it follows the
    /// clock of the database.
    pub fn on_another_machine(&self, clock: &Clock, database: &Clock) -> Worker {
        let ledger = self.ledger.on_machine(clock.clone(), Some(database.clone()));
        worker(&self.wire, &ledger, &self.setup, clock, &self.wake)
    }

    /// The daemon is started anew, with what is set now.
    pub async fn restart(&mut self) {
        let mode = format!("{:?}", self.setup.mode);
        let rules = Rules::compile(self.setup.rules.clone()).unwrap().fingerprint();
        self.ledger = self.ledger.on_machine(self.clock.clone(), None).under(&rules, &mode);
        self.worker = self.another();
        self.ledger.end_daemon_leases().await.unwrap();
        self.ledger.mark_interrupted(None, self.clock.now()).await.unwrap();
    }

    /// What plans for a person.
    pub fn survey(&self) -> Survey {
        let (github, datadog, _, options) = clients(&self.wire, &self.setup, &self.clock);
        Survey::new(github, datadog, self.ledger.clone(), options)
    }

    /// Asks both services; an answer that is no JSON is null.
    pub async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let response = self.service.clone().oneshot(request(method, path, &body)).await.unwrap();
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
    }

    pub async fn faults(&self, faults: &[Value]) {
        let (status, _) = self.ask("PUT", "/_sandbox/faults", json!(faults)).await;
        assert_eq!(status, 204, "{faults:?}");
    }

    /// The requests since the last time.
    pub async fn requests(&mut self) -> Vec<Value> {
        let (_, requests) =
            self.ask("GET", &format!("/_sandbox/requests?since={}", self.seq), Value::Null).await;
        let requests = requests.as_array().unwrap().clone();
        self.seq = requests.last().map_or(self.seq, |last| last["seq"].as_u64().unwrap());
        requests
    }

    /// Every request that there was: of those that a person repeats.
    pub async fn story(&self) -> Vec<String> {
        let (_, requests) = self.ask("GET", "/_sandbox/requests", Value::Null).await;
        let line = |it: &Value| {
            let field = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
            let (method, path, query, fence) =
                (field("method"), field("path"), field("query"), field("fence"));
            format!("{} {method} {path}?{query} {} {fence} {}", it["at_us"], it["status"], it["body"])
        };
        requests.as_array().unwrap().iter().map(line).collect()
    }

    /// GitHub's teams by id, as they are: `org/slug`.
    pub async fn teams(&self) -> BTreeMap<TeamId, String> {
        let (_, teams) =
            self.ask("GET", &format!("/orgs/{}/teams?per_page=100", self.login), Value::Null).await;
        let team = |team: &Value| {
            Some((TeamId(team["id"].as_i64()?), format!("{}/{}", self.login, team["slug"].as_str()?)))
        };
        teams.as_array().unwrap().iter().filter_map(team).collect()
    }

    /// Datadog's teams: id by handle.
    pub async fn datadog_teams(&self) -> BTreeMap<String, String> {
        let (_, teams) = self.ask("GET", "/api/v2/team?page[size]=100", Value::Null).await;
        let team = |team: &Value| {
            let handle = team["attributes"]["handle"].as_str()?;
            Some((handle.to_owned(), team["id"].as_str()?.to_owned()))
        };
        teams["data"].as_array().unwrap().iter().filter_map(team).collect()
    }

    /// Datadog's connections by id.
    pub async fn connections(&self) -> BTreeMap<String, Connection> {
        let (_, list) = self.ask("GET", "/api/v2/team/connections?page[size]=100", Value::Null).await;
        let connection = |it: &Value| {
            let connection = Connection {
                datadog_team: it["relationships"]["team"]["data"]["id"].as_str()?.to_owned(),
                github: it["relationships"]["connected_team"]["data"]["id"].as_str()?.to_lowercase(),
                managed_by: it["attributes"]["managed_by"].as_str()?.to_owned(),
            };
            Some((it["id"].as_str()?.to_owned(), connection))
        };
        list["data"].as_array().unwrap().iter().filter_map(connection).collect()
    }

    /// Renames a GitHub team; where the name is taken, nothing happens.
    pub async fn rename(&self, slug: &str, name: &str) {
        self.ask("PATCH", &format!("/orgs/{}/teams/{slug}", self.login), json!({"name": name})).await;
    }

    /// Deletes a GitHub team.
    pub async fn delete(&self, slug: &str) {
        self.ask("DELETE", &format!("/orgs/{}/teams/{slug}", self.login), Value::Null).await;
    }

    /// Makes a GitHub team; where the name is taken, nothing happens.
    pub async fn create(&self, name: &str) {
        self.ask("POST", &format!("/orgs/{}/teams", self.login), json!({"name": name})).await;
    }

    /// Renames the organisation.
    pub async fn rename_org(&mut self, login: &str) {
        self.ask("PATCH", &format!("/orgs/{}", self.login), json!({"login": login})).await;
        let (_, org) = self.ask("GET", &format!("/organizations/{}", self.org), Value::Null).await;
        self.login = org["login"].as_str().unwrap().to_owned();
    }

    /// Makes a Datadog team; where the handle is taken, nothing happens.
    pub async fn datadog_team(&self, name: &str) {
        let attributes = json!({"handle": name.to_lowercase(), "name": name});
        self.ask("POST", "/api/v2/team", json!({"data": {"type": "team", "attributes": attributes}})).await;
    }

    /// Connects by hand, and answers the connection's id.
    pub async fn connect(&self, datadog_team: &str, slug: &str, managed_by: &str) -> Option<String> {
        let connection = json!({"data": [{
            "type": "team_connection",
            "attributes": {"managed_by": managed_by, "source": "github"},
            "relationships": {
                "team": {"data": {"id": datadog_team, "type": "team"}},
                "connected_team": {"data": {"id": format!("@{}/{slug}", self.login), "type": "github_team"}},
            },
        }]});
        let (_, made) = self.ask("POST", "/api/v2/team/connections", connection).await;
        Some(made["data"][0]["id"].as_str()?.to_owned())
    }

    /// Disconnects by hand.
    pub async fn disconnect(&self, id: &str) {
        let body = json!({"data": [{"id": id, "type": "team_connection"}]});
        self.ask("DELETE", "/api/v2/team/connections", body).await;
    }

    /// Delivers webhooks at the door.
    pub async fn deliver(&self, webhooks: Vec<Webhook>) {
        deliver(&self.intake, webhooks, self.clock.now()).await;
    }

    /// What the ledger remembers.
    pub async fn state(&self) -> Option<OrgState> {
        self.ledger.org_state(self.org).await.unwrap()
    }

    /// The connections of ours that the ledger knows and Datadog has.
    pub async fn owned(&self) -> BTreeSet<String> {
        let there = self.connections().await;
        let owned = self.state().await.map(|state| state.owned).unwrap_or_default();
        owned.into_iter().map(|owned| owned.id.to_string()).filter(|id| there.contains_key(id)).collect()
    }

    /// Lets the worker do what falls due within this time.
    pub async fn work(&self, horizon: Duration) {
        work(self.worker.clone(), self.clock.clone(), horizon).await;
    }

    /// The same, but the process is killed between two of its steps; says whether it came so far.
    pub async fn work_and_crash(&self, horizon: Duration, step: Step, steps: u64) -> bool {
        let crashed = {
            let mut work = std::pin::pin!(self.work(horizon));
            self.gate.stops(&mut work, step, steps).await
        };
        // Whoever else met the gate, the renewal of a lease say, goes on.
        self.gate.open();
        crashed
    }
}

/// Delivers webhooks at the door of an intake.
pub async fn deliver(intake: &Intake, webhooks: Vec<Webhook>, received_at: Time) {
    let delivery = |webhook: Webhook| Delivery {
        guid: webhook.guid.to_string(),
        event: webhook.event.to_owned(),
        host: None,
        signature: None,
        received_at,
        body: webhook.body,
    };
    intake.accept_all(webhooks.into_iter().map(delivery).collect()).await.unwrap();
}

/// Lets a worker do what falls due within this time.
pub async fn work(worker: Worker, clock: Clock, horizon: Duration) {
    let end = clock.now() + horizon;
    // The daemon does so every `teams_ttl`; it may fail.
    drop(worker.refresh_directory().await);
    while let Some(next) = due(&worker).await.filter(|next| *next <= end) {
        clock.advance(next.since(clock.now()));
    }
    clock.advance(end.since(clock.now()));
    drop(worker.refresh_directory().await);
    due(&worker).await;
}

/// Does what is due; a turn that lost its lease is over, and the next begins.
async fn due(worker: &Worker) -> Option<Time> {
    loop {
        match worker.work_due().await {
            Ok(next) => return next,
            Err(error) => {
                let lost = matches!(error.downcast_ref(), Some(LedgerError::LeaseLost(_)));
                assert!(lost, "{error:#}");
            }
        }
    }
}

fn worker(
    wire: &transport::Direct,
    ledger: &Ledger,
    setup: &Setup,
    clock: &Clock,
    wake: &Arc<tokio::sync::Notify>,
) -> Worker {
    let (github, reader, writer, options) = clients(wire, setup, clock);
    Worker::new(github, reader, writer, ledger.clone(), options, "daemon:simulated".into(), wake.clone())
}

pub fn clients(
    wire: &transport::Direct,
    setup: &Setup,
    clock: &Clock,
) -> (github::Reader, datadog::Reader, datadog::Writer, Options) {
    // What is known of the upstreams is each worker's own.
    let http = transport::Client::direct(wire.clone(), clock.clone()).paging(setup.page);
    let base_url: url::Url = "http://sandbox".parse().unwrap();
    let timeout = Duration::from_secs(10);
    let github = github::Options {
        base_url: base_url.clone(),
        auth: github::Auth::Token("t".into()),
        http: http.clone(),
        concurrency: 8,
        timeout,
        clock: clock.clone(),
    };
    let datadog = datadog::Options {
        base_url,
        auth: datadog::Auth::Keys { api: "k".into(), app: "a".into() },
        managed_by: setup.managed_by.into(),
        timeout,
        concurrency: 4,
        http: http.clone(),
    };
    let mut protected = GlobSetBuilder::new();
    for glob in &setup.protected {
        protected.add(GlobBuilder::new(glob).literal_separator(true).build().unwrap());
    }
    let policy = OrgPolicy {
        mode: setup.mode,
        missing_team: setup.missing_team,
        protected: protected.build().unwrap(),
    };
    let observing = OrgPolicy { mode: Mode::Observe, ..policy.clone() };
    let options = Options {
        rules: Arc::new(Rules::compile(setup.rules.clone()).unwrap()),
        policy,
        policies: setup.observed.iter().map(|login| (login.clone(), observing.clone())).collect(),
        managed_by: setup.managed_by.into(),
        batch: 50,
        timeout,
        teams_ttl: Duration::from_secs(300),
        grace: setup.grace,
        limits: setup.limits,
        max_per_window: setup.max_per_window,
        window: setup.window,
        first_creates: setup.first_creates,
        unknown_by_id: 50,
        debounce: Duration::from_secs(1),
        backoff: Backoff { min: Duration::from_secs(2), max: Duration::from_secs(600) },
        max_attempts: 12,
        max_wait: Duration::from_secs(5),
        orgs: setup.orgs.clone(),
        documents: BTreeMap::new(),
        clock: clock.clone(),
    };
    (
        github::Reader::new(github).unwrap(),
        datadog::Reader::new(&datadog).unwrap(),
        datadog::Writer::new(&datadog).unwrap(),
        options,
    )
}
