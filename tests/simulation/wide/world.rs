//! Several organisations, a Datadog and one or two workers in one thread, on machines whose wall clocks may be wrong.

use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rand::{RngExt, rngs::StdRng};
use serde_json::{Value, json};
use teamlink::{
    clock::Clock,
    intake::{Intake, Watch},
    ledger::{Ledger, LedgerError, Pace},
    mapping::Rules,
    model::{Asks, Cause, OrgId, PauseScope, Time},
    reconcile::{Survey, Worker},
    sandbox::{self, Webhook},
    transport::Direct,
    upstream::Backoff,
};
use tokio::sync::{Notify, mpsc::UnboundedReceiver};

use super::{
    features::{Feature, Features},
    truth::{self, Truth},
    wire::{Times, Wire},
};
use crate::{
    gate::{Gate, Step},
    world::{EMPTY_LEDGER, START, Setup, clients, deliver, url},
};

/// How long a list of Datadog's teams is good.
const TEAMS_TTL: Duration = Duration::from_secs(60);

/// The longest backoff: short enough for everything to be right in time after the last fault.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How long a worker waits before it tries again for a lease that another holds.
const POLL: Duration = Duration::from_millis(200);

/// What an operator has set at some time.
#[derive(Clone)]
pub struct Setting {
    pub setup: Setup,
    pub rules: Rules,
    pub protected: GlobSet,
    pub paused: Vec<PauseScope>,
    /// From when on.
    pub since: Time,
}

/// One machine with its worker.
struct Machine {
    clock: Clock,
    ledger: Ledger,
    worker: Worker,
}

pub struct Wide {
    pub features: Features,
    /// The true time.
    pub clock: Clock,
    machines: Vec<Machine>,
    database: Option<Clock>,
    pub setup: Setup,
    pub paused: Vec<PauseScope>,
    pub wire: Wire,
    pub gate: Gate,
    service: Direct,
    webhooks: UnboundedReceiver<Webhook>,
    pub pending: VecDeque<Webhook>,
    intake: Intake,
    wake: Arc<Notify>,
    /// The truth from each moment on.
    pub history: Vec<Truth>,
    pub settings: Vec<Setting>,
    /// Every organisation that there ever was.
    pub orgs: BTreeSet<OrgId>,
    /// What goes wrong all the time.
    pub standing: Vec<Value>,
    /// The daemon makes passes.
    pub passes: bool,
}

/// How a world begins.
pub struct Beginning {
    pub seed: u64,
    pub features: Features,
    pub setup: Setup,
    pub latency: Duration,
    pub standing: Vec<Value>,
    pub limits: Value,
    pub content: Value,
    /// By how much the second machine's wall clock is wrong, in microseconds.
    pub apart: i64,
    pub passes: bool,
}

impl Wide {
    pub async fn new(beginning: Beginning, dir: &Path) -> Self {
        let Beginning { seed, features, setup, latency, standing, limits, content, apart, passes } =
            beginning;
        let clock = Clock::simulated(START, seed);
        let options = sandbox::Options { seed, ..Default::default() };
        let times = Times::new(clock.clone());
        let told = times.clone();
        let now = move || u64::try_from(told.now().0).unwrap();
        let sandbox::InProcess { service, webhooks } = sandbox::in_process(&options, now.clone()).unwrap();
        let elsewhere = features.has(Feature::Keys).then(|| {
            let options = sandbox::Options { seed: !seed, datadog_org: 7, ..Default::default() };
            sandbox::in_process(&options, now).unwrap().service
        });
        if let Some(elsewhere) = &elsewhere {
            let teams = json!({"datadog_teams": content["datadog_teams"]});
            let (status, why) = truth::ask(elsewhere, "POST", "/_sandbox/seed", &teams).await;
            assert_eq!(status, 200, "{why}");
        }
        let path = dir.join("ledger.db");
        std::fs::write(&path, &*EMPTY_LEDGER).unwrap();
        let (gate, wire) = (Gate::default(), Wire::new((service.clone(), elsewhere), times, latency, seed));
        let opened = Ledger::open_behind(&url(&path), wire.turnstile(&gate)).await.unwrap();
        let two = features.has(Feature::Two);
        let database = two.then(|| clock.of_another_machine());
        let wake = Arc::new(Notify::new());
        let machine = |apart: i64| {
            let clock = clock.of_another_machine();
            clock.step(apart);
            clock.take_over();
            let ledger = opened.on_machine(clock.clone(), database.clone());
            let worker = worker(&wire.service(&gate), &ledger, &setup, &clock, &wake);
            Machine { clock, ledger, worker }
        };
        let mut machines = vec![machine(0)];
        machines.extend(two.then(|| machine(apart)));
        let intake = intake(&machines[0], &setup, &wake).await;
        let mut world = Self {
            features,
            clock,
            machines,
            database,
            setup,
            paused: Vec::new(),
            wire,
            gate,
            service,
            webhooks,
            pending: VecDeque::new(),
            intake,
            wake,
            history: Vec::new(),
            settings: Vec::new(),
            orgs: BTreeSet::new(),
            standing,
            passes,
        };
        world.seed(&content).await;
        let (status, why) = world.ask("PUT", "/_sandbox/limits", limits).await;
        assert_eq!(status, 204, "{why}");
        world.set().await;
        world
    }

    /// Fills the worlds, without webhooks.
    pub async fn seed(&mut self, content: &Value) {
        let (status, ids) = truth::ask(&self.service, "POST", "/_sandbox/seed", content).await;
        assert_eq!(status, 200, "{content}");
        let orgs = ids["orgs"].as_array().unwrap().iter();
        self.orgs.extend(orgs.map(|org| OrgId(org["id"].as_i64().unwrap())));
        self.witness().await;
    }

    /// Asks as whoever stands outside; what it changes is true from now on.
    pub async fn ask(&mut self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.wire.arrive().await;
        let answer = truth::ask(&self.service, method, path, &body).await;
        if method != "GET" && !path.starts_with("/_sandbox") && !path.ends_with("/connections") {
            self.witness().await;
        }
        while let Ok(webhook) = self.webhooks.try_recv() {
            self.pending.push_back(webhook);
        }
        answer
    }

    async fn witness(&mut self) {
        self.history.push(Truth::now(&self.service, &self.orgs, self.clock.now()).await);
        self.wire.moment().truth = self.history.len() - 1;
    }

    pub fn truth(&self) -> &Truth {
        self.history.last().unwrap()
    }

    pub async fn connections(&self) -> std::collections::BTreeMap<String, truth::Connection> {
        self.wire.arrive().await;
        truth::connections(&self.service).await
    }

    /// What is set, and what is paused, is so from now on.
    pub async fn set(&mut self) {
        let mut protected = GlobSetBuilder::new();
        for glob in &self.setup.protected {
            protected.add(GlobBuilder::new(glob).literal_separator(true).build().unwrap());
        }
        let rules = Rules::compile(self.setup.rules.clone()).unwrap();
        let (setup, protected, paused) =
            (self.setup.clone(), protected.build().unwrap(), self.paused.clone());
        self.settings.push(Setting { setup, rules, protected, paused, since: self.clock.now() });
        self.wire.moment().setting = self.settings.len() - 1;
    }

    /// The faults in force, before those that always are.
    pub async fn faults(&mut self, faults: &[Value]) {
        let (late, faults): (Vec<_>, Vec<_>) = faults.iter().partition(|fault| fault["late"] == true);
        self.wire.delay(late.iter().filter_map(|fault| fault["method"].as_str()));
        let all: Vec<&Value> = faults.iter().copied().chain(&self.standing).collect();
        let (status, why) = truth::ask(&self.service, "PUT", "/_sandbox/faults", &json!(all)).await;
        assert_eq!(status, 204, "{faults:?}: {why}");
    }

    pub fn ledger(&self) -> &Ledger {
        &self.machines[0].ledger
    }

    pub fn worker(&self) -> &Worker {
        &self.machines[0].worker
    }

    /// The first machine's wall clock.
    pub fn wall(&self) -> Time {
        self.machines[0].clock.wall()
    }

    /// Sets a machine's wall clock.
    pub fn step(&self, machine: usize, by: i64) {
        self.machines[machine % self.machines.len()].clock.step(by);
    }

    /// What plans for a person.
    pub fn survey(&self) -> Survey {
        let machine = &self.machines[0];
        let (github, datadog, _, options) =
            clients(&self.wire.service(&self.gate), &self.setup, &machine.clock);
        Survey::new(github, datadog, machine.ledger.clone(), options)
    }

    /// Every daemon is started anew, with what is set now; with passes, each begins one.
    pub async fn restart(&mut self) {
        let service = self.wire.service(&self.gate);
        let mode = format!("{:?}", self.setup.mode);
        let rules = Rules::compile(self.setup.rules.clone()).unwrap().fingerprint();
        for machine in &mut self.machines {
            machine.clock.take_over();
            let ledger = machine.ledger.on_machine(machine.clock.clone(), self.database.clone());
            machine.ledger = ledger.under(&rules, &mode);
            machine.worker = worker(&service, &machine.ledger, &self.setup, &machine.clock, &self.wake);
        }
        if self.database.is_none() {
            self.ledger().end_daemon_leases().await.unwrap();
        }
        self.ledger().mark_interrupted(None, self.wall()).await.unwrap();
        self.intake = intake(&self.machines[0], &self.setup, &self.wake).await;
        self.set().await;
        if self.passes {
            self.begin_pass().await;
        }
    }

    /// Begins a pass as the daemon does; where one login cannot be looked up, it says so.
    pub async fn begin_pass(&self) -> bool {
        let orgs = &self.setup.orgs;
        let alone: Vec<&[String]> = if orgs.is_empty() { vec![&[]] } else { orgs.chunks(1).collect() };
        let mut all = true;
        for orgs in alone {
            let begun = tokio::select! {
                begun = self.worker().begin_pass(orgs, Cause::Pass, Asks::PASS) => begun.is_ok(),
                () = self.wire.endless() => false,
            };
            all &= begun;
        }
        all
    }

    /// Delivers webhooks at the door.
    pub async fn deliver(&self, webhooks: Vec<Webhook>) {
        deliver(&self.intake, webhooks, self.wall()).await;
    }

    /// The workers at work for this long: a future that borrows nothing of the world.
    pub fn work(&self, horizon: Duration, dice: &mut StdRng) -> impl Future<Output = ()> + use<> {
        let machines: Vec<_> = self.machines.iter().map(|it| (it.worker.clone(), it.clock.clone())).collect();
        let (clock, wire, dice) =
            (self.clock.clone(), self.wire.clone(), rand::SeedableRng::seed_from_u64(dice.random()));
        async move {
            let mut turning = pin!(turn(machines, clock, horizon, dice));
            tokio::select! {
                biased;
                () = &mut turning => {}
                () = wire.endless() => {}
            }
        }
    }

    /// Only a worker on the second machine at work: a new one, as the one there may be stopped in the middle of something.
    pub async fn second_works(&self, horizon: Duration, dice: &mut StdRng) {
        let Some(second) = self.machines.get(1) else { return };
        let service = self.wire.service(&self.gate);
        let new = worker(&service, &second.ledger, &self.setup, &second.clock, &self.wake);
        let machines = vec![(new, second.clock.clone())];
        let dice = rand::SeedableRng::seed_from_u64(dice.random());
        tokio::select! {
            biased;
            () = turn(machines, self.clock.clone(), horizon, dice) => {}
            () = self.wire.endless() => {}
        }
    }

    /// Whether whoever is stopped between these steps leaves the ledger to others. Where one page of a list failed, the
    /// worker may be at its ledger while another page is stopped.
    pub fn leaves_the_ledger(&self, step: Step) -> bool {
        step != Step::Ledger && !self.features.has(Feature::Limits)
    }
}

/// Lets the workers do what falls due within this time, in an order that the dice say.
async fn turn(machines: Vec<(Worker, Clock)>, clock: Clock, horizon: Duration, mut dice: StdRng) {
    let end = clock.monotonic() + horizon;
    let mut refreshed: Option<Duration> = None;
    loop {
        let refresh = refreshed.is_none_or(|at| clock.monotonic() >= at + TEAMS_TTL);
        if refresh {
            refreshed = Some(clock.monotonic());
        }
        let mut wait = TEAMS_TTL;
        let first = if machines.len() > 1 { dice.random_range(0..machines.len()) } else { 0 };
        for index in 0..machines.len() {
            let (worker, wall) = &machines[(first + index) % machines.len()];
            if refresh {
                // It may fail.
                drop(worker.refresh_directory().await);
            }
            if let Some(next) = due(worker).await {
                wait = wait.min(next.since(wall.now()).max(POLL));
            }
        }
        let left = end.saturating_sub(clock.monotonic());
        if left.is_zero() {
            return;
        }
        clock.advance(wait.min(left));
    }
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

fn worker(service: &Direct, ledger: &Ledger, setup: &Setup, clock: &Clock, wake: &Arc<Notify>) -> Worker {
    let (github, reader, writer, mut options) = clients(service, setup, clock);
    options.teams_ttl = TEAMS_TTL;
    // Where the next list may begin soon, it decides about most new teams.
    options.unknown_by_id = if options.grace < Duration::from_secs(10) { 1 } else { 50 };
    options.backoff = Backoff { max: LONGEST_WAIT, ..options.backoff };
    Worker::new(github, reader, writer, ledger.clone(), options, "daemon:simulated".into(), wake.clone())
}

async fn intake(machine: &Machine, setup: &Setup, wake: &Arc<Notify>) -> Intake {
    let bound = machine.ledger.orgs().await.unwrap();
    let watch = Watch::new(&setup.orgs, bound.into_iter().map(|org| (org.facts.id, org.bound_login)));
    let pace = Pace { debounce: Duration::from_secs(1), max_wait: Duration::from_secs(5) };
    Intake::start(machine.ledger.clone(), watch, pace, wake.clone(), machine.clock.clone())
}
