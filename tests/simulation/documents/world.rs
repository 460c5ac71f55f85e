//! One document of a Datadog organisation, and its writers.

use std::{path::Path, sync::Arc, time::Duration};

use rand::{RngExt, rngs::StdRng};
use serde_json::{Map, Value, json};
use teamlink::{
    clock::Clock,
    ledger::Ledger,
    mapping::Rules,
    model::{Asks, Cause, DocumentMode, Entry, Lane, MissingTeam, Time},
    reconcile::{DocumentOptions, Source, Worker},
    sandbox,
    transport::Direct,
};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::{
    script::{Beginning, DocumentSetup, Happening},
    wire::{self, INTEGRATION, PATH, Wire, Writer},
};
use crate::world::{EMPTY_LEDGER, OURS, START, Setup, clients, request, url};

/// How far apart two reads are at least that prove anything.
pub const GRACE: Duration = Duration::from_secs(60);

/// One teamlink, with a ledger of its own.
struct Machine {
    ledger: Ledger,
    worker: Worker,
}

pub struct Documents {
    pub clock: Clock,
    pub wire: Wire,
    pub setups: Vec<DocumentSetup>,
    machines: Vec<Machine>,
    /// What a person has open.
    open: Option<Map<String, Value>>,
    /// When a person approved what a teamlink held.
    pub approvals: Vec<(usize, Time)>,
    /// From when on nothing goes wrong any more.
    pub quiet_since: Time,
}

fn entry(key: &str) -> Entry {
    Entry::Project { hostname: "acme.atlassian.net".into(), account_id: "a1".into(), project_key: key.into() }
}

/// The keys of these projects.
pub fn keys_of(wanted: &[&str]) -> std::collections::BTreeSet<teamlink::model::EntryKey> {
    wanted.iter().map(|key| entry(key).key()).collect()
}

fn worker(wire: &Wire, which: usize, ledger: &Ledger, setup: &DocumentSetup, clock: &Clock) -> Worker {
    let of_orgs = Setup {
        rules: Vec::new(),
        mode: setup.mode,
        missing_team: MissingTeam::Report,
        limits: setup.limits,
        max_per_window: setup.max_per_window,
        window: Duration::from_secs(3600),
        grace: GRACE,
        protected: Vec::new(),
        observed: Vec::new(),
        first_creates: 250,
        orgs: Vec::new(),
        managed_by: OURS,
        page: 100,
    };
    let (github, reader, writer, mut options) = clients(&wire.of(Writer::Teamlink(which)), &of_orgs, clock);
    let source = Source::Declared(setup.wanted.iter().map(|key| entry(key)).collect());
    options.documents.insert(INTEGRATION, DocumentOptions { mode: setup.document, source });
    let wake = Arc::new(Notify::new());
    Worker::new(github, reader, writer, ledger.clone(), options, format!("daemon:{which}"), wake)
}

impl Documents {
    pub async fn new(seed: u64, beginning: Beginning, dir: &Path) -> Self {
        let Beginning { setups, before, standing } = beginning;
        let clock = Clock::simulated(START, seed);
        let options = sandbox::Options { seed, ..Default::default() };
        let told = clock.clone();
        let now = move || u64::try_from(told.now().0).unwrap();
        let sandbox::InProcess { service, .. } = sandbox::in_process(&options, now).unwrap();
        let wire = Wire::new(service, clock.clone(), standing, seed);
        let mut machines = Vec::new();
        for (which, setup) in setups.iter().enumerate() {
            let path = dir.join(format!("ledger-{which}.db"));
            std::fs::write(&path, &*EMPTY_LEDGER).unwrap();
            let ledger = Ledger::open(&url(&path)).await.unwrap().on_machine(clock.clone(), None);
            let worker = worker(&wire, which, &ledger, setup, &clock);
            machines.push(Machine { ledger, worker });
        }
        let (open, approvals) = (None, Vec::new());
        let mut world = Self { clock, wire, setups, machines, open, approvals, quiet_since: START };
        if let Some(before) = before {
            world.edit(&before, &[]).await;
        }
        world.pass().await;
        world
    }

    /// A person's entries have a field that no contract names, as has the document.
    fn by_hand(config: Option<Map<String, Value>>, adds: &[&str], removes: &[&str]) -> Map<String, Value> {
        let mut config = config.unwrap_or_default();
        config.entry("note").or_insert_with(|| json!("kept by hand"));
        let list = config.entry(INTEGRATION.list()).or_insert_with(|| json!([]));
        let Some(list) = list.as_array_mut() else { return config };
        list.retain(|it| !removes.iter().any(|key| it["project_key"] == *key));
        for key in adds {
            if !list.iter().any(|it| it["project_key"] == *key) {
                let mut added = entry(key).fields();
                added.insert("owner".into(), json!("a person"));
                list.push(Value::Object(added));
            }
        }
        config
    }

    async fn send(&self, method: &str, body: Value) -> Value {
        let person: Direct = self.wire.of(Writer::Person);
        let answer = person.oneshot(request(method, PATH, &body)).await.unwrap();
        serde_json::from_slice(answer.body()).unwrap_or_default()
    }

    async fn read(&self) -> Option<Map<String, Value>> {
        let body = self.send("GET", Value::Null).await;
        body.pointer("/data/attributes/config")?.as_object().cloned()
    }

    async fn save(&self, config: Map<String, Value>) {
        let attributes = json!({"config": config});
        let data = json!({"type": "entity_integration_config_requests", "attributes": attributes});
        self.send("PUT", json!({"data": data})).await;
    }

    async fn edit(&mut self, adds: &[&str], removes: &[&str]) {
        let config = self.read().await;
        self.save(Self::by_hand(config, adds, removes)).await;
    }

    async fn pass(&self) {
        for machine in &self.machines {
            // Without an organisation, a pass is over the documents.
            machine.worker.begin_pass(&[], Cause::Pass, Asks::PASS).await.unwrap();
        }
    }

    /// A daemon starts with what is set now, and makes a pass.
    async fn restart(&mut self, which: usize) {
        let setup = &self.setups[which];
        let machine = &mut self.machines[which];
        let rules = Rules::compile(Vec::new()).unwrap().fingerprint();
        let ledger = machine.ledger.on_machine(self.clock.clone(), None);
        machine.ledger = ledger.under(&rules, &format!("{:?}", setup.mode));
        machine.worker = worker(&self.wire, which, &machine.ledger, setup, &self.clock);
        machine.ledger.end_daemon_leases().await.unwrap();
        machine.ledger.mark_interrupted(None, self.clock.now()).await.unwrap();
        machine.worker.begin_pass(&[], Cause::Pass, Asks::PASS).await.unwrap();
    }

    pub async fn happens(&mut self, happening: Happening, dice: &mut StdRng) {
        let count = self.machines.len();
        match happening {
            Happening::Opens => self.open = Some(self.read().await.unwrap_or_default()),
            Happening::Saves { adds, removes } => {
                if let Some(open) = self.open.take() {
                    self.save(Self::by_hand(Some(open), &adds, &removes)).await;
                }
            }
            Happening::Edits { adds, removes } => self.edit(&adds, &removes).await,
            Happening::Wants { which, wanted } => {
                self.setups[which % count].wanted = wanted;
                self.restart(which % count).await;
            }
            Happening::Restarts { which } => self.restart(which % count).await,
            Happening::Approves { which } => self.approve(which % count).await,
            Happening::Passes => self.pass().await,
            Happening::Waits { seconds } => self.work(Duration::from_secs(seconds), dice).await,
        }
    }

    async fn approve(&mut self, which: usize) {
        let (lane, now) = (Lane::Document(INTEGRATION), self.clock.now());
        let ledger = &self.machines[which].ledger;
        if let Some(set) = ledger.held_set(lane, now).await.unwrap() {
            ledger.approve(&set.hash, "simulated", Duration::from_secs(3600), now).await.unwrap();
            self.approvals.push((which, now));
        }
    }

    /// Lets the teamlinks do what falls due within this time, in an order that the dice say.
    pub async fn work(&self, horizon: Duration, dice: &mut StdRng) {
        let end = self.clock.now() + horizon;
        loop {
            let mut next = end;
            let first = dice.random_range(0..self.machines.len());
            for index in 0..self.machines.len() {
                let machine = &self.machines[(first + index) % self.machines.len()];
                if let Some(at) = machine.worker.work_due().await.unwrap() {
                    next = next.min(at);
                }
            }
            if self.clock.now() >= end {
                return;
            }
            let wait = next.since(self.clock.now()).max(Duration::from_millis(200));
            self.clock.advance(wait.min(end.since(self.clock.now())));
        }
    }

    /// Nothing goes wrong any more, and nobody else writes: three passes a while apart.
    pub async fn quiet(&mut self, dice: &mut StdRng) {
        self.wire.lies(Vec::new());
        self.open = None;
        for _ in 0..3 {
            self.quiet_since = self.clock.now();
            self.pass().await;
            self.work(Duration::from_secs(7_200), dice).await;
        }
    }

    /// What a teamlink says of the document: the entries that it holds or has parked, as texts.
    pub async fn told(&self, which: usize) -> Told {
        let (ledger, now) = (&self.machines[which].ledger, self.clock.now());
        let window = Duration::from_secs(3600);
        let state = ledger.document_state(INTEGRATION, window, now).await.unwrap();
        let parked = ledger.parked().await.unwrap();
        Told {
            held: state.held.into_keys().chain(state.held_additions.into_keys()).collect(),
            ours: state
                .entries
                .into_iter()
                .filter(|(_, row)| row.unseen_puts == 0)
                .map(|(key, _)| key)
                .collect(),
            parked: parked.into_iter().map(|it| it.subject).collect(),
            suspects: state.suspicion.is_some(),
        }
    }

    /// Whether a teamlink leaves removals of its own alone.
    pub fn removes_nothing(&self, which: usize) -> bool {
        self.setups[which].mode != teamlink::model::Mode::Sync
    }

    pub fn is_exclusive(&self, which: usize) -> bool {
        self.setups[which].document == DocumentMode::Exclusive
    }

    pub fn writers(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.machines.len()
    }

    pub async fn there(&self) -> std::collections::BTreeSet<teamlink::model::EntryKey> {
        wire::keys(self.wire.document().await.as_ref())
    }
}

/// What a teamlink tells.
pub struct Told {
    pub held: std::collections::BTreeSet<teamlink::model::EntryKey>,
    pub ours: std::collections::BTreeSet<teamlink::model::EntryKey>,
    pub parked: Vec<String>,
    /// Whether two reads lacked what a person has not decided about.
    pub suspects: bool,
}
