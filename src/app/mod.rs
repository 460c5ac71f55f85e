//! Composition root: the only place that names concrete clients, spawns tasks and joins them.
//!
//! [`Daemon`] is the whole process in one value: the demo and the tests start it just as `teamlink run` does.

pub mod broker;
mod daemon;
mod options;
pub mod upstreams;

pub use daemon::{Daemon, Role};

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    datadog, github,
    ledger::Ledger,
    reconcile::{Survey, Worker},
    settings::Settings,
};

/// The ledger that the settings name.
pub async fn ledger(settings: &Settings) -> anyhow::Result<Ledger> {
    Ledger::open(settings.ledger.url.expose_secret()).await
}

/// A worker with its clients. `role` tells the leases of daemons from those of commands.
pub fn worker(settings: &Settings, ledger: Ledger, role: &str, wake: Arc<Notify>) -> anyhow::Result<Worker> {
    let datadog = upstreams::datadog(settings)?;
    Ok(Worker::new(
        github::Reader::new(upstreams::github(settings)?)?,
        datadog::Reader::new(&datadog)?,
        datadog::Writer::new(&datadog)?,
        ledger,
        options::reconcile(settings)?,
        format!("{role}:{}", Uuid::new_v4()),
        wake,
    ))
}

/// What plans without a hand that could write.
pub fn survey(settings: &Settings, ledger: Ledger) -> anyhow::Result<Survey> {
    Ok(Survey::new(
        github::Reader::new(upstreams::github(settings)?)?,
        datadog::Reader::new(&upstreams::datadog(settings)?)?,
        ledger,
        options::reconcile(settings)?,
    ))
}
