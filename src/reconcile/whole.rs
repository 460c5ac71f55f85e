//! The look at an organisation as a whole: what a full pass, a new or renamed organisation, and a change of
//! the app's installation ask for. It writes nothing to Datadog; it marks the teams that are out of step.

use super::{jitter, lease::Lease, now, pace, survey::Eyes};
use crate::{
    ledger::{LeasedMark, Ledger, LedgerError, MarkResult, Next, OrgState, Settlement},
    telemetry,
};

/// Looks at the organisation and settles its mark.
pub(super) async fn look_at_whole(
    eyes: &Eyes,
    ledger: &Ledger,
    lease: &Lease,
    state: &OrgState,
    mark: &LeasedMark,
) -> Result<(), LedgerError> {
    let mut settlement = Settlement::default();
    let next = match eyes.survey(state).await {
        Ok(surveyed) => {
            settlement.found = surveyed.out_of_step.iter().chain(&surveyed.missing).copied().collect();
            telemetry::work::surveyed(
                &surveyed.mirror.org,
                surveyed.mirror.teams.len(),
                settlement.found.len(),
            );
            settlement.org = Some(surveyed.mirror.org);
            Next::Nothing
        }
        Err(trouble) => {
            telemetry::work::not_surveyed(lease.org, &trouble);
            let pace::Retry { at, floor, burns } =
                pace::retry(&trouble, mark.attempts, false, eyes.options.backoff, jitter(), now());
            Next::Retry { at, floor, error: trouble.message, burns }
        }
    };
    settlement.marks.push(MarkResult { team: None, generation: mark.generation, next });
    ledger.settle(lease.org, lease.fence, &settlement, now()).await
}
