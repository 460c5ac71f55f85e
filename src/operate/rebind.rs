//! Binding the ledger to the Datadog organisation of today's keys.

use anyhow::ensure;

use crate::{
    datadog,
    ledger::{Ledger, Rebound},
    model::{Answer, DatadogOrg, Time},
    transport::retry_answer,
};

/// What a rebinding would do.
#[derive(Clone, Debug)]
pub struct Rebinding {
    /// The organisation that the ledger belongs to; none where it was never known.
    pub from: Option<DatadogOrg>,
    /// That of today's keys; none where Datadog does not say.
    pub to: Option<DatadogOrg>,
    /// Datadog teams that are known in the one that it leaves.
    pub leaves: usize,
    /// What is kept of the new one: under which id, and how many Datadog teams.
    pub restores: Option<(String, usize)>,
}

/// The organisation that the keys belong to; none where Datadog does not say.
///
/// # Errors
/// When Datadog does not answer.
pub(super) async fn org_of(reader: &datadog::Reader) -> anyhow::Result<Option<DatadogOrg>> {
    match retry_answer(|| reader.org()).await {
        Answer::Present(org) => Ok(Some(org)),
        Answer::Absent | Answer::Forbidden(_) => Ok(None),
        Answer::Failed(trouble) => Err(trouble.into()),
    }
}

/// Looks what a rebinding would do.
///
/// # Errors
/// When Datadog does not answer, or the ledger fails.
pub async fn look(ledger: &Ledger, reader: &datadog::Reader) -> anyhow::Result<Rebinding> {
    let home = ledger.datadog_home().await?;
    let to = org_of(reader).await?;
    let mut restores = None;
    for (org, teams) in ledger.elsewhere().await? {
        let known = to.as_ref().is_some_and(|to| to.id == org);
        // Rows of an organisation that was never known are this one's if a team of theirs is here.
        let here = match teams.first().filter(|_| !known && org.is_empty()) {
            Some(team) => matches!(retry_answer(|| reader.team(team)).await, Answer::Present(_)),
            None => known,
        };
        if here {
            restores = Some((org, teams.len()));
        }
    }
    Ok(Rebinding { from: home.org, to, leaves: home.teams.len(), restores })
}

/// Binds the ledger to the organisation of today's keys.
///
/// # Errors
/// When a worker is running, whose keys may be others, or the ledger fails.
pub async fn rebind(
    ledger: &Ledger,
    rebinding: &Rebinding,
    reason: &str,
    now: Time,
) -> anyhow::Result<Rebound> {
    let workers = ledger.live_workers(now).await?;
    ensure!(
        workers == 0,
        "nothing was changed, because workers run on this ledger ({workers}); stop them, then try again"
    );
    let restores = rebinding.restores.as_ref().map(|(org, _)| org.as_str());
    Ok(ledger.rebind_datadog(rebinding.to.as_ref(), restores, reason, now).await?)
}
