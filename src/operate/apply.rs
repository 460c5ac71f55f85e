//! Applying a saved plan: exactly its steps, and only while each of them is still planned or done already.
//!
//! In a busy organisation other hands work too: a daemon carries out what was approved, and what events ask for. So
//! a step that is done is no reason to refuse the others, nor is one that an event had already asked for when the plan
//! was made: that one is the daemon's, however it ends. GitHub shows a change before it tells of it, so the event may
//! also have come later: then it is one of at least two, since what undid the step was told too.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context as _, bail};

use super::plan::{FORMAT, OrgDocument, Origin, PlanDocument};
use crate::{
    ledger::{Held, Ledger},
    model::{ConnectionKey, HoldReason, Lane, OrgFacts, TeamId, TeamKey, Time},
    plan::{Action, Planned, StepKey, Why},
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
    /// Those of them that had been done before, or taken over by later events.
    pub before: usize,
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

/// Checks that a saved plan is of what today's settings name.
///
/// # Errors
/// When it is of another GitHub or another Datadog organisation, or does not say.
pub fn check_origin(saved: &PlanDocument, today: &Origin) -> anyhow::Result<()> {
    let Some(of) = &saved.of else {
        bail!(
            "nothing was done, because an older version made the plan, without its GitHub and Datadog; make it again"
        );
    };
    match of.differs(today) {
        Some(what) => bail!("nothing was done, because the plan is for {what}; make it again"),
        None => Ok(()),
    }
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
    let made_at = humantime::parse_rfc3339(&saved.made_at)
        .with_context(|| format!("`made_at` of the plan is no time: {}", saved.made_at))?
        .into();
    let (mut stale, mut open) = (Vec::new(), Vec::new());
    for org in &saved.orgs {
        if let Some(error) = &org.error {
            bail!("the plan of {} could not be made: {error}", org.org.login);
        }
        let standing = standing(org, made_at, survey, ledger).await?;
        stale.extend(standing.stale.into_iter().map(|step| format!("{}: {step}", org.org.login)));
        open.push(standing.open);
    }
    if !stale.is_empty() {
        return Err(Stale(stale).into());
    }
    let mut applied = Vec::new();
    for (org, open) in saved.orgs.iter().zip(open) {
        let steps = org.writes().count();
        let before = steps - open.len();
        let mut left = Vec::new();
        if !open.is_empty() {
            approve(org, &open, ledger, now).await?;
            let teams: BTreeSet<Option<TeamId>> = open.iter().map(|(team, _)| *team).collect();
            let steps = open.iter().map(|(_, step)| step.clone()).collect();
            worker.apply_exactly(&org.org, &teams.into_iter().collect::<Vec<_>>(), &steps).await?;
            // What an event has asked for goes on by itself.
            let ours = open.into_iter().filter(|(team, _)| !org.in_flight(*team)).collect();
            left = still_planned(&survey.plan(&org.org.login).await?, &ours);
        }
        applied.push(Applied { org: org.org.clone(), steps, before, left });
    }
    Ok(applied)
}

/// What has become of the steps of a saved plan.
struct Standing {
    /// Those that are still planned.
    open: BTreeSet<Step>,
    /// Those that are neither planned nor done.
    stale: Vec<String>,
}

async fn standing(
    saved: &OrgDocument,
    made_at: Time,
    survey: &Survey,
    ledger: &Ledger,
) -> anyhow::Result<Standing> {
    let OrgFacts { id, login } = &saved.org;
    let now = survey.plan(login).await?;
    if now.org.id != *id {
        let has = now.org.id;
        bail!(
            "nothing was done, because the plan is for org {id}, but {login} is org {has} now; make it again"
        );
    }
    let guarded = match &now.plan {
        Ok(guarded) => guarded,
        Err(trouble) => bail!("failed to plan {login} anew: {trouble}"),
    };
    let planned = || guarded.ready.actions.iter().chain(guarded.held.iter().map(|(planned, _)| planned));
    let steps: BTreeSet<Step> = planned().map(identity).collect();
    // Read after the plan, so that what was done meanwhile is in it.
    let state = ledger.org_state(*id).await?;
    let mut there: BTreeSet<&ConnectionKey> =
        state.iter().flat_map(|state| &state.owned).map(|owned| &owned.key).collect();
    there.extend(guarded.ready.left_alone.iter().filter_map(|left| match &left.why {
        Why::Satisfied { key, .. } | Why::Orphan { key, .. } => Some(key),
        _ => None,
    }));
    let mut touched = BTreeSet::new();
    for Planned { action, .. } in planned() {
        match action {
            Action::Record { key, .. } => drop(there.insert(key)),
            Action::Forget { key } => drop(there.remove(key)),
            Action::Create { key, .. } | Action::Delete { key, .. } => drop(touched.insert(key)),
            Action::CreateTeam { .. } | Action::PassOn { .. } => {}
        }
    }
    let done = |action: &Action| match action {
        Action::CreateTeam { handle, .. } => now.handles.values().any(|known| known == handle),
        Action::Create { key, .. } => there.contains(key) && !touched.contains(key),
        Action::Delete { key, .. } => !there.contains(key) && !touched.contains(key),
        Action::PassOn { .. } | Action::Record { .. } | Action::Forget { .. } => true,
    };
    let (open, gone): (Vec<&Planned>, Vec<&Planned>) =
        saved.writes().partition(|planned| steps.contains(&identity(planned)));
    let mut stale = Vec::new();
    for planned in gone {
        let told_later = match planned.team.filter(|team| saved.untold.contains(team)) {
            Some(team) => ledger.events_since(TeamKey { org: *id, team }, made_at).await? > 1,
            None => false,
        };
        if !done(&planned.action) && !saved.in_flight(planned.team) && !told_later {
            stale.push(planned.action.step().to_string());
        }
    }
    Ok(Standing { stale, open: open.into_iter().map(identity).collect() })
}

/// What the plan holds is approved by applying it.
async fn approve(org: &OrgDocument, open: &BTreeSet<Step>, ledger: &Ledger, now: Time) -> anyhow::Result<()> {
    let held: Vec<Held> = org
        .held
        .iter()
        .filter(|held| open.contains(&identity(&held.planned)))
        .filter_map(|held| {
            let key = held.planned.action.held_key()?;
            let reason = HoldReason::stored(None, held.held_because.clone());
            Some(Held { key, team: held.planned.team, reason })
        })
        .collect();
    if held.is_empty() {
        return Ok(());
    }
    ledger.bind_org(&org.org, now).await?;
    let hash = ledger.remember_held(Lane::Org(org.org.id), &held, now).await?;
    ledger.approve(&hash, "applied as part of a saved plan", EXPIRES, now).await?;
    Ok(())
}

/// The steps that are planned even after they were to be carried out.
fn still_planned(after: &OrgPlan, steps: &BTreeSet<Step>) -> Vec<String> {
    match &after.plan {
        Err(trouble) => vec![format!("not known, because {trouble}")],
        Ok(guarded) => {
            let ready = guarded.ready.actions.iter().map(|planned| (planned, None));
            let held = guarded.held.iter().map(|(planned, why)| (planned, Some(why)));
            ready
                .chain(held)
                .filter(|(planned, _)| steps.contains(&identity(planned)))
                .map(|(planned, why)| match why {
                    Some(why) => format!("{} (held: {why})", planned.action.step()),
                    None => planned.action.step().to_string(),
                })
                .collect()
        }
    }
}

/// What makes a step the same step at another time: a team of the same name may be another by then.
type Step = (Option<TeamId>, StepKey);

fn identity(planned: &Planned) -> Step {
    (planned.team, planned.action.step())
}
