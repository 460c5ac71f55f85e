//! What is stored of a look at a document, and when it is looked at again. Asks nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    DocumentPlan,
    look::{End, Look},
};
use crate::{
    ledger::{
        AuditAction, AuditEntry, AuditOutcome, DocumentState, EntryRow, Held, LastLook, LeasedMark, Next,
        ParkedAction, ParkedStep, RejectedEntry, RemovedEntry, SettledDocument, Settlement,
    },
    model::{Class, EntryKey, HeldKey, HeldKind, HoldReason, Subject, Time, Trouble},
    plan::Merged,
    reconcile::{lease, pace},
    telemetry,
};

/// After a PUT, the document is read again so much later: what another writer undoes shows then.
const READS_AFTER_A_PUT: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120)];

impl Look<'_> {
    /// What is stored of the look, and what comes next.
    pub(super) fn settlement(mut self, end: End, mark: &LeasedMark) -> (Settlement, Next) {
        let options = &self.eyes.options;
        let now = options.clock.now();
        let last = self.state.last_look.unwrap_or_default();
        let mut look =
            LastLook { generation: mark.generation, full_at: Some(now), put_at: self.put_at.or(last.put_at) };
        // Where nothing is decided, what is held stays held, and what is parked parked.
        let mut settlement =
            Settlement { looked_at: vec![None], held: self.held_before(), ..Settlement::default() };
        settlement.parked = self.parked();
        let mut datadog_org = None;
        let next = match end {
            End::Calm => {
                look.full_at = last.full_at;
                // Such a read shows what was accepted.
                let DocumentState { entries, accepted, .. } = &mut self.state;
                let shown = entries.iter_mut().filter(|(key, _)| accepted.entries.contains(key));
                shown.for_each(|(_, row)| row.unseen_puts = 0);
                at(look.full_at, look.put_at, now)
            }
            End::Done { plan, reads_back, unfinished } => {
                datadog_org = plan.remote.as_ref().and_then(|document| document.org_id);
                if self.remember_vanished(&plan, now) {
                    look.put_at = Some(now);
                }
                let next = if unfinished { Next::At(now) } else { self.next(mark, reads_back, &mut look) };
                self.settle(*plan, &mut settlement);
                next
            }
            End::Ambiguous(trouble, merged) => {
                for key in merged.added.keys() {
                    let row = self.row(key, 1);
                    self.state.entries.entry(key.clone()).or_insert(row);
                }
                self.audit.extend(self.audit_of(&merged, &BTreeSet::new(), AuditOutcome::Unknown));
                // What it removes may be gone by the next read.
                for key in merged.removed.values() {
                    self.state.accepted.entries.remove(key);
                }
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
                let again = (suspicion.since + options.grace).max(now);
                self.state.suspicion = Some(suspicion);
                Next::At(again)
            }
        };
        settlement.audit = self.audit;
        settlement.spent = self.spent;
        settlement.document = Some(SettledDocument {
            integration: self.integration,
            entries: self.state.entries,
            datadog_org,
            accepted: self.state.accepted,
            suspicion: self.state.suspicion,
            removed_entries: self.state.removed_entries,
            look,
            lists: self.wants.lists,
            read_at: self.started,
        });
        (settlement, next)
    }

    /// Stores a look that brought the document as far into step as it may be.
    fn settle(&mut self, plan: DocumentPlan, settlement: &mut Settlement) {
        let waits = plan.is_waiting();
        let DocumentPlan { merged, read, .. } = plan;
        let put = self.put_at.is_some();
        // As long as a person has not decided, the document is what it was.
        let now = self.eyes.options.clock.now();
        self.state.suspicion = if put { None } else { read.still_suspected(waits, now) };
        if !put && self.state.suspicion.is_none() {
            self.state.accepted = merged.contents();
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
        let removals = merged.removed.values().filter(|key| self.state.approved.contains(*key));
        let additions = merged.added.keys().filter(|key| self.state.approved_additions.contains(*key));
        let removals = removals.map(|key| self.held_key(HeldKind::Delete, key));
        let additions = additions.map(|key| self.held_key(HeldKind::Create, key));
        settlement.approved = removals.chain(additions).collect();
        self.forget_removed(&merged);
    }

    /// Remembers the entries of ours that were to go and that reads lack, as if a PUT had removed them: the reads may have
    /// lacked what is there. Returns whether there are any.
    fn remember_vanished(&mut self, plan: &DocumentPlan, now: Time) -> bool {
        if self.put_at.is_none() && plan.is_undecided(now) {
            return false;
        }
        let merged = &plan.merged;
        let knows = |key: &EntryKey| {
            let state = &self.state;
            state.entries.contains_key(key) || state.removed_entries.contains_key(key) || merged.has(key)
        };
        let waits = |key: &EntryKey| {
            let added = merged.added.contains_key(key) || merged.held_additions.contains_key(key);
            added || self.rejected.contains_key(key)
        };
        let vanished: Vec<EntryKey> =
            self.intended.iter().filter(|key| !knows(key) && !waits(key)).cloned().collect();
        let any = !vanished.is_empty();
        let removed = RemovedEntry { at: now, removals: 0 };
        self.state.removed_entries.extend(vanished.into_iter().map(|key| (key, removed)));
        any
    }

    /// Forgets what was removed for good, and reports what somebody else put back for good.
    fn forget_removed(&mut self, merged: &Merged) {
        let now = self.eyes.options.clock.now();
        let mut known = std::mem::take(&mut self.state.removed_entries);
        known.retain(|key, _| !self.wants.entries.iter().any(|entry| entry.key() == *key));
        let (there, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            known.into_iter().partition(|(key, _)| self.state.accepted.entries.contains(key));
        self.state.removed_entries = gone.into_iter().filter(|(_, it)| it.is_young(now)).collect();
        for (key, removed) in there {
            let waits = merged.held.contains_key(&key) || self.rejected.contains_key(&key);
            if waits || removed.goes_again(now) && merged.spared.contains(&key) {
                self.state.removed_entries.insert(key, removed);
                continue;
            }
            let why = match removed.removals {
                0 => format!("it is there again, though reads until {} lacked it", removed.at),
                removals => {
                    format!("it is there again after {removals} removals, the last at {}", removed.at)
                }
            };
            telemetry::work::entry_put_back(self.integration, &key, &why);
            self.audit.push(self.line(AuditAction::PutBackByOthers, &key, why, AuditOutcome::Done));
        }
    }

    /// When the document is looked at again after a look that came to its end.
    fn next(&self, mark: &LeasedMark, reads_back: bool, look: &mut LastLook) -> Next {
        if let Some(trouble) = &self.wants.unread {
            return self.retry(trouble.clone(), mark);
        }
        if !reads_back {
            // Something else may undo each of our PUTs, so that they must become rarer.
            let why =
                format!("the document of {} does not read back as it was written", self.integration.as_str());
            return self.retry(Trouble::new(Class::Transient, why), mark);
        }
        let lag = pace::lag_look(mark.event_at, self.started);
        look.full_at = lag.into_iter().chain(self.wants.second_look).min();
        at(look.full_at, look.put_at, self.eyes.options.clock.now())
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
    pub(super) fn row(&self, key: &EntryKey, unseen_puts: u32) -> EntryRow {
        let known = self.wants.rows.get(key).or(self.state.entries.get(key)).cloned().unwrap_or_default();
        EntryRow { suspected: self.wants.suspected.get(key).copied(), unseen_puts, ..known }
    }

    /// What is parked: the entries that Datadog rejects.
    fn parked(&self) -> Vec<ParkedAction> {
        let parked = |(key, it): (&EntryKey, &RejectedEntry)| ParkedAction {
            team: None,
            step: ParkedStep::Entry(it.change, key.clone()),
            error: it.error.clone(),
            attempts: it.attempts,
        };
        self.rejected.iter().map(parked).collect()
    }

    /// The held actions that a PUT carries out.
    pub(super) fn spent_by(&self, merged: &Merged) -> Vec<HeldKey> {
        let removed = merged.removed.values().map(|key| self.held_key(HeldKind::Delete, key));
        let added = merged.added.keys().map(|key| self.held_key(HeldKind::Create, key));
        removed.chain(added).collect()
    }

    /// The audit of a PUT, without the additions that Datadog dropped.
    pub(super) fn audit_of(
        &self,
        merged: &Merged,
        dropped: &BTreeSet<EntryKey>,
        outcome: AuditOutcome,
    ) -> Vec<AuditEntry> {
        let added = merged.added.keys().filter(|key| !dropped.contains(*key));
        let added =
            added.map(|key| self.line(AuditAction::AddEntry, key, "it is wanted".to_owned(), outcome));
        let removed = merged.removed.values().map(|key| {
            let known = self.state.removed_entries.get(key).map(|_| "somebody put it back".to_owned());
            let reason = self.wants.reasons.get(key).cloned().or(known);
            let reason = reason.unwrap_or_else(|| "it is not wanted".to_owned());
            self.line(AuditAction::RemoveEntry, key, reason, outcome)
        });
        added.chain(removed).collect()
    }

    fn line(&self, action: AuditAction, key: &EntryKey, reason: String, outcome: AuditOutcome) -> AuditEntry {
        AuditEntry {
            team: None,
            action,
            subject: self.subject(key),
            connection: None,
            cause: self.cause,
            of_event: self.of_event,
            reason,
            proof: None,
            outcome,
            detail: None,
        }
    }
}

/// At the first of these: when GitHub is asked again, and the next read after a PUT.
fn at(full_at: Option<Time>, put_at: Option<Time>, now: Time) -> Next {
    let reads = put_at.into_iter().flat_map(|put| READS_AFTER_A_PUT.map(|after| put + after));
    let next = reads.filter(|at| *at > now).chain(full_at).min();
    next.map_or(Next::Nothing, Next::At)
}
