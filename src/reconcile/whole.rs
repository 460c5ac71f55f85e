//! The look at an organisation as a whole: what a full pass, a new or renamed organisation, and a change of
//! the app's installation ask for. It writes nothing to Datadog; it marks the teams that are out of step.

use super::{jitter, now, pace, survey::Eyes};
use crate::{
    ledger::{LeasedMark, Ledger, LedgerError, MarkResult, Next, OrgState, Settled, Settlement},
    model::{OrgId, TeamState},
    telemetry,
};

/// Looks at the organisation and settles its mark. Says whether it could be read.
pub(super) async fn look_at_whole(
    eyes: &Eyes,
    ledger: &Ledger,
    (org, fence): (OrgId, i64),
    state: &OrgState,
    mark: &LeasedMark,
) -> Result<bool, LedgerError> {
    let mut settlement = Settlement::default();
    let surveyed = eyes.survey(state).await;
    let next = match &surveyed {
        Ok(surveyed) => {
            settlement.org = Some(surveyed.mirror.org.clone());
            settlement.found = surveyed.out_of_step.iter().chain(&surveyed.missing).copied().collect();
            // Teams that agree with Datadog are in step from now on, without a look of their own.
            let agreed = surveyed.mirror.teams.iter().filter(|(id, team)| {
                let stored = state.teams.get(id).is_some_and(|stored| stored.in_step);
                let only_unmarked = state.teams.get(id).is_some_and(|stored| stored.facts == team.facts);
                team.state == TeamState::Present && !stored && only_unmarked && !surveyed.acts_on(**id)
            });
            settlement.teams = agreed
                .map(|(_, team)| Settled {
                    team: crate::model::MirrorTeam { in_step: true, ..team.clone() },
                    waiting: false,
                })
                .collect();
            telemetry::work::surveyed(org, surveyed.mirror.teams.len(), settlement.found.len());
            Next::Nothing
        }
        Err(trouble) => {
            telemetry::work::not_surveyed(org, trouble);
            let pace::Retry { at, floor, burns } =
                pace::retry(trouble, mark.attempts, false, eyes.options.backoff, jitter(), now());
            Next::Retry { at, floor, error: trouble.message.clone(), burns }
        }
    };
    settlement.marks.push(MarkResult { team: None, generation: mark.generation, next });
    ledger.settle(org, fence, &settlement, now()).await?;
    Ok(surveyed.is_ok())
}
