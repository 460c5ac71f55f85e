//! The look at an organisation as a whole: what a full pass, a new or renamed organisation, a change of the app's
//! installation and approved orphans ask for. It marks the teams that are out of step and writes nothing for them;
//! all that it removes are orphans that a person approved, and the connections of an organisation whose release a person
//! approved (`release.rs`).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    apply::Hands,
    drift::drift,
    fold::unlisted,
    lease::Lease,
    listed,
    look::held,
    orphans, pace, release,
    survey::{Eyes, Standing, Surveyed},
};
use crate::{
    datadog,
    ledger::{LeasedMark, Ledger, LedgerError, MarkResult, Next, OrgState, Settled, Settlement},
    model::{Asks, HeldKind, MirrorTeam, OrgId, RemovedByOthers, Target, TeamId, Trouble},
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
    let retry = |trouble: Trouble| {
        pace::retry(&trouble, mark.failures, false, eyes.options.backoff, clock.jitter(), clock.now())
    };
    let standing = Standing::read(ledger, org, &eyes.options, mark.asks.lifts_creates).await?;
    let surveyed = eyes.looking(lease.lane).survey(ledger, state, standing).await;
    // Where a limit stopped it, the next look goes on with what was read. So does the release of one that is gone.
    if surveyed.is_ok() {
        eyes.datadog.looked(lease.lane);
    }
    let found = release::read(eyes, ledger, state, surveyed.as_ref()).await?;
    let (mut settlement, mut next) = match surveyed {
        Ok(surveyed) => {
            let marks = BTreeMap::from([(None, mark)]);
            let hands =
                Hands::new(eyes, ledger, writer, (lease, org), &marks, (&state.intents, state.read_at));
            let (mut settlement, unfinished) = orphans::remove(hands, state, &surveyed, None).await?;
            take_in(eyes, ledger, (lease, org), state, mark, surveyed, &mut settlement).await?;
            (settlement, unfinished.map_or(Next::Nothing, retry))
        }
        Err(trouble) => {
            telemetry::work::not_surveyed(org, &trouble);
            (Settlement::default(), retry(trouble))
        }
    };
    let at = release::At { eyes, ledger, writer, lease, org, state, mark };
    at.decide(found, &mut settlement, &mut next).await?;
    settlement.marks.push(MarkResult { team: None, generation: mark.generation, next });
    ledger.settle(lease.lane, lease.fence, &settlement, clock.now()).await?;
    if settlement.released.is_some() {
        // Whoever has the login has waited for this. Where GitHub doesn't say who that is, the next pass asks again.
        drop(eyes.bind_holder(ledger, &state.org.bound_login).await?);
        ledger.mark(&[Target::Org(org)], mark.cause, Asks::PASS, clock.now()).await?;
    }
    if settlement.held.iter().any(|held| held.team.is_none())
        && let Some(set) = ledger.held_set(lease.lane, clock.now()).await?
    {
        telemetry::work::held_set(&set);
    }
    Ok(())
}

/// Takes in what a survey found.
async fn take_in(
    eyes: &Eyes,
    ledger: &Ledger,
    (lease, org): (&Lease, OrgId),
    state: &OrgState,
    mark: &LeasedMark,
    surveyed: Surveyed,
    settlement: &mut Settlement,
) -> Result<(), LedgerError> {
    // The first pass is the one whose creates are bounded: one that plans nothing does not count.
    let counts = state.org.passed || state.paused.whole.is_none();
    settlement.passed = counts.then_some(surveyed.others);
    settlement.lifts_creates = mark.asks.lifts_creates;
    // Creates that wait are held from here on; whoever looks at their teams finds the rows.
    let creates = held(&surveyed.guarded).filter(|held| held.key.kind == HeldKind::Create);
    settlement.held.extend(creates);
    settlement.found = surveyed.out_of_step.iter().chain(&surveyed.missing).copied().collect();
    settlement.teams = listed(state, &surveyed);
    eyes.keep_connections(Some(&surveyed).filter(|_| !state.org.passed));
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
    telemetry::work::surveyed(&surveyed.mirror.org, surveyed.mirror.teams.len(), settlement.found.len());
    let since = eyes.options.clock.now() - RemovedByOthers::WITHIN;
    let deleted = ledger.deleted_since(lease.lane, since).await?;
    telemetry::work::came_back(org, &eyes.foreign_among(&surveyed, &deleted));
    settlement.org = Some(surveyed.mirror.org);
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
