//! What is told of connections of ours that somebody else removed.

use super::Look;
use crate::{
    ledger::{AuditAction, AuditEntry, AuditOutcome, LeasedMark},
    model::{Cause, Owned, Subject},
    plan::Guarded,
};

impl Look<'_> {
    /// Returns the connections that this look is the first to find removed by somebody else, and how often that happened
    /// to each key within a day.
    pub(super) fn times_removed(&self, guarded: &Guarded) -> Vec<(Owned, usize)> {
        let before = &self.known.population.removed_by_others;
        let times = |owned: &Owned| before.get(&owned.key).map_or(0, |removals| removals.times()) + 1;
        guarded.removed_by_others.iter().map(|owned| (owned.clone(), times(owned))).collect()
    }

    /// Returns a line of the audit trail for each of them.
    pub(super) fn audit_of_removals(&self, due: &[LeasedMark], guarded: &Guarded) -> Vec<AuditEntry> {
        let line = |(owned, times): (Owned, usize)| {
            let mark = due.iter().find(|mark| mark.team == Some(owned.team));
            AuditEntry {
                team: Some(owned.team),
                action: AuditAction::RemovedByOthers,
                subject: Subject::Connection(owned.key),
                connection: Some(owned.id.to_string()),
                cause: mark.map_or(Cause::Pass, |mark| mark.cause),
                of_event: mark.is_some_and(|mark| mark.asks.event),
                reason: format!("somebody removed it from Datadog: {times} within a day"),
                proof: None,
                outcome: AuditOutcome::Done,
                detail: None,
            }
        };
        self.times_removed(guarded).into_iter().map(line).collect()
    }
}
