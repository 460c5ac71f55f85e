//! Composition root: the only place that names concrete clients, spawns tasks and joins them.
//!
//! [`Daemon`] is the whole process in one value: the demo and the tests start it just as `teamlink run` does.

pub mod broker;
mod daemon;
mod options;
mod presence;
mod secrets;
pub mod upstreams;

pub use daemon::{Daemon, Role};

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::{
    datadog, github,
    intake::{Intake, Watch},
    ledger::Ledger,
    model::Integration,
    reconcile::{DocumentByHand, Survey, Worker},
    settings::Settings,
};

/// The ledger that the settings name.
pub async fn ledger(settings: &Settings) -> anyhow::Result<Ledger> {
    Ledger::open(settings.ledger.url.expose_secret()).await.map_err(|error| {
        // SQLite: 11 is SQLITE_CORRUPT, 26 is SQLITE_NOTADB.
        let code = error.chain().find_map(|cause| Some(cause.downcast_ref::<sqlx::Error>()?.as_database_error()?.code()?.into_owned()));
        match code.as_deref() {
            Some("11" | "26") => error.context(
                "the ledger is broken: restore a copy of it, or move it away, with what lies beside it; a new one is \
                 made then, and `teamlink adopt` takes over the connections that the old one knew",
            ),
            _ => error,
        }
    })
}

/// The ledger that the settings name, unless it is a file that isn't there: whoever only looks makes none.
pub async fn ledger_if_there(settings: &Settings) -> anyhow::Result<Option<Ledger>> {
    let url = settings.ledger.url.expose_secret();
    let file = url.strip_prefix("sqlite:").map(|path| path.trim_start_matches("//"));
    let file = file.map(|path| path.split('?').next().unwrap_or(path));
    match file {
        Some(file) if !std::path::Path::new(file).exists() => Ok(None),
        _ => ledger(settings).await.map(Some),
    }
}

/// A URL without what could hold a password.
fn place(url: &SecretString) -> String {
    match url::Url::parse(url.expose_secret()) {
        Ok(url) => format!("{}:{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path()),
        Err(_) => "(ledger.url)".to_owned(),
    }
}

/// What takes deliveries into the ledger. Messages of a broker are checked with the secrets of the moment; behind the
/// webhook alone they have been.
pub async fn intake(
    settings: &Settings,
    ledger: &Ledger,
    wake: Arc<Notify>,
    secrets: watch::Receiver<Vec<SecretString>>,
) -> anyhow::Result<Intake> {
    let bound = ledger.orgs().await?.into_iter().map(|org| (org.facts.id, org.bound_login));
    let watch = Watch::new(&settings.github.orgs, bound);
    let intake = Intake::start(ledger.clone(), watch, options::pace(settings), wake, ledger.clock());
    Ok(match settings.queue.url {
        Some(_) => intake.verifying(options::verify(settings, secrets)),
        None => intake,
    })
}

/// The same for a command, which hands over what is parked.
pub async fn intake_alone(settings: &Settings, ledger: &Ledger) -> anyhow::Result<Intake> {
    let secrets = watch::channel(settings.server.webhook_secrets.clone()).1;
    intake(settings, ledger, Arc::default(), secrets).await
}

/// A worker with its clients. `role` tells the leases of daemons from those of commands. A daemon's leases name its
/// process.
pub fn worker(settings: &Settings, ledger: Ledger, role: &str, wake: Arc<Notify>) -> anyhow::Result<Worker> {
    let datadog = upstreams::datadog(settings)?;
    let options = options::reconcile(settings, ledger.clock())?;
    let id = ledger.process_id().map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    Ok(Worker::new(
        github::Reader::new(upstreams::github(settings)?)?,
        datadog::Reader::new(&datadog)?,
        datadog::Writer::new(&datadog)?,
        options::governed(&ledger, settings),
        options,
        format!("{role}:{id}"),
        wake,
    ))
}

/// The lease of a document that a person replaces. `None` where the settings name a ledger that isn't there.
pub async fn document_by_hand(
    settings: &Settings,
    integration: Integration,
) -> anyhow::Result<Option<DocumentByHand>> {
    let Some(ledger) = ledger_if_there(settings).await? else { return Ok(None) };
    let options = options::reconcile(settings, ledger.clock())?;
    let holder = format!("command:{}", Uuid::new_v4());
    DocumentByHand::take(ledger, options, integration, &holder).await.map(Some)
}

/// What plans without a hand that could write.
pub fn survey(settings: &Settings, ledger: Ledger) -> anyhow::Result<Survey> {
    let options = options::reconcile(settings, ledger.clock())?;
    Ok(Survey::new(
        github::Reader::new(upstreams::github(settings)?)?,
        datadog::Reader::new(&upstreams::datadog(settings)?)?,
        options::governed(&ledger, settings),
        options,
    ))
}
