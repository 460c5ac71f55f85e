//! The orphans of an organisation: which there are, what proves that they may go, and the removal of those that a
//! person has approved. It belongs to the look at the whole organisation, since an orphan belongs to no team.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::{
    apply::{self, Applied, Hands},
    known::Known,
    lease::Lease,
    look,
    survey::{Eyes, Standing, Surveyed},
};
use crate::{
    datadog,
    ledger::{Ledger, LedgerError, OrgState, Settlement},
    model::{Answer, Class, ConnectionKey, HeldKey, HeldKind, Mode, OrgId, TeamType, Time, Trouble},
    plan::{self, Action, Actual, Desired, Guarded, Orphan, Plan, Planned, StepKey, Why},
};

/// Slugs read for proof in one pass. More orphans than these are told of, and have their turn when some are gone.
const PROOFS: usize = 100;

/// Slugs read before it is looked whether to go on.
const AT_A_TIME: usize = 16;

impl Eyes {
    /// Plans for the orphans of an organisation that was just read and listed.
    pub(super) async fn plan_orphans(
        &self,
        known: &Known,
        state: &OrgState,
        desired: &Desired,
        actual: &Actual,
    ) -> Result<Guarded, Trouble> {
        let interrupted = state.intents.iter().filter(|intent| intent.team.is_none());
        let mut done: Vec<ConnectionKey> = interrupted.map(|intent| intent.key.clone()).collect();
        done.retain(|key| !actual.connections.has(key));
        let orphans = plan::unwanted_orphans(&known.mirror, desired, actual);
        let proven = self.prove(&known.mirror.org.login, orphans).await?;
        let mut plan = plan::plan_orphans(proven, &self.policy(known));
        plan.actions.extend(done.into_iter().map(|key| Planned {
            team: None,
            action: Action::Forget { key },
            reason: "an interrupted removal of an orphan had been carried out".to_owned(),
        }));
        Ok(self.guard(known, plan, &known.population))
    }

    /// The time at which each slug answered 404, or why it proves nothing.
    async fn prove(
        &self,
        login: &str,
        orphans: Vec<Orphan>,
    ) -> Result<Vec<(Orphan, Result<Time, String>)>, Trouble> {
        let (to_prove, taken): (Vec<_>, Vec<_>) =
            orphans.into_iter().partition(|orphan| orphan.slug.is_some());
        let exists = |orphan: Orphan| {
            let because = format!("{} exists, and no rule gives it this Datadog team", orphan.key.github);
            (orphan, Err(because))
        };
        let mut told: Vec<_> = taken.into_iter().map(exists).collect();
        if to_prove.is_empty() {
            return Ok(told);
        }
        let mut refused = match self.sees_all_teams(login).await {
            Ok(true) => None,
            Ok(false) => Some("the credential does not see secret teams, so a 404 proves nothing".to_owned()),
            Err(trouble) => Some(trouble.message),
        };
        for (nth, few) in to_prove.chunks(AT_A_TIME).enumerate() {
            if nth * AT_A_TIME >= PROOFS {
                refused.get_or_insert_with(|| format!("a pass looks at about {PROOFS} orphans"));
            }
            if let Some(because) = &refused {
                told.extend(few.iter().map(|orphan| (orphan.clone(), Err(because.clone()))));
                continue;
            }
            let read = few.iter().map(async |orphan| {
                let slug = orphan.slug.as_deref().unwrap_or_default();
                (orphan.clone(), self.github.team_by_slug(login, slug).await)
            });
            for (orphan, answer) in join_all(read).await {
                let proof = match answer {
                    Answer::Absent => Ok(self.options.clock.now()),
                    // The list was asked for the organisation's own teams, so it says nothing of this one.
                    Answer::Present(facts) if facts.team_type == TeamType::Enterprise => Err(format!(
                        "{} is a team of the enterprise, and no rule matches those",
                        orphan.key.github
                    )),
                    Answer::Present(facts) => {
                        let slug = facts.slug;
                        let why =
                            format!("the list of the teams of {login} lacks {slug}, which its slug shows");
                        return Err(Trouble::new(Class::Invalid, why));
                    }
                    Answer::Forbidden(trouble) | Answer::Failed(trouble) => {
                        if matches!(trouble.class, Class::Throttled | Class::Auth) {
                            // It holds for all of them: asking on would only make it worse.
                            refused = Some(trouble.message.clone());
                        }
                        Err(trouble.message)
                    }
                };
                told.push((orphan, proof));
            }
        }
        Ok(told)
    }
}

/// Removes those orphans that may go; with `only`, as far as these steps do. Answers what is to be stored of it, and
/// why something was not carried out, if it was not.
pub(super) async fn remove(
    hands: Hands<'_>,
    state: &OrgState,
    surveyed: &Surveyed,
    only: Option<&BTreeSet<StepKey>>,
) -> Result<(Settlement, Option<Trouble>), LedgerError> {
    let mut plan = surveyed.orphans.ready.clone();
    if let Some(only) = only {
        plan.actions.retain(|planned| only.contains(&planned.action.step()));
    }
    let options = hands.options;
    let again: BTreeSet<ConnectionKey> =
        plan.actions.iter().filter_map(|planned| planned.action.key()).cloned().collect();
    let (today, bound_login) = (&surveyed.mirror.org, &state.org.bound_login);
    let observes = options.policy(&today.login, bound_login).mode == Mode::Observe;
    let Applied { mut stored, mut unfinished, .. } = if observes || !options.serves_as(today, bound_login) {
        Applied::default()
    } else {
        apply::apply(hands, plan).await?
    };
    // A removal that is not repeated though its orphan is shown still was never carried out.
    let over = options.clock.now() - super::lease::shown_within(options.timeout);
    let dead = state.intents.iter().filter(|intent| intent.team.is_none() && intent.at < over);
    stored.closed_intents.extend(dead.map(|intent| intent.key.clone()).filter(|key| !again.contains(key)));
    stored.held = look::held(&surveyed.orphans).collect();
    // What cannot be proven now may be proven later: as long as the orphan is there, its approval holds.
    let Plan { actions, left_alone, .. } = &surveyed.orphans.ready;
    let in_doubt = left_alone.iter().filter_map(|left| match &left.why {
        Why::Orphan { key, .. } => Some(HeldKey::new(HeldKind::Delete, key.clone())),
        _ => None,
    });
    stored.in_doubt = in_doubt.collect();
    stored.approved = actions.iter().filter_map(|planned| planned.action.held_key()).collect();
    // What is held stays held through a pause.
    stored.looked_at.extend(state.paused.whole.is_none().then_some(None));
    Ok((stored, unfinished.remove(&None)))
}

/// Carries out these removals of orphans, as far as they still may go, and nothing else.
pub(super) async fn apply_exactly(
    eyes: &Eyes,
    ledger: &Ledger,
    writer: &datadog::Writer,
    (lease, org): (&Lease, OrgId),
    state: &OrgState,
    steps: &BTreeSet<StepKey>,
) -> anyhow::Result<()> {
    let standing = Standing::read(ledger, org, &eyes.options, false).await?;
    let surveyed = eyes.survey(ledger, state, standing).await?;
    let marks = BTreeMap::new();
    let hands = Hands::new(eyes, ledger, writer, (lease, org), &marks, (&state.intents, state.read_at));
    let (stored, _) = remove(hands, state, &surveyed, Some(steps)).await?;
    Ok(ledger.settle(lease.lane, lease.fence, &stored, eyes.options.clock.now()).await?)
}
