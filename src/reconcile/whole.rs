//! The look at an organisation as a whole: what a full pass, a new or renamed organisation, a change of the app's
//! installation and approved orphans ask for. It marks the teams that are out of step and writes nothing for them;
//! all that it removes are orphans that a person approved.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    apply::Hands,
    drift::drift,
    fold::unlisted,
    lease::Lease,
    listed,
    look::held,
    orphans, pace,
    survey::{Eyes, Standing, Surveyed},
};
use crate::{
    datadog,
    ledger::{LeasedMark, Ledger, LedgerError, MarkResult, Next, OrgState, Settled, Settlement},
    model::{HeldKind, MirrorTeam, OrgId, RemovedByOthers, TeamId, Trouble},
    telemetry,
};

/// Looks at the organisation and settles its mark.
pub(super) async fn look_at_whole(
    eyes: &Eyes,
    ledger: &Ledger,
    writer: &datadog::Writer,
    (lease, org): (&Lease, OrgId),
    state: &OrgState,
    mark: &LeasedMark,
) -> Result<(), LedgerError> {
    let clock = &eyes.options.clock;
    let mut settlement = Settlement::default();
    let retry = |trouble: Trouble| {
        pace::retry(&trouble, mark.failures, false, eyes.options.backoff, clock.jitter(), clock.now())
    };
    let lifts_creates = mark.asks.lifts_creates;
    let standing = Standing::read(ledger, org, &eyes.options, lifts_creates).await?;
    let next = match eyes.survey(ledger, state, standing).await {
        Ok(surveyed) => {
            let marks = BTreeMap::from([(None, mark)]);
            let hands = Hands::new(eyes, ledger, writer, (lease, org), &marks, &state.intents);
            let (stored, unfinished) = orphans::remove(hands, state, &surveyed, None).await?;
            settlement = stored;
            // The first pass is the one whose creates are bounded: one that plans nothing does not count.
            let counts = state.org.passed || state.paused.whole.is_none();
            settlement.passed = counts.then_some(surveyed.others);
            settlement.lifts_creates = lifts_creates;
            // Creates that wait are held from here on; whoever looks at their teams finds the rows.
            let creates = held(&surveyed.guarded).filter(|held| held.key.kind == HeldKind::Create);
            settlement.held.extend(creates);
            settlement.found = surveyed.out_of_step.iter().chain(&surveyed.missing).copied().collect();
            settlement.teams = listed(state, &surveyed);
            if !state.org.passed {
                eyes.keep_connections(&surveyed);
            }
            settlement.listed_at = Some(surveyed.began);
            // What is held and planned no more, for a team that went while it was paused, say, is looked at again.
            let planned: BTreeSet<_> = held(&surveyed.guarded).map(|held| held.key).collect();
            let stale = ledger.held_teams(org).await?;
            settlement
                .found
                .extend(stale.into_iter().filter(|(key, _)| !planned.contains(key)).map(|(_, team)| team));
            if state.org.passed {
                let waiting = ledger.unanswered_teams(org).await?;
                let (mirror, missing) = (&surveyed.mirror, &surveyed.missing);
                telemetry::work::drift(&drift(state, mirror, missing, &surveyed.guarded, &waiting));
            }
            telemetry::work::surveyed(
                &surveyed.mirror.org,
                surveyed.mirror.teams.len(),
                settlement.found.len(),
            );
            let deleted = ledger.deleted_since(lease.lane, clock.now() - RemovedByOthers::WITHIN).await?;
            telemetry::work::came_back(org, &eyes.foreign_among(&surveyed, &deleted));
            settlement.org = Some(surveyed.mirror.org);
            unfinished.map_or(Next::Nothing, retry)
        }
        Err(trouble) => {
            telemetry::work::not_surveyed(org, &trouble);
            retry(trouble)
        }
    };
    settlement.marks.push(MarkResult { team: None, generation: mark.generation, next });
    ledger.settle(lease.lane, lease.fence, &settlement, clock.now()).await?;
    if settlement.held.iter().any(|held| held.team.is_none())
        && let Some(set) = ledger.held_set(lease.lane, clock.now()).await?
    {
        telemetry::work::held_set(&set);
    }
    Ok(())
}

/// What the list of a pass tells of teams for the mirror: teams that need a look, as it shows them, and the end of the
/// proof that others are gone.
fn listed(state: &OrgState, surveyed: &Surveyed) -> Vec<Settled> {
    let Surveyed { mirror, began, out_of_step, missing, .. } = surveyed;
    let missing: BTreeSet<TeamId> = missing.iter().copied().collect();
    let shown = out_of_step.difference(&missing).filter_map(|id| mirror.teams.get(id));
    let shown = shown.filter(|team| listed::counts(state.teams.get(&team.facts.id), team, *began));
    let shown = shown.map(|team| Settled {
        team: MirrorTeam { in_step: false, ..team.clone() },
        waiting: state.waiting.contains(&team.facts.id),
        listed_at: Some(*began),
    });
    let known = missing.iter().filter_map(|id| state.teams.get(id));
    let gone = known.filter_map(|team| unlisted(team, *began));
    shown.chain(gone.map(|team| Settled { team, waiting: false, listed_at: None })).collect()
}
