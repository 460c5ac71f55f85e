//! What a worker shows of itself to the others on its ledger, and what it says when they have newer settings.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{daemon::ticks, options};
use crate::{
    ledger::{Ledger, Newer, Process},
    settings::Settings,
    telemetry,
};

/// How often a worker checks whether it is to say that it lives, and whether its settings are still those in force.
const EVERY: Duration = Duration::from_secs(1);

/// While its settings are in force, it reads the other workers once in so many checks. It also reads them before each
/// lease.
const READ_EVERY: u32 = 5;

/// How long the end of a worker waits for the ledger.
const LEAVE: Duration = Duration::from_secs(2);

/// This process, with the settings that it loaded at that moment.
pub(super) fn process(settings: &Settings, role: &'static str, loaded: Instant) -> Process {
    Process {
        id: Uuid::new_v4().to_string(),
        role,
        fingerprint: settings.mapping.fingerprint(),
        settings: options::deciding_writes(settings),
        loaded,
    }
}

/// Whether the settings of this worker are in force, and if not, why; for `/readyz`.
pub(super) fn in_force(ledger: &Ledger) -> Result<(), String> {
    ledger.outdated().map_or(Ok(()), |newer| Err(said(&newer)))
}

/// Shows the other workers that this one lives. Says once when another one has loaded other settings, once when that is
/// over, and once when the ledger fails.
pub(super) async fn show(ledger: Ledger) {
    let mut ticks = ticks(EVERY);
    let mut told: Option<Newer> = None;
    let mut works = true;
    telemetry::work::settings_in_force();
    for tick in 0_u32.. {
        ticks.tick().await;
        let reads = ledger.outdated().is_some() || tick % READ_EVERY == 0;
        let done = check(&ledger, reads).await;
        if let Some(error) = done.as_ref().err().filter(|_| works) {
            telemetry::work::ledger_failed("show this worker to the others", error);
        }
        works = done.is_ok();
        let newer = ledger.outdated();
        match (&told, &newer) {
            (None, Some(newer)) => telemetry::work::settings_outdated(&said(newer)),
            (Some(_), None) => telemetry::work::settings_in_force_again(),
            (None, None) | (Some(_), Some(_)) => {}
        }
        told = newer;
    }
}

async fn check(ledger: &Ledger, reads: bool) -> sqlx::Result<()> {
    let now = ledger.clock().now();
    ledger.show(now).await?;
    if reads { ledger.find_newer(now).await } else { Ok(()) }
}

/// Says that the worker ends. Where the ledger doesn't answer, the others find out by themselves.
pub(super) async fn leave(ledger: &Ledger) {
    if let Ok(Err(error)) = tokio::time::timeout(LEAVE, ledger.leave()).await {
        telemetry::work::ledger_failed("say that this worker ends", &error);
    }
}

fn said(Newer { id, version, loaded_at }: &Newer) -> String {
    format!(
        "worker {id} (teamlink {version}) loaded other settings at {loaded_at}; until this worker has them too, it only \
         accepts deliveries"
    )
}
