//! A look at a document: intents, slots → GET → PUT → read back. It stores nothing of how it ended; see `settlement.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::DocumentPlan;
use crate::{
    datadog,
    ledger::{
        AuditEntry, AuditOutcome, DocumentState, LeasedMark, Ledger, LedgerError, MarkResult, Next,
        RejectedEntry, RemovedEntry, Settlement,
    },
    model::{
        Answer, Cause, Class, Configuration, Document, EntryChange, EntryKey, HeldKey, Integration,
        Suspicion, Time, Trouble,
    },
    plan::{self, Merged, Read},
    reconcile::{DocumentOptions, lease::Lease, survey::Eyes, wants::Wants},
    telemetry,
};

/// How often the document is read before a PUT, when others go on writing it.
const ROUNDS: usize = 5;

/// How many PUTs a look sends at most, when Datadog rejects entries. The next look goes on.
const PUTS: usize = 64;

/// After so many rejected entries and no accepted PUT, the entries are not the cause.
const ALL_REJECTED: usize = 8;

/// After so many PUTs in a row have added an entry that no read shows, it is not sent again.
const UNSEEN: u32 = 3;

/// How a look ended.
pub(super) enum End {
    /// The document is as far in step as it may be.
    Done {
        /// The last plan.
        plan: Box<DocumentPlan>,
        /// Whether every PUT reads back as it was written.
        reads_back: bool,
        /// Whether something is left to be sent.
        unfinished: bool,
    },
    /// It could not be read, or not written.
    Failed(Trouble),
    /// What was read lacks something that was there: nothing is decided until a later read lacks the same.
    Suspect(Suspicion),
    /// Nobody knows whether it was written.
    Ambiguous(Trouble, Box<Merged>),
    /// Nobody asked for this look, and the document is as the last one left it.
    Calm,
}

/// Looks at a document and settles its mark.
pub(in crate::reconcile) async fn look(
    eyes: &Eyes,
    ledger: &Ledger,
    writer: &datadog::Writer,
    lease: &Lease,
    integration: Integration,
) -> Result<(), LedgerError> {
    let clock = &eyes.options.clock;
    let started = clock.now();
    let Some(mark) = ledger.due_whole(lease.lane, started).await? else { return Ok(()) };
    let (mut settlement, next) = match eyes.options.documents.get(&integration) {
        None => (Settlement::default(), Next::Nothing),
        Some(options) => {
            let window = eyes.options.window;
            let mut state = ledger.document_state(integration, window, started).await?;
            if is_calm(eyes, integration, &state, &mark, started).await {
                let wants = Wants::default();
                let look = Look::new(eyes, ledger, lease, (integration, options), state, wants, &mark);
                look.settlement(End::Calm, &mark)
            } else {
                let wants = eyes.wants(ledger, options, integration, &mut state, false).await?;
                let mut look = Look::new(eyes, ledger, lease, (integration, options), state, wants, &mark);
                let end = look.bring_into_step(writer).await?;
                look.settlement(end, &mark)
            }
        }
    };
    settlement.marks.push(MarkResult { team: None, generation: mark.generation, next });
    ledger.settle(lease.lane, lease.fence, &settlement, clock.now()).await?;
    telemetry::work::document_settled(integration, &mark, &settlement, clock.now());
    if !settlement.held.is_empty()
        && let Some(set) = ledger.held_set(lease.lane, clock.now()).await?
    {
        telemetry::work::held_set(&set);
    }
    Ok(())
}

/// Whether the document is as the last look left it, when this one only reads again after a PUT.
async fn is_calm(
    eyes: &Eyes,
    integration: Integration,
    state: &DocumentState,
    mark: &LeasedMark,
    now: Time,
) -> bool {
    let Some(last) = state.last_look else { return false };
    let asked = last.generation != mark.generation || last.full_at.is_some_and(|at| at <= now);
    if asked || last.put_at.is_none() || state.suspicion.is_some() || mark.failures > 0 {
        return false;
    }
    let Answer::Present(document) = eyes.datadog.integration(integration.as_str()).await else {
        return false;
    };
    let is_here = state.datadog_org.is_none_or(|org| document.org_id.is_none_or(|here| here == org));
    is_here && plan::contents(integration, &document.config).is_ok_and(|contents| contents == state.accepted)
}

pub(super) struct Look<'a> {
    pub(super) eyes: &'a Eyes,
    ledger: &'a Ledger,
    lease: &'a Lease,
    pub(super) integration: Integration,
    options: &'a DocumentOptions,
    /// What is known of the document. It changes with each read and each PUT.
    pub(super) state: DocumentState,
    pub(super) wants: Wants,
    pub(super) started: Time,
    pub(super) cause: Cause,
    pub(super) of_event: bool,
    /// Whether what is parked is tried again.
    tries: bool,
    /// What was ours when the look began, and additions that were stored before they are sent.
    pub(super) intended: BTreeSet<EntryKey>,
    /// Removals that asked for a slot, and those that got none.
    asked: BTreeSet<EntryKey>,
    without_slot: BTreeSet<EntryKey>,
    /// What is not sent because Datadog rejects it.
    pub(super) rejected: BTreeMap<EntryKey, RejectedEntry>,
    /// How many PUTs were sent, and when the last one was accepted.
    sent: usize,
    pub(super) put_at: Option<Time>,
    reads_back: bool,
    pub(super) audit: Vec<AuditEntry>,
    pub(super) spent: Vec<HeldKey>,
}

impl<'a> Look<'a> {
    fn new(
        eyes: &'a Eyes,
        ledger: &'a Ledger,
        lease: &'a Lease,
        (integration, options): (Integration, &'a DocumentOptions),
        state: DocumentState,
        wants: Wants,
        mark: &LeasedMark,
    ) -> Self {
        // A pass and a person retry what is parked. A look that nobody asked for does not.
        let asked = state.last_look.is_none_or(|last| last.generation != mark.generation);
        let tries = asked && matches!(mark.cause, Cause::Pass | Cause::Person);
        let rejected = if tries { BTreeMap::new() } else { state.rejected.clone() };
        Self {
            eyes,
            ledger,
            lease,
            integration,
            options,
            intended: state.entries.keys().cloned().collect(),
            state,
            wants,
            started: eyes.options.clock.now(),
            cause: mark.cause,
            of_event: mark.asks.event,
            tries,
            asked: BTreeSet::new(),
            without_slot: BTreeSet::new(),
            rejected,
            sent: 0,
            put_at: None,
            reads_back: true,
            audit: Vec::new(),
            spent: Vec::new(),
        }
    }

    /// Reads and writes until nothing is left that may be written. When Datadog rejects a PUT, each half of its changes is
    /// tried alone, until one rejected entry is left.
    async fn bring_into_step(&mut self, writer: &datadog::Writer) -> Result<End, LedgerError> {
        let mut parts: Vec<Option<BTreeSet<EntryKey>>> = vec![None];
        let mut last = None;
        while let Some(part) = parts.pop() {
            let (plan, now) = match self.ready(part.as_ref()).await? {
                Ok(ready) => ready,
                Err(end) => return Ok(end),
            };
            let last = last.insert(plan);
            if !self.wants.writes || !now.changed() {
                self.in_step(&now, last);
                continue;
            }
            if self.sent >= PUTS {
                return Ok(End::Done {
                    plan: Box::new(last.clone()),
                    reads_back: self.reads_back,
                    unfinished: true,
                });
            }
            if !self.lease.allows_write(self.eyes.options.timeout) {
                let id = self.integration.as_str();
                let why = format!("too little of the lease is left to replace the document of {id}");
                return Ok(End::Failed(Trouble::new(Class::Transient, why)));
            }
            self.sent += 1;
            let (id, config, fence) = (self.integration.as_str(), now.document(), Some(self.lease.fence()));
            match writer.put_integration(id, &config, fence).await {
                Ok(answer) => {
                    self.note_put(&now, &config, &answer).await;
                    last.remote = Some(answer);
                }
                Err(trouble) if trouble.ambiguous => return Ok(End::Ambiguous(trouble, Box::new(now))),
                Err(trouble) if trouble.class == Class::Permanent => {
                    let changes = now.changes();
                    if changes.len() > 1 {
                        let (first, second) = halves(changes);
                        parts.extend([Some(second), Some(first)]);
                        continue;
                    }
                    for (key, change) in changes {
                        self.reject(key, change, trouble.clone());
                    }
                    if self.put_at.is_none() && self.rejected.len() >= ALL_REJECTED {
                        self.rejected = self.state.rejected.clone();
                        return Ok(End::Failed(trouble));
                    }
                    self.in_step(&now.only(|_| false), last);
                }
                Err(trouble) => return Ok(End::Failed(trouble)),
            }
        }
        match last {
            Some(plan) => {
                Ok(End::Done { plan: Box::new(plan), reads_back: self.reads_back, unfinished: false })
            }
            None => Ok(End::Calm),
        }
    }

    /// Reads the document once its intents and slots are stored. Returns the whole plan, and the part to send now: the
    /// changes of this part that Datadog does not reject.
    async fn ready(
        &mut self,
        part: Option<&BTreeSet<EntryKey>>,
    ) -> Result<Result<(DocumentPlan, Merged), End>, LedgerError> {
        for _ in 0..ROUNDS {
            let mut plan =
                match self.eyes.merged(self.integration, self.options, &self.state, &mut self.wants).await {
                    Ok(plan) => plan,
                    Err(trouble) => return Ok(Err(End::Failed(trouble))),
                };
            match &plan.read {
                Read::Suspect(suspicion) => {
                    // What it shows was there, whatever it lacks.
                    self.state.accepted.extend(plan.merged.contents());
                    return Ok(Err(End::Suspect(suspicion.clone())));
                }
                // What this read shows, the next one before the PUT must show too.
                Read::Believed | Read::Confirmed { much: false, .. } => {
                    self.state.accepted = plan.merged.contents();
                    self.state.suspicion = None;
                }
                Read::Confirmed { much: true, .. } => self.state.accepted.extend(plan.merged.contents()),
            }
            self.saw(&plan.merged);
            self.reject_unseen(&plan.merged);
            let now = self.sent_now(&plan.merged, part);
            if !self.wants.writes {
                return Ok(Ok((plan, now)));
            }
            if self.prepare(&now).await? {
                plan.merged = plan.merged.within(&self.without_slot);
                let now = self.sent_now(&plan.merged, part);
                return Ok(Ok((plan, now)));
            }
        }
        let why = format!("others go on writing the document of {}", self.integration.as_str());
        Ok(Err(End::Failed(Trouble::new(Class::Transient, why))))
    }

    /// Stores what is about to be added, and takes slots for what is about to be removed. Returns whether there was nothing
    /// to store: the last read is still valid then.
    async fn prepare(&mut self, now: &Merged) -> Result<bool, LedgerError> {
        let new: BTreeMap<_, _> = (now.added.keys())
            .filter(|key| !self.intended.contains(*key))
            .map(|key| (key.clone(), self.row(key, 1)))
            .collect();
        let removals = now.slots_needed(&self.state.approved);
        if new.is_empty() && removals.is_subset(&self.asked) {
            return Ok(true);
        }
        let options = &self.eyes.options;
        if !new.is_empty() {
            self.ledger.intend_entries(self.lease.fence, self.integration, &new, options.clock.now()).await?;
        }
        let slots: Vec<_> = removals.iter().map(|key| self.subject(key)).collect();
        let (max, window) = (options.max_per_window, options.window);
        let granted =
            self.ledger.take_slots(self.lease.lane, &slots, max, window, options.clock.now()).await?;
        let without = removals.iter().filter(|key| !granted.contains(&self.subject(key))).cloned();
        self.without_slot.extend(without.collect::<Vec<_>>());
        self.intended.extend(new.into_keys());
        self.asked.extend(removals);
        Ok(false)
    }

    /// What of a plan is sent now.
    fn sent_now(&self, merged: &Merged, part: Option<&BTreeSet<EntryKey>>) -> Merged {
        let of_part = |key: &EntryKey| part.is_none_or(|part| part.contains(key));
        let goes = |key: &EntryKey| of_part(key) && !self.rejected.contains_key(key);
        let now = merged.clone().only(goes);
        // The old name of a repository goes with the PUT that adds the new one, or after it.
        let torn: BTreeSet<&EntryKey> = now.removed.values().filter(|key| self.is_torn(key, &now)).collect();
        if torn.is_empty() {
            return now;
        }
        let torn: BTreeSet<EntryKey> = torn.into_iter().cloned().collect();
        now.only(|key| !torn.contains(key))
    }

    fn is_torn(&self, old: &EntryKey, now: &Merged) -> bool {
        let repository = self.state.entries.get(old).and_then(|row| row.repository);
        let Some(repository) = repository.filter(|_| self.wants.renamed.contains(old)) else { return false };
        let mut names =
            self.wants.rows.iter().filter(|(_, row)| row.repository.is_some_and(|it| it.1 == repository.1));
        !names.any(|(new, _)| now.added.contains_key(new) || now.has(new))
    }

    /// Entries that a read shows are no longer unseen.
    fn saw(&mut self, merged: &Merged) {
        for (key, row) in &mut self.state.entries {
            if merged.has(key) {
                row.unseen_puts = 0;
            }
        }
    }

    /// Entries that PUT after PUT has added and no read has shown are not sent again.
    fn reject_unseen(&mut self, merged: &Merged) {
        let unseen = |key: &&EntryKey| {
            let puts = self.state.entries.get(*key).map_or(0, |row| row.unseen_puts);
            puts >= UNSEEN && !self.tries
        };
        let unseen: Vec<EntryKey> = merged.added.keys().filter(unseen).cloned().collect();
        for key in unseen {
            let why = format!("Datadog accepted {UNSEEN} PUTs with {key}, and no read shows it");
            self.reject(key, EntryChange::Add, Trouble::new(Class::Permanent, why));
        }
    }

    fn reject(&mut self, key: EntryKey, change: EntryChange, error: Trouble) {
        if self.rejected.contains_key(&key) {
            return;
        }
        let attempts = self.state.rejected.get(&key).map_or(0, |known| known.attempts) + 1;
        self.rejected.insert(key, RejectedEntry { change, error, attempts });
    }

    /// Nothing of this part is left to be sent: what is ours is what is there of it.
    fn in_step(&mut self, now: &Merged, plan: &DocumentPlan) {
        if !plan.is_undecided(self.eyes.options.clock.now()) {
            self.own(now, &BTreeSet::new());
        }
    }

    /// Notes what a PUT did, and reads it back.
    async fn note_put(&mut self, now: &Merged, sent: &Configuration, answer: &Document) {
        let id = self.integration.as_str();
        let at = self.eyes.options.clock.now();
        let dropped = dropped(self.integration, now, answer);
        for key in &dropped {
            let why = format!("Datadog accepted the PUT and left {key} out");
            self.reject(key.clone(), EntryChange::Add, Trouble::new(Class::Permanent, why));
        }
        self.audit.extend(self.audit_of(now, &dropped, AuditOutcome::Done));
        self.spent.extend(self.spent_by(now));
        telemetry::work::document_put(
            self.integration,
            now.added.len() - dropped.len(),
            now.removed.len(),
            now.corrected.len(),
        );
        let removed =
            |key: &&EntryKey| self.state.removed_entries.get(*key).is_some_and(|it| it.removals > 0);
        let again = now.removed.values().filter(removed).count();
        if again > 0 {
            telemetry::work::entries_removed_again(self.integration, again);
        }
        for key in now.removed.values() {
            let removals = self.state.removed_entries.get(key).map_or(0, |known| known.removals) + 1;
            self.state.removed_entries.insert(key.clone(), RemovedEntry { at, removals });
        }
        self.own(now, &dropped);
        self.state.accepted = now.contents_once_put();
        self.state.accepted.entries.retain(|key| !dropped.contains(key));
        self.state.suspicion = None;
        self.put_at = Some(at);
        let expected = if dropped.is_empty() { sent } else { &answer.config };
        let back = self.eyes.datadog.integration(id).await;
        let reads_back = matches!(&back, Answer::Present(back) if back.config == *expected);
        if let Answer::Present(_) | Answer::Absent = back
            && !reads_back
        {
            telemetry::work::document_differs(self.integration);
        }
        self.reads_back &= reads_back;
    }

    /// What is ours once `now` is in Datadog, without what Datadog dropped of it. What is rejected and was never seen stays
    /// ours: it may show up yet. So does what reads lack while it is not decided whether it is to go.
    fn own(&mut self, now: &Merged, dropped: &BTreeSet<EntryKey>) {
        let mut entries = BTreeMap::new();
        for key in now.ours().into_iter().filter(|key| !dropped.contains(key)) {
            let known = self.state.entries.get(&key).map_or(0, |row| row.unseen_puts);
            let unseen = if now.added.contains_key(&key) { known + 1 } else { known };
            let row = self.row(&key, unseen);
            entries.insert(key, row);
        }
        for (key, row) in &self.state.entries {
            let unseen = row.unseen_puts > 0 && self.rejected.contains_key(key);
            if unseen || self.wants.is_undecided(key) {
                entries.entry(key.clone()).or_insert_with(|| self.row(key, row.unseen_puts));
            }
        }
        self.state.entries = entries;
    }
}

/// Two halves of changes, additions in the first: a list is not emptied before they came.
fn halves(changes: BTreeMap<EntryKey, EntryChange>) -> (BTreeSet<EntryKey>, BTreeSet<EntryKey>) {
    let mut changes: Vec<(EntryChange, EntryKey)> =
        changes.into_iter().map(|(key, change)| (change, key)).collect();
    changes.sort();
    let second = changes.split_off(changes.len() / 2);
    let keys = |half: Vec<(EntryChange, EntryKey)>| half.into_iter().map(|(_, key)| key).collect();
    (keys(changes), keys(second))
}

/// The additions that Datadog's answer to a PUT lacks. An answer that lacks other entries too is not believed.
fn dropped(integration: Integration, now: &Merged, answer: &Document) -> BTreeSet<EntryKey> {
    let Ok(contents) = plan::contents(integration, &answer.config) else { return BTreeSet::new() };
    let lacks: BTreeSet<EntryKey> =
        now.contents_once_put().entries.difference(&contents.entries).cloned().collect();
    if lacks.iter().all(|key| now.added.contains_key(key)) { lacks } else { BTreeSet::new() }
}
