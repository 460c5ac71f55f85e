//! What becomes of writes that fail with a server error: they are retried, and parked only if others go through.

use super::{Create, Delete, Operation, Run};
use crate::{
    ledger::ParkedStep,
    model::{ConnectionKey, Subject, TeamId, Trouble},
};

impl Run<'_> {
    /// A write of connections was carried out.
    pub(super) fn worked<'k>(&mut self, operation: Operation, keys: impl Iterator<Item = &'k ConnectionKey>) {
        self.failures = 0;
        self.worked.insert(operation);
        self.hands.evidence.succeeded(operation, keys.cloned().map(Subject::Connection));
    }

    /// A write failed. Returns whether the same operation succeeds for others; then it counts as an attempt of its team.
    pub(super) fn counts(&mut self, operation: Operation, team: Option<TeamId>, subject: Subject) -> bool {
        let since = self.hands.evidence.failed(operation, subject);
        let others_work = since || self.worked.contains(&operation);
        self.out.counted.extend(team.filter(|_| others_work));
        others_work
    }

    /// Decides about creates that fail with a server error though each was sent alone. The rest of their batch was tried
    /// before, which shows whether it is an outage. What is retried may still arrive: its intent stays.
    pub(super) fn creates_failed_alone(&mut self, creates: Vec<(Create, Trouble)>) {
        for (item, trouble) in creates {
            let counts = self.counts(Operation::Create, Some(item.team), item.key.clone().into());
            if counts && self.failed_before(Some(item.team)) {
                // The list that was read since lacks it.
                self.unsure.remove(&item.key);
                self.undone(&item.key);
                self.park(Some(item.team), ParkedStep::Create(item.key), None, &item.reason, &trouble);
            } else {
                self.out.unfinished.insert(Some(item.team), trouble);
            }
        }
    }

    /// The same for deletes.
    pub(super) fn deletes_failed_alone(&mut self, deletes: Vec<(Delete, Trouble)>) {
        for (item, trouble) in deletes {
            let counts = self.counts(Operation::Delete, item.team, item.key.clone().into());
            if counts && self.failed_before(item.team) {
                self.out.stored.closed_intents.push(item.key.clone());
                self.park(item.team, ParkedStep::Delete(item.key), Some(&item.id), &item.reason, &trouble);
            } else {
                self.out.unfinished.insert(item.team, trouble);
            }
        }
    }

    /// Whether the last look at this team failed too.
    fn failed_before(&self, team: Option<TeamId>) -> bool {
        self.hands.marks.get(&team).is_some_and(|mark| mark.failures > 0)
    }
}
