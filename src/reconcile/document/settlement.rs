//! What is stored of a look at a document, and when it is looked at again. Asks nobody.

use super::{
    DocumentPlan,
    look::{End, Look},
};
use crate::{
    ledger::{
        AuditAction, AuditEntry, AuditOutcome, EntryRow, Held, LeasedMark, Next, ParkedAction, ParkedStep,
        SettledDocument, Settlement,
    },
    model::{Class, EntryKey, HeldKey, HeldKind, HoldReason, Subject, Trouble},
    plan::Merged,
    reconcile::{lease, pace},
    telemetry,
};

impl Look<'_> {
    /// What is stored of the look, and what comes next.
    pub(super) fn settlement(&self, end: End, mark: &LeasedMark) -> (Settlement, Next) {
        let options = &self.eyes.options;
        let now = options.clock.now();
        let mut settlement = Settlement { looked_at: vec![None], ..Settlement::default() };
        let mut document = SettledDocument {
            integration: self.integration,
            entries: self.state.entries.clone(),
            datadog_org: None,
            accepted: self.state.accepted.clone(),
            suspicion: self.state.suspicion.clone(),
            lists: self.wants.lists.clone(),
            read_at: self.started,
        };
        // Where nothing is decided, what is held stays held.
        settlement.held = self.held_before();
        let next = match end {
            End::Done { plan, put, reads_back } => {
                let next = self.next(mark, reads_back);
                self.settle(*plan, put, mark, &mut settlement, &mut document);
                next
            }
            End::Ambiguous(trouble, plan) => {
                let added = plan.merged.added.keys();
                document.entries.extend(added.map(|key| (key.clone(), self.row(key))));
                settlement.audit = self.audit(&plan.merged, mark, AuditOutcome::Unknown);
                // What it removes may be gone by the next read.
                let mut accepted = plan.merged.contents();
                for key in plan.merged.removed.values() {
                    accepted.entries.remove(key);
                }
                document.accepted = accepted;
                let at = now + options.timeout + lease::MARGIN;
                Next::Retry { at, floor: at, error: trouble, burns: false }
            }
            End::Failed(trouble) if trouble.class == Class::Permanent => {
                let (step, attempts) = (ParkedStep::Replace(self.integration), mark.attempts + 1);
                settlement.parked.push(ParkedAction { team: None, step, error: trouble, attempts });
                Next::Nothing
            }
            End::Failed(trouble) => self.retry(trouble, mark),
            End::Suspect(suspicion) => {
                let at = suspicion.since + options.grace;
                document.suspicion = Some(suspicion);
                Next::At(at.max(now))
            }
        };
        settlement.document = Some(document);
        (settlement, next)
    }

    /// Stores a look that brought the document as far into step as it may be.
    fn settle(
        &self,
        DocumentPlan { remote, merged, read }: DocumentPlan,
        put: bool,
        mark: &LeasedMark,
        settlement: &mut Settlement,
        document: &mut SettledDocument,
    ) {
        // As long as a person has not decided, the document is what it was.
        let waits = !(merged.held.is_empty() && merged.held_additions.is_empty());
        let now = self.eyes.options.clock.now();
        let undecided = if put { None } else { read.still_suspected(waits, now) };
        if put {
            document.accepted = merged.contents_once_put();
        } else if undecided.is_none() {
            document.accepted = merged.contents();
        }
        if put || !merged.changed() && undecided.is_none() {
            document.entries = merged.ours().into_iter().map(|key| (key.clone(), self.row(&key))).collect();
        }
        document.suspicion = undecided;
        document.datadog_org = remote.and_then(|document| document.org_id);
        if put {
            let (added, removed) = (merged.added.len(), merged.removed.len());
            telemetry::work::document_put(self.integration, added, removed, merged.corrected.len());
            settlement.audit = self.audit(&merged, mark, AuditOutcome::Done);
            let removed = merged.removed.values().map(|key| self.held_key(HeldKind::Delete, key));
            let added = merged.added.keys().map(|key| self.held_key(HeldKind::Create, key));
            settlement.spent = removed.chain(added).collect();
        }
        // Entries that stay only because a read failed are undecided: their held rows stay too.
        let unread = self.state.held.iter().filter(|(key, _)| {
            let unknown = self.wants.unread.is_some() || self.wants.suspected.contains_key(*key);
            unknown && merged.spared.contains(*key)
        });
        let removals = merged.held.iter().chain(unread);
        let removals = removals.map(|(key, reason)| self.held(HeldKind::Delete, key, reason));
        let additions = merged.held_additions.iter();
        let additions = additions.map(|(key, (_, reason))| self.held(HeldKind::Create, key, reason));
        settlement.held = removals.chain(additions).collect();
    }

    /// When the document is looked at again after a look that came to its end.
    fn next(&self, mark: &LeasedMark, reads_back: bool) -> Next {
        match &self.wants.unread {
            Some(trouble) => self.retry(trouble.clone(), mark),
            // Something else may undo each of our PUTs, so that they must become rarer.
            None if !reads_back => {
                let id = self.integration.as_str();
                let why = format!("the document of {id} does not read back as it was written");
                self.retry(Trouble::new(Class::Transient, why), mark)
            }
            None => {
                let lag = pace::lag_look(mark.event_at, self.started);
                lag.into_iter().chain(self.wants.second_look).min().map_or(Next::Nothing, Next::At)
            }
        }
    }

    fn retry(&self, trouble: Trouble, mark: &LeasedMark) -> Next {
        let options = &self.eyes.options;
        let now = options.clock.now();
        pace::retry(&trouble, mark.failures, false, options.backoff, options.clock.jitter(), now)
    }

    /// What was held before this look.
    fn held_before(&self) -> Vec<Held> {
        let removals = self.state.held.iter();
        let removals = removals.map(|(key, reason)| self.held(HeldKind::Delete, key, reason));
        let additions = self.state.held_additions.iter();
        let additions = additions.map(|(key, reason)| self.held(HeldKind::Create, key, reason));
        removals.chain(additions).collect()
    }

    fn held(&self, kind: HeldKind, key: &EntryKey, reason: &HoldReason) -> Held {
        Held { key: self.held_key(kind, key), team: None, reason: reason.clone() }
    }

    fn held_key(&self, kind: HeldKind, key: &EntryKey) -> HeldKey {
        HeldKey::new(kind, self.subject(key))
    }

    /// How an entry is named in held sets, slots and the audit trail.
    pub(super) fn subject(&self, key: &EntryKey) -> Subject {
        Subject::Entry(self.integration, key.clone())
    }

    /// The row of an entry of ours.
    fn row(&self, key: &EntryKey) -> EntryRow {
        let known = self.wants.rows.get(key).or(self.state.entries.get(key)).cloned().unwrap_or_default();
        EntryRow { suspected: self.wants.suspected.get(key).copied(), ..known }
    }

    /// The audit of a PUT.
    fn audit(&self, merged: &Merged, mark: &LeasedMark, outcome: AuditOutcome) -> Vec<AuditEntry> {
        let line = |action, key: &EntryKey, reason: String| AuditEntry {
            team: None,
            action,
            subject: self.subject(key),
            connection: None,
            cause: mark.cause,
            of_event: mark.asks.event,
            reason,
            proof: None,
            outcome,
            detail: None,
        };
        let added =
            merged.added.keys().map(|key| line(AuditAction::AddEntry, key, "it is wanted".to_owned()));
        let removed = merged.removed.values().map(|key| {
            let unwanted = || "it is not wanted".to_owned();
            line(AuditAction::RemoveEntry, key, self.wants.reasons.get(key).cloned().unwrap_or_else(unwanted))
        });
        added.chain(removed).collect()
    }
}
