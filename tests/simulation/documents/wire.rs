//! The way to the document: it knows what is there, tells the teamlinks lies about it, and remembers who did what.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Map, Value, json};
use teamlink::{
    clock::Clock,
    model::{EntryKey, Integration, Time},
    transport::Direct,
};
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use super::{
    script::{Lie, Told},
    world::GRACE,
};
use crate::world::request;

/// The document of these worlds: of the three, it has the most to say in an entry.
pub const INTEGRATION: Integration = Integration::Jira;

/// Where it is.
pub const PATH: &str = "/api/v2/idp/entity_integrations/jira";

/// How long a request takes.
const LATENCY: Duration = Duration::from_millis(20);

/// Who writes. The teamlinks are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writer {
    Teamlink(usize),
    Person,
}

/// A PUT.
#[derive(Clone, Debug)]
pub struct Put {
    pub at: Time,
    pub by: Writer,
    /// What was there when its writer read last.
    pub seen: BTreeSet<EntryKey>,
    /// What its writer was told last.
    pub told: BTreeSet<EntryKey>,
    /// Nobody answers whether it was carried out.
    pub unanswered: bool,
    pub before: Option<Map<String, Value>>,
    /// What it was to become.
    pub sent: Option<Map<String, Value>>,
    /// Who had added each of the entries that were there before.
    pub authors: BTreeMap<EntryKey, Writer>,
    /// What its writer was told each time that it is not there, and since when; fields beside the list are one more key.
    pub lacked: BTreeMap<EntryKey, Time>,
    /// What its writer ever added: what vanished and came back between two of its looks counts as its own.
    pub added: BTreeSet<EntryKey>,
    /// What its writer was ever told to be there.
    pub known: BTreeSet<EntryKey>,
}

/// The key of all fields beside the list.
pub fn fields() -> EntryKey {
    EntryKey("(the fields)".into())
}

/// The keys of a document's entries, and of its fields if it has any.
fn told_of(config: Option<&Map<String, Value>>) -> BTreeSet<EntryKey> {
    let more = config.is_some_and(|config| config.keys().any(|name| name != INTEGRATION.list()));
    keys(config).into_iter().chain(more.then(fields)).collect()
}

/// The keys of a document's entries.
pub fn keys(config: Option<&Map<String, Value>>) -> BTreeSet<EntryKey> {
    let list = config.and_then(|config| config.get(INTEGRATION.list())?.as_array());
    list.into_iter().flatten().map(|entry| EntryKey::of(INTEGRATION, entry)).collect()
}

struct State {
    service: Direct,
    clock: Clock,
    /// What every PUT meets that has a certain entry, whoever sends it.
    standing: Option<Lie>,
    told: Mutex<(Vec<Told>, StdRng)>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    puts: Vec<Put>,
    /// What each writer saw last: what was there, whatever it was told.
    seen: BTreeMap<Writer, BTreeSet<EntryKey>>,
    authors: BTreeMap<EntryKey, Writer>,
    /// What the last answer to each writer lacked of what earlier answers showed, and since when.
    lacked: BTreeMap<Writer, BTreeMap<EntryKey, Time>>,
    known: BTreeMap<Writer, BTreeSet<EntryKey>>,
    /// What two reads a grace apart lacked.
    unlearned: BTreeMap<Writer, BTreeSet<EntryKey>>,
    added: BTreeMap<Writer, BTreeSet<EntryKey>>,
    /// What each writer was told last.
    told: BTreeMap<Writer, BTreeSet<EntryKey>>,
    /// What was there from each moment on.
    versions: Vec<(Time, Option<Map<String, Value>>)>,
    story: Vec<String>,
}

impl Log {
    /// Notes what a writer was told. An answer that tells nothing changes nothing.
    fn heard(&mut self, writer: Writer, answer: &http::Response<Bytes>, now: Time) {
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let config = body.pointer("/data/attributes/config").and_then(Value::as_object);
        if config.is_none() && (answer.status() != 404 || body["errors"].is_null()) {
            return;
        }
        let told = told_of(config);
        let known = self.known.entry(writer).or_default();
        let lacked = self.lacked.entry(writer).or_default();
        lacked.retain(|key, _| !told.contains(key));
        for key in known.difference(&told) {
            lacked.entry(key.clone()).or_insert(now);
        }
        known.extend(told.iter().cloned());
        let unlearned = lacked.iter().filter(|(_, since)| **since + GRACE <= now).map(|(key, _)| key.clone());
        self.unlearned.entry(writer).or_default().extend(unlearned);
        self.told.insert(writer, told);
    }
}

#[derive(Clone)]
pub struct Wire(Arc<State>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    pub fn new(service: Direct, clock: Clock, standing: Option<Lie>, seed: u64) -> Self {
        let told = Mutex::new((Vec::new(), StdRng::seed_from_u64(!seed)));
        Self(Arc::new(State { service, clock, standing, told, log: Mutex::default() }))
    }

    /// Answers the teamlinks with these lies from now on.
    pub fn lies(&self, lies: Vec<Told>) {
        lock(&self.0.told).0 = lies;
    }

    /// What this writer sends by.
    pub fn of(&self, writer: Writer) -> Direct {
        let state = self.0.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request| {
            let state = state.clone();
            async move { state.carry(writer, request).await }
        }))
    }

    /// What is there.
    pub async fn document(&self) -> Option<Map<String, Value>> {
        self.0.document().await
    }

    pub fn log(&self) -> Vec<Put> {
        lock(&self.0.log).puts.clone()
    }

    /// Who added each entry that is there.
    pub fn authors(&self) -> BTreeMap<EntryKey, Writer> {
        lock(&self.0.log).authors.clone()
    }

    /// What a writer added and may have forgotten, because two reads a grace apart lacked it.
    pub fn unlearned(&self, writer: Writer) -> BTreeSet<EntryKey> {
        lock(&self.0.log).unlearned.get(&writer).cloned().unwrap_or_default()
    }

    pub fn story(&self) -> Vec<String> {
        lock(&self.0.log).story.clone()
    }

    /// How often a teamlink wrote.
    pub fn puts(&self) -> u64 {
        let teamlinks = self.log().into_iter().filter(|put| put.by != Writer::Person);
        teamlinks.count() as u64
    }
}

impl State {
    async fn document(&self) -> Option<Map<String, Value>> {
        let answer = self.service.clone().oneshot(request("GET", PATH, &Value::Null)).await.unwrap();
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        body.pointer("/data/attributes/config")?.as_object().cloned()
    }

    /// The lie that this request meets, if it meets one.
    fn lie(&self, writer: Writer, writes: bool, body: &Value) -> Option<Lie> {
        let names = |key: &str| {
            let list = body.pointer("/data/attributes/config/enabled_projects").and_then(Value::as_array);
            list.into_iter().flatten().any(|entry| entry["project_key"] == key)
        };
        if let Some(standing) = self.standing.filter(|lie| lie.names().is_some_and(names)) {
            return Some(standing);
        }
        if writer == Writer::Person {
            return None;
        }
        let (told, dice) = &mut *lock(&self.told);
        let meets = |told: &&mut Told| {
            told.times > 0 && told.lie.is_about_writes() == writes && told.lie.names().is_none_or(names)
        };
        let met = told.iter_mut().filter(meets).find(|told| dice.random_bool(told.share))?;
        met.times -= 1;
        Some(met.lie)
    }

    async fn carry(
        &self,
        writer: Writer,
        request: http::Request<Bytes>,
    ) -> std::io::Result<http::Response<Bytes>> {
        self.clock.advance(LATENCY);
        if request.uri().path() != PATH {
            return self.service.clone().oneshot(request).await;
        }
        let now = self.clock.now();
        if request.method() == "GET" {
            let there = self.document().await;
            let lie = self.lie(writer, false, &Value::Null);
            let mut log = lock(&self.log);
            log.seen.insert(writer, keys(there.as_ref()));
            let line = format!("{now} {writer:?} GET {lie:?} {:?}", keys(there.as_ref()));
            log.story.push(line);
            let before = |seconds: u64| {
                let then = now - Duration::from_secs(seconds);
                log.versions.iter().rfind(|(at, _)| *at <= then).and_then(|(_, there)| there.clone())
            };
            let answer = match lie {
                None => answer(there.as_ref()),
                Some(Lie::Stale(seconds)) => answer(before(seconds).as_ref()),
                Some(lie) => told(lie, there),
            };
            log.heard(writer, &answer, now);
            return Ok(answer);
        }
        let mut body: Value = serde_json::from_slice(request.body()).unwrap();
        let before = self.document().await;
        let lie = self.lie(writer, true, &body);
        let sent = body.pointer("/data/attributes/config").and_then(Value::as_object).cloned();
        let line = format!("{now} {writer:?} PUT {lie:?} {:?}", keys(sent.as_ref()));
        lock(&self.log).story.push(line);
        // What it was told is not there, it adds for all that it can know, even if nobody answers that it did.
        let adds = {
            let log = lock(&self.log);
            let told = log.told.get(&writer).cloned().unwrap_or_default();
            keys(sent.as_ref()).difference(&told).cloned().collect::<BTreeSet<_>>()
        };
        match lie {
            Some(Lie::PutFails) => {
                lock(&self.log).added.entry(writer).or_default().extend(adds);
                return Ok(status(500, "it failed"));
            }
            Some(Lie::Rejects(key)) => return Ok(status(400, &format!("project {key} is not known"))),
            _ => {}
        }
        let request = match lie {
            Some(Lie::Drops(key) | Lie::DropsUnsaid(key)) => {
                let list = body.pointer_mut("/data/attributes/config/enabled_projects");
                list.and_then(Value::as_array_mut).unwrap().retain(|entry| entry["project_key"] != key);
                request.map(|_| Bytes::from(body.to_string()))
            }
            _ => request,
        };
        let reply = self.service.clone().oneshot(request).await?;
        let after = self.document().await;
        let (had, has) = (keys(before.as_ref()), keys(after.as_ref()));
        let mut log = lock(&self.log);
        let authors = log.authors.clone();
        log.authors.retain(|key, _| has.contains(key));
        for key in has.difference(&had) {
            // A writer that puts back what an old copy shows has not added it.
            let author = if adds.contains(key) { writer } else { Writer::Person };
            log.authors.insert(key.clone(), author);
        }
        log.unlearned.entry(writer).or_default().retain(|key| !adds.contains(key));
        log.added.entry(writer).or_default().extend(adds);
        let seen = log.seen.get(&writer).cloned().unwrap_or_default();
        log.versions.push((now, after.clone()));
        let lacked = log.lacked.get(&writer).cloned().unwrap_or_default();
        let known = log.known.get(&writer).cloned().unwrap_or_default();
        let added = log.added.get(&writer).cloned().unwrap_or_default();
        let told = log.told.get(&writer).cloned().unwrap_or_default();
        let unanswered = lie == Some(Lie::PutCut);
        log.puts.push(Put {
            at: now,
            by: writer,
            seen,
            told,
            unanswered,
            before,
            sent: sent.clone(),
            authors,
            lacked,
            added,
            known,
        });
        match lie {
            Some(Lie::PutCut) => Err(std::io::ErrorKind::ConnectionReset.into()),
            Some(Lie::DropsUnsaid(_)) => Ok(answer(sent.as_ref())),
            _ => Ok(reply),
        }
    }
}

fn status(status: u16, error: &str) -> http::Response<Bytes> {
    let body = json!({"errors": [{"status": status.to_string(), "detail": error}]}).to_string();
    http::Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Bytes::from(body))
        .unwrap()
}

fn json_reply(body: &Value) -> http::Response<Bytes> {
    let body = Bytes::from(body.to_string());
    http::Response::builder().status(200).header("content-type", "application/json").body(body).unwrap()
}

/// A document as Datadog answers it; 404 where there is none.
fn answer(config: Option<&Map<String, Value>>) -> http::Response<Bytes> {
    let Some(config) = config else { return status(404, "no configuration for integration \"jira\"") };
    let attributes = json!({"integration_id": "jira", "org_id": 321_813, "config": config});
    json_reply(&json!({"data": {"id": "1", "type": "entity_integration_configs", "attributes": attributes}}))
}

fn told(lie: Lie, there: Option<Map<String, Value>>) -> http::Response<Bytes> {
    let list = INTEGRATION.list();
    let with = |value: Value| {
        let mut config = there.clone().unwrap_or_default();
        config.insert(list.to_owned(), value);
        answer(Some(&config))
    };
    match lie {
        Lie::NotFound => status(404, "no configuration for integration \"jira\""),
        Lie::NotFoundElsewhere => http::Response::builder()
            .status(404)
            .header("content-type", "text/html")
            .body(Bytes::from_static(b"<html><body>404 Not Found</body></html>"))
            .unwrap(),
        Lie::EmptyObject => json_reply(&json!({})),
        Lie::NoList => answer(Some(&Map::new())),
        Lie::NullList => with(Value::Null),
        Lie::EmptyList => with(json!([])),
        Lie::Half => {
            let entries = there.as_ref().and_then(|config| config.get(list)?.as_array()).cloned();
            with(entries.unwrap_or_default().into_iter().step_by(2).collect())
        }
        Lie::Fails => status(500, "it failed"),
        Lie::Stale(_)
        | Lie::PutCut
        | Lie::PutFails
        | Lie::Rejects(_)
        | Lie::Drops(_)
        | Lie::DropsUnsaid(_) => answer(there.as_ref()),
    }
}
