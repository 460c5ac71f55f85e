//! Applying a saved plan: exactly its steps, and only while each of them is still planned.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context as _, bail};

use super::plan::{FORMAT, OrgDocument, PlanDocument};
use crate::{
    ledger::{Held, Ledger},
    model::{OrgFacts, TeamId, Time},
    plan::Planned,
    reconcile::{OrgPlan, Survey, Worker},
};

/// How long the approval holds that applying a plan gives to what it holds.
const EXPIRES: Duration = Duration::from_secs(3600);

/// How applying went in one organisation.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The organisation.
    pub org: OrgFacts,
    /// Steps that the plan holds.
    pub steps: usize,
    /// Steps of it that are still to be done, each with the reason when one is known.
    pub left: Vec<String>,
}

/// Why a saved plan is not applied: what is no longer planned, a line each.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the plan is stale; no longer planned: {}", .0.join("; "))]
pub struct Stale(pub Vec<String>);

/// Reads a saved plan.
///
/// # Errors
/// When the file cannot be read or is no plan of this version.
pub fn read(path: &Path) -> anyhow::Result<PlanDocument> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the plan {}", path.display()))?;
    let plan: PlanDocument = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a plan as `teamlink plan --out` saves it", path.display()))?;
    if plan.format != FORMAT {
        bail!(
            "{} has the form `{}`, this version reads `{FORMAT}`: make the plan again",
            path.display(),
            plan.format
        );
    }
    Ok(plan)
}

/// Applies a saved plan. All organisations are compared with what is planned now before anything is written.
///
/// # Errors
/// [`Stale`] when a step is no longer planned; when something cannot be read.
pub async fn apply(
    saved: &PlanDocument,
    survey: &Survey,
    worker: &Worker,
    ledger: &Ledger,
    now: Time,
) -> anyhow::Result<Vec<Applied>> {
    let mut stale = Vec::new();
    for org in &saved.orgs {
        if let Some(error) = &org.error {
            bail!("the plan of {} could not be made: {error}", org.org.login);
        }
        let planned: BTreeSet<String> = steps_now(survey, &org.org.login).await?.into_iter().collect();
        let gone = org.writes().map(identity).filter(|step| !planned.contains(step));
        stale.extend(gone.map(|step| format!("{}: {step}", org.org.login)));
    }
    if !stale.is_empty() {
        return Err(Stale(stale).into());
    }
    let mut applied = Vec::new();
    for org in &saved.orgs {
        approve(org, ledger, now).await?;
        let steps: BTreeSet<String> = org.writes().map(identity).collect();
        let teams: BTreeSet<TeamId> = org.writes().map(|planned| planned.team).collect();
        worker.apply_exactly(&org.org, &teams.into_iter().collect::<Vec<_>>(), &steps).await?;
        let after = survey.plan(&org.org.login).await?;
        let left = left(&after, &steps);
        applied.push(Applied { org: org.org.clone(), steps: steps.len(), left });
    }
    Ok(applied)
}

/// What the plan holds is approved by applying it.
async fn approve(org: &OrgDocument, ledger: &Ledger, now: Time) -> anyhow::Result<()> {
    let held: Vec<Held> = org
        .held
        .iter()
        .filter_map(|held| {
            let key = held.planned.action.held_key()?;
            Some(Held { key, team: held.planned.team, reason: held.held_because.clone() })
        })
        .collect();
    if held.is_empty() {
        return Ok(());
    }
    ledger.bind_org(&org.org, now).await?;
    let hash = ledger.remember_held(org.org.id, &held, now).await?;
    ledger.approve(&hash, "applied as part of a saved plan", EXPIRES, now).await?;
    Ok(())
}

async fn steps_now(survey: &Survey, login: &str) -> anyhow::Result<Vec<String>> {
    let now = survey.plan(login).await?;
    match &now.plan {
        Ok(guarded) => {
            let held = guarded.held.iter().map(|(planned, _)| planned);
            Ok(guarded.ready.actions.iter().chain(held).map(identity).collect())
        }
        Err(trouble) => bail!("failed to plan {login} anew: {trouble}"),
    }
}

/// The steps that are still planned.
fn left(after: &OrgPlan, steps: &BTreeSet<String>) -> Vec<String> {
    match &after.plan {
        Err(trouble) => vec![format!("not known, because {trouble}")],
        Ok(guarded) => {
            let ready = guarded.ready.actions.iter().map(|planned| (planned, None));
            let held = guarded.held.iter().map(|(planned, why)| (planned, Some(why)));
            ready
                .chain(held)
                .filter(|(planned, _)| steps.contains(&identity(planned)))
                .map(|(planned, why)| match why {
                    Some(why) => format!("{} (held: {why})", identity(planned)),
                    None => identity(planned),
                })
                .collect()
        }
    }
}

/// What makes a step the same step at another time.
fn identity(planned: &Planned) -> String {
    planned.action.identity()
}
