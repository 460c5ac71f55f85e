//! The way from the workers to both services. It notes each request with what was true at that moment, lets time pass,
//! and ends a world in which requests have no end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use teamlink::{clock::Clock, ledger::Turnstile, model::Time, transport::Direct};
use tokio::sync::Notify;
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use super::truth::{Connection, connections};
use crate::gate::Gate;

/// Requests of one world at most.
const MOST_REQUESTS: u64 = 12_000;

/// How long after its sender gave up a write is carried out, at most: a sender waits for an answer longer than that.
pub const LATE: Duration = Duration::from_secs(8);

/// Uses of the ledger without any time passing, at most.
const MOST_TURNS: u64 = 30_000;

/// A request as it was answered.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Time,
    pub method: String,
    pub path: String,
    pub query: String,
    pub status: u16,
    /// The caller has not seen the answer.
    pub cut: bool,
    pub fence: Option<String>,
    pub body: Value,
    /// The state of the world in which it was carried out: its truth, and its settings.
    pub moment: Moment,
    /// The connections that there were when a write to connections was sent: one that is late is carried out after that.
    pub sent: BTreeMap<String, Connection>,
    /// Those that there were before it was carried out, and after.
    pub before: BTreeMap<String, Connection>,
    pub after: BTreeMap<String, Connection>,
}

/// Which truth and which settings were in force.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    pub truth: usize,
    pub setting: usize,
    /// A person is taking over connections.
    pub adopting: bool,
}

impl Entry {
    /// The organisation under whose lease it was sent.
    pub fn org(&self) -> Option<i64> {
        self.fence.as_deref()?.strip_prefix("org:")?.split(':').next()?.parse().ok()
    }

    pub fn writes_connections(&self) -> bool {
        self.method != "GET" && self.path == "/api/v2/team/connections"
    }

    /// The keys of the connections that a write makes or deletes.
    fn concerns(&self) -> Vec<(String, String)> {
        let items = self.body["data"].as_array().into_iter().flatten();
        let key = |item: &Value| {
            let of = |what: &str| item["relationships"][what]["data"]["id"].as_str().map(str::to_lowercase);
            let made = of("team").zip(of("connected_team"));
            made.or_else(|| Some(self.sent.get(item["id"].as_str()?)?.key()))
        };
        items.filter_map(key).collect()
    }

    /// What went by it, and what came.
    pub fn removed(&self) -> impl Iterator<Item = (&String, &Connection)> {
        self.before.iter().filter(|(id, _)| !self.after.contains_key(*id))
    }

    /// What it leaves of what there was when it was sent.
    pub fn left(&self) -> impl Iterator<Item = (&String, &Connection)> {
        self.sent.iter().filter(|(id, _)| self.after.contains_key(*id) || !self.before.contains_key(*id))
    }

    pub fn made(&self) -> impl Iterator<Item = (&String, &Connection)> {
        self.after.iter().filter(|(id, _)| !self.before.contains_key(*id))
    }
}

/// What all requests pass.
#[derive(Clone)]
pub struct Wire(Arc<State>);

struct State {
    service: Direct,
    /// Another Datadog organisation, for which there are keys too.
    elsewhere: Option<Direct>,
    wrong_keys: AtomicBool,
    /// What was written there.
    strays: Mutex<Vec<String>>,
    clock: Clock,
    times: Times,
    latency: Duration,
    moment: Mutex<Moment>,
    log: Mutex<Vec<Entry>>,
    late: Mutex<Late>,
    requests: AtomicU64,
    turns: AtomicU64,
    turned_at: AtomicU64,
    endless: AtomicBool,
    told: Notify,
}

/// The services' clock. A late write is carried out only before the next request, and its time is when it arrived.
#[derive(Clone)]
pub struct Times {
    clock: Clock,
    /// When what is carried out now arrived, in microseconds; `0` for what is not late.
    arrived: Arc<AtomicI64>,
}

impl Times {
    pub fn new(clock: Clock) -> Self {
        Self { clock, arrived: Arc::default() }
    }

    pub fn now(&self) -> Time {
        match self.arrived.load(Ordering::Relaxed) {
            0 => self.clock.now(),
            arrived => Time(arrived),
        }
    }
}

/// Writes whose senders gave up before they were carried out.
struct Late {
    /// Which are delayed now.
    methods: Vec<String>,
    under_way: Vec<UnderWay>,
    dice: StdRng,
}

/// A write that will be carried out.
struct UnderWay {
    at: Duration,
    /// Where the log has it.
    entry: usize,
    request: http::Request<Bytes>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    pub fn new(
        (service, elsewhere): (Direct, Option<Direct>),
        times: Times,
        latency: Duration,
        seed: u64,
    ) -> Self {
        Self(Arc::new(State {
            service,
            elsewhere,
            wrong_keys: AtomicBool::new(false),
            strays: Mutex::default(),
            clock: times.clock.clone(),
            times,
            latency,
            moment: Mutex::default(),
            log: Mutex::default(),
            late: Mutex::new(Late {
                methods: Vec::new(),
                under_way: Vec::new(),
                dice: StdRng::seed_from_u64(seed),
            }),
            requests: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            turned_at: AtomicU64::new(0),
            endless: AtomicBool::new(false),
            told: Notify::new(),
        }))
    }

    /// Whether whoever asks Datadog now has the keys of another organisation.
    pub fn wrong_keys(&self, wrong: bool) {
        self.0.wrong_keys.store(wrong, Ordering::Relaxed);
    }

    /// What was written in another Datadog organisation since the last question.
    pub fn strays(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0.strays))
    }

    pub fn moment(&self) -> MutexGuard<'_, Moment> {
        lock(&self.0.moment)
    }

    pub fn log(&self) -> MutexGuard<'_, Vec<Entry>> {
        lock(&self.0.log)
    }

    /// From now on, half of the writes to connections with these methods are carried out late.
    pub fn delay<'a>(&self, methods: impl Iterator<Item = &'a str>) {
        lock(&self.0.late).methods = methods.map(str::to_owned).collect();
    }

    /// Carries out what is late and whose time has come.
    pub async fn arrive(&self) {
        self.0.arrive().await;
    }

    /// The keys of the connections that late writes have yet to make or to delete.
    pub fn under_way(&self) -> Vec<(String, String)> {
        let late = lock(&self.0.late);
        let log = lock(&self.0.log);
        late.under_way.iter().flat_map(|it| log[it.entry].concerns()).collect()
    }

    /// The log up to the first write that has yet to be carried out.
    pub fn carried_out(&self) -> Vec<Entry> {
        let first = lock(&self.0.late).under_way.iter().map(|it| it.entry).min();
        let log = lock(&self.0.log);
        log[..first.unwrap_or(log.len())].to_vec()
    }

    /// What the clients send by, through the gate.
    pub fn service(&self, gate: &Gate) -> Direct {
        let state = self.0.clone();
        gate.before(BoxCloneSyncService::new(tower::service_fn(move |request| {
            let state = state.clone();
            async move { state.carry(request).await }
        })))
    }

    /// What the ledger passes: the gate, and the count of its uses.
    pub fn turnstile(&self, gate: &Gate) -> Turnstile {
        let (state, gate) = (self.0.clone(), gate.turnstile());
        Arc::new(move || {
            let (state, gate) = (state.clone(), gate.clone());
            Box::pin(async move {
                state.turn().await;
                gate().await;
            })
        })
    }

    /// Returns once there were too many requests, or uses of the ledger, for the world to go on.
    pub async fn endless(&self) {
        while !self.0.endless.load(Ordering::Relaxed) {
            self.0.told.notified().await;
        }
    }

    pub fn is_endless(&self) -> bool {
        self.0.endless.load(Ordering::Relaxed)
    }
}

impl State {
    /// Ends the work: whoever comes so far never returns. The judge goes on.
    async fn end(&self) {
        if self.endless.swap(true, Ordering::Relaxed) {
            return;
        }
        self.told.notify_waiters();
        self.told.notify_one();
        std::future::pending::<()>().await;
    }

    async fn turn(&self) {
        let now = u64::try_from(self.clock.monotonic().as_micros()).unwrap_or(0);
        if self.turned_at.swap(now, Ordering::Relaxed) != now {
            self.turns.store(0, Ordering::Relaxed);
        }
        if self.turns.fetch_add(1, Ordering::Relaxed) >= MOST_TURNS {
            self.end().await;
        }
    }

    async fn arrive(&self) {
        loop {
            let now = self.clock.monotonic();
            let due = {
                let under_way = &mut lock(&self.late).under_way;
                let due = under_way.iter().enumerate().filter(|(_, it)| it.at <= now);
                due.min_by_key(|(_, it)| it.at).map(|(first, _)| first).map(|first| under_way.remove(first))
            };
            let Some(UnderWay { at, entry, request }) = due else { return };
            let arrived = self.clock.now() - (now - at);
            self.times.arrived.store(arrived.0, Ordering::Relaxed);
            let before = connections(&self.service).await;
            let answer = self.service.clone().oneshot(request).await;
            let after = connections(&self.service).await;
            self.times.arrived.store(0, Ordering::Relaxed);
            let entry = &mut lock(&self.log)[entry];
            (entry.before, entry.after) = (before, after);
            entry.status = answer.map_or(0, |answer| answer.status().as_u16());
        }
    }

    /// When a write will be carried out, if its sender gives up before that.
    fn late(&self, method: &str) -> Option<Duration> {
        let Late { methods, dice, .. } = &mut *lock(&self.late);
        let late = methods.iter().any(|it| it == method) && dice.random_bool(0.5);
        late.then(|| self.clock.monotonic() + dice.random_range(Duration::ZERO..LATE))
    }

    async fn carry(&self, request: http::Request<Bytes>) -> std::io::Result<http::Response<Bytes>> {
        if self.requests.fetch_add(1, Ordering::Relaxed) >= MOST_REQUESTS {
            self.end().await;
        }
        self.clock.advance(self.latency);
        self.arrive().await;
        if let Some(elsewhere) = self.elsewhere.as_ref().filter(|_| self.wrong_keys.load(Ordering::Relaxed))
            && request.uri().path().starts_with("/api/")
        {
            if request.method() != "GET" {
                lock(&self.strays).push(format!("{} {}", request.method(), request.uri()));
            }
            return elsewhere.clone().oneshot(request).await;
        }
        let writes = request.method() != "GET" && request.uri().path() == "/api/v2/team/connections";
        let before = if writes { connections(&self.service).await } else { BTreeMap::new() };
        let (at, moment) = (self.clock.now(), *lock(&self.moment));
        let header = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        let mut entry = Entry {
            at,
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            status: 0,
            cut: false,
            fence: header("x-teamlink-fence"),
            body: serde_json::from_slice(request.body()).unwrap_or_default(),
            moment,
            sent: before.clone(),
            before,
            after: BTreeMap::new(),
        };
        if let Some(at) = self.late(&entry.method).filter(|_| writes) {
            (entry.cut, entry.after) = (true, entry.before.clone());
            let mut log = lock(&self.log);
            log.push(entry);
            lock(&self.late).under_way.push(UnderWay { at, entry: log.len() - 1, request });
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        let answer = self.service.clone().oneshot(request).await;
        match &answer {
            Ok(answer) => entry.status = answer.status().as_u16(),
            Err(_) => entry.cut = true,
        }
        if writes {
            entry.after = connections(&self.service).await;
        }
        lock(&self.log).push(entry);
        answer
    }
}
