//! One look at an integration's document: wanted → GET → merge → guard → intents, slots → GET → PUT → read back →
//! settle.
//!
//! Datadog's PUT knows no precondition. What another writer does between our GET and our PUT cannot be seen and is
//! lost, so the GET is the last thing before the PUT: intents, and slots of the guard's window, are committed first,
//! then the document is read and merged once more. The read-back finds what another writer did to us.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    DocumentOptions, Options, Source, Survey,
    lease::{self, Lease},
    linked::Lists,
    pace,
    repositories::Served,
    survey::Eyes,
};
use crate::{
    datadog,
    ledger::{
        AuditAction, AuditEntry, AuditOutcome, DocumentState, EntryRow, Held, LeasedMark, Ledger,
        LedgerError, MarkResult, Next, ParkedAction, ParkedStep, SettledDocument, Settlement,
    },
    model::{
        Answer, Class, Document, Entry, EntryKey, HeldKey, HeldKind, HoldReason, Integration, Lane, Mode,
        Subject, Time, Trouble,
    },
    plan::{self, Merged},
    telemetry,
};

/// How often the document is read before a PUT, when others go on writing it.
const ROUNDS: usize = 5;

/// What a document is to have.
#[derive(Default)]
pub(super) struct Wants {
    pub(super) entries: Vec<Entry>,
    /// The rows of those that are repositories.
    pub(super) rows: BTreeMap<EntryKey, EntryRow>,
    /// Entries of ours that stay though they are not wanted.
    pub(super) spared: BTreeSet<EntryKey>,
    /// Others' entries stay too, in `exclusive` as well: not everything that may be wanted is known.
    pub(super) spare_others: bool,
    /// Why entries of ours go.
    pub(super) reasons: BTreeMap<EntryKey, String>,
    /// Entries whose repositories one look of two found gone.
    pub(super) suspected: BTreeMap<EntryKey, Time>,
    /// When the second look is.
    pub(super) second_look: Option<Time>,
    /// Entries of ours whose repositories are wanted under another name: they go with the PUT that adds that one, which
    /// is no removal.
    pub(super) renamed: BTreeSet<EntryKey>,
    /// The organisations that were listed, by lower-cased login.
    pub(super) served: BTreeMap<String, Served>,
    /// The repositories of teams, as far as they were read again.
    pub(super) lists: Lists,
    /// Entries of others that certainly are not wanted.
    pub(super) unwanted: BTreeSet<EntryKey>,
    /// Something could not be read.
    pub(super) unread: Option<Trouble>,
    /// Whether anything may be written.
    pub(super) writes: bool,
}

impl Wants {
    /// These entries stay.
    pub(super) fn spare<'a>(&mut self, keys: impl IntoIterator<Item = &'a EntryKey>) {
        self.spared.extend(keys.into_iter().cloned());
        self.spare_others = true;
    }

    /// These entries stay, since what they depend on could not be read.
    pub(super) fn unread<'a>(&mut self, trouble: Trouble, keys: impl IntoIterator<Item = &'a EntryKey>) {
        self.spare(keys);
        self.unread = Some(trouble);
    }
}

/// A document as it is, and as it is to become.
#[derive(Clone, Debug)]
pub struct DocumentPlan {
    /// What Datadog holds; `None` before the first PUT.
    pub remote: Option<Document>,
    /// What becomes of it.
    pub merged: Merged,
}

impl Survey {
    /// What a look would make of a document, whatever the policy.
    ///
    /// # Errors
    /// When the settings leave the document alone, or GitHub or Datadog do not say what is needed.
    pub async fn document(&self, integration: Integration) -> anyhow::Result<DocumentPlan> {
        let Some(options) = self.eyes.options.documents.get(&integration) else {
            anyhow::bail!(
                "the settings leave the document of {id} alone; see [integrations.{id}], or compare with a file: --file",
                id = integration.as_str()
            );
        };
        let Options { window, clock, .. } = &*self.eyes.options;
        let mut state = self.ledger.document_state(integration, *window, clock.now()).await?;
        let mut wants = self.eyes.wants(&self.ledger, options, integration, &mut state, true).await?;
        let plan = match wants.unread {
            None => self.eyes.merged(integration, options, &state, &mut wants).await?,
            Some(trouble) => return Err(trouble.into()),
        };
        wants.unread.map_or(Ok(plan), |trouble| Err(trouble.into()))
    }
}

impl Eyes {
    async fn wants(
        &self,
        ledger: &Ledger,
        options: &DocumentOptions,
        integration: Integration,
        state: &mut DocumentState,
        preview: bool,
    ) -> sqlx::Result<Wants> {
        let entries = match &options.source {
            Source::Repositories { of, filter } => {
                let wants = self.repositories(ledger, *of, filter, state, preview).await?;
                // A new name is no removal: it counts towards no limit, and nobody need approve it.
                state.approved.extend(wants.renamed.iter().cloned());
                return Ok(wants);
            }
            Source::Declared(entries) => entries.clone(),
        };
        let mode = self.options.policy.mode;
        let paused = ledger.paused(Lane::Document(integration)).await?.whole.is_some();
        let mut wants =
            Wants { entries, writes: preview || mode != Mode::Observe && !paused, ..Wants::default() };
        if mode == Mode::Upsert && !preview {
            wants.spare(state.entries.keys());
        }
        Ok(wants)
    }

    /// Reads the document and merges it, as far as the guard allows.
    async fn merged(
        &self,
        integration: Integration,
        options: &DocumentOptions,
        state: &DocumentState,
        wants: &mut Wants,
    ) -> Result<DocumentPlan, Trouble> {
        loop {
            let remote = match self.datadog.integration(integration.as_str()).await {
                Answer::Present(document) => Some(document),
                Answer::Absent => None,
                Answer::Forbidden(trouble) | Answer::Failed(trouble) => return Err(trouble),
            };
            let org = remote.as_ref().and_then(|document| document.org_id);
            if let (Some(known), Some(org)) = (state.datadog_org, org)
                && known != org
            {
                let why = format!(
                    "the keys are those of Datadog organisation {org}, and this ledger's documents are in {known}; \
                     use the keys of {known}, or another ledger"
                );
                return Err(Trouble::new(Class::Auth, why));
            }
            let ours = state.entries.keys().cloned().collect();
            let spared = |key: &EntryKey| {
                wants.spared.contains(key) || wants.spare_others && !state.entries.contains_key(key)
            };
            let config = remote.as_ref().map(|document| &document.config);
            let merged = plan::merge(integration, config, &ours, &wants.entries, options.mode, spared)
                .map_err(|why| Trouble::new(Class::Invalid, why))?;
            let merged = merged.guard(&self.options.limits, state.removed, &state.held, &state.approved);
            let others = merged.removed.values().filter(|key| !state.entries.contains_key(*key));
            let others: Vec<EntryKey> = others.cloned().collect();
            if !self.check_others(options, &others, wants).await {
                return Ok(DocumentPlan { remote, merged });
            }
        }
    }

    /// Checks entries of others that are to go, each once: a list that lacks their repositories may have been cut.
    /// Says whether there were any to check.
    async fn check_others(&self, options: &DocumentOptions, others: &[EntryKey], wants: &mut Wants) -> bool {
        let Source::Repositories { filter, .. } = &options.source else { return false };
        let mut checked = false;
        for key in others.iter().filter(|key| !wants.rows.contains_key(*key)) {
            let mut parts = key.0.split('/');
            let (Some(host), Some(login), Some(name), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let Some(served) =
                wants.served.get(login).filter(|_| host.eq_ignore_ascii_case(&filter.hostname))
            else {
                continue;
            };
            if wants.unwanted.contains(key) {
                continue;
            }
            checked = true;
            match self.unwanted(served, name, filter).await {
                Ok(()) => drop(wants.unwanted.insert(key.clone())),
                Err(trouble) => {
                    wants.unread(trouble, []);
                    break;
                }
            }
        }
        checked
    }
}

/// How a look ended.
enum End {
    /// The document is as far in step as it may be; `put` says whether that took a PUT.
    Done { plan: Box<DocumentPlan>, put: bool, reads_back: bool },
    /// Nothing was read, or nothing was written.
    Failed(Trouble),
    /// Nobody knows whether it was written.
    Ambiguous(Trouble, Box<DocumentPlan>),
}

/// Looks at a document and settles its mark.
pub(super) async fn look(
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
            let wants = eyes.wants(ledger, options, integration, &mut state, false).await?;
            let mut look = Look { eyes, ledger, lease, integration, options, state, wants, started };
            let end = look.bring_into_step(writer).await?;
            look.settlement(end, &mark)
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

struct Look<'a> {
    eyes: &'a Eyes,
    ledger: &'a Ledger,
    lease: &'a Lease,
    integration: Integration,
    options: &'a DocumentOptions,
    state: DocumentState,
    wants: Wants,
    started: Time,
}

impl Look<'_> {
    async fn bring_into_step(&mut self, writer: &datadog::Writer) -> Result<End, LedgerError> {
        let id = self.integration.as_str();
        let mut intended = self.state.entries.clone();
        let (mut asked, mut refused) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..ROUNDS {
            let mut plan =
                match self.eyes.merged(self.integration, self.options, &self.state, &mut self.wants).await {
                    Ok(plan) => plan,
                    Err(trouble) => return Ok(End::Failed(trouble)),
                };
            if !self.wants.writes {
                return Ok(End::Done { plan: Box::new(plan), put: false, reads_back: true });
            }
            let new: BTreeMap<_, _> = (plan.merged.added.keys())
                .filter(|key| !intended.contains_key(*key))
                .map(|key| (key.clone(), self.wants.rows.get(key).cloned().unwrap_or_default()))
                .collect();
            let removals = plan.merged.slots_needed(&self.state.approved);
            if !(new.is_empty() && removals.is_subset(&asked)) {
                let now = self.eyes.options.clock.now();
                if !new.is_empty() {
                    self.ledger.intend_entries(self.lease.fence, self.integration, &new, now).await?;
                }
                refused.extend(self.without_slot(&removals).await?);
                intended.extend(new);
                asked.extend(removals);
                continue;
            }
            plan.merged = plan.merged.within(&refused);
            if !plan.merged.changed() {
                return Ok(End::Done { plan: Box::new(plan), put: false, reads_back: true });
            }
            if !self.lease.allows_write(self.eyes.options.timeout) {
                let why = format!("too little of the lease is left to replace the document of {id}");
                return Ok(End::Failed(Trouble::new(Class::Transient, why)));
            }
            let config = plan.merged.document();
            return match writer.put_integration(id, &config, Some(self.lease.fence())).await {
                Err(trouble) if trouble.ambiguous => Ok(End::Ambiguous(trouble, Box::new(plan))),
                Err(trouble) => Ok(End::Failed(trouble)),
                Ok(put) => {
                    plan.remote = Some(put);
                    let back = self.eyes.datadog.integration(id).await;
                    let reads_back = matches!(&back, Answer::Present(back) if back.config == config);
                    if let Answer::Present(_) | Answer::Absent = back
                        && !reads_back
                    {
                        telemetry::work::document_differs(self.integration);
                    }
                    Ok(End::Done { plan: Box::new(plan), put: true, reads_back })
                }
            };
        }
        let why = format!("others go on writing the document of {id}");
        Ok(End::Failed(Trouble::new(Class::Transient, why)))
    }

    /// Takes slots of the guard's window. Answers the removals that got none.
    async fn without_slot(&self, removals: &BTreeSet<EntryKey>) -> sqlx::Result<BTreeSet<EntryKey>> {
        let options = &self.eyes.options;
        let slot = |key: &EntryKey| self.subject(key);
        let needed: Vec<_> = removals.iter().map(slot).collect();
        let (max, window) = (options.max_per_window, options.window);
        let granted =
            self.ledger.take_slots(self.lease.lane, &needed, max, window, options.clock.now()).await?;
        Ok(removals.iter().filter(|key| !granted.contains(&slot(key))).cloned().collect())
    }

    /// What is stored of the look, and what comes next.
    fn settlement(&self, end: End, mark: &LeasedMark) -> (Settlement, Next) {
        let options = &self.eyes.options;
        let (clock, now) = (&options.clock, options.clock.now());
        let mut settlement = Settlement { looked_at: vec![None], ..Settlement::default() };
        let mut entries = self.state.entries.clone();
        let mut datadog_org = None;
        let retry = |trouble: Trouble| {
            pace::retry(&trouble, mark.failures, false, options.backoff, clock.jitter(), now)
        };
        let held = |(key, reason): (&EntryKey, &HoldReason)| Held {
            key: HeldKey::new(HeldKind::Delete, self.subject(key)),
            team: None,
            reason: reason.clone(),
        };
        let next = match end {
            End::Done { plan, put, reads_back } => {
                let DocumentPlan { remote, merged } = *plan;
                datadog_org = remote.and_then(|document| document.org_id);
                if put || !merged.changed() {
                    entries = merged.ours().into_iter().map(|key| (key.clone(), self.row(&key))).collect();
                }
                if put {
                    telemetry::work::document_put(
                        self.integration,
                        merged.added.len(),
                        merged.removed.len(),
                        merged.corrected.len(),
                    );
                    settlement.audit = self.audit(&merged, mark, AuditOutcome::Done);
                    let removed = merged.removed.values();
                    let removed = removed.map(|key| HeldKey::new(HeldKind::Delete, self.subject(key)));
                    settlement.spent = removed.collect();
                }
                // Entries that stay only because a read failed are undecided: their held rows stay too.
                let undecided = self.state.held.iter().filter(|(key, _)| {
                    let unknown = self.wants.unread.is_some() || self.wants.suspected.contains_key(*key);
                    unknown && merged.spared.contains(*key)
                });
                settlement.held = merged.held.iter().chain(undecided).map(held).collect();
                match &self.wants.unread {
                    Some(trouble) => retry(trouble.clone()),
                    // Something else may undo each of our PUTs, so that they must become rarer.
                    None if !reads_back => {
                        let id = self.integration.as_str();
                        let why = format!("the document of {id} does not read back as it was written");
                        retry(Trouble::new(Class::Transient, why))
                    }
                    None => {
                        let lag = pace::lag_look(mark.event_at, self.started);
                        lag.into_iter().chain(self.wants.second_look).min().map_or(Next::Nothing, Next::At)
                    }
                }
            }
            failed @ (End::Failed(_) | End::Ambiguous(..)) => {
                // What is held stays held: nothing was decided.
                settlement.held = self.state.held.iter().map(held).collect();
                match failed {
                    End::Ambiguous(trouble, plan) => {
                        entries.extend(plan.merged.added.keys().map(|key| (key.clone(), self.row(key))));
                        settlement.audit = self.audit(&plan.merged, mark, AuditOutcome::Unknown);
                        let at = now + options.timeout + lease::MARGIN;
                        Next::Retry { at, floor: at, error: trouble, burns: false }
                    }
                    End::Failed(trouble) if trouble.class == Class::Permanent => {
                        let (step, attempts) = (ParkedStep::Replace(self.integration), mark.attempts + 1);
                        settlement.parked.push(ParkedAction { team: None, step, error: trouble, attempts });
                        Next::Nothing
                    }
                    End::Failed(trouble) => retry(trouble),
                    End::Done { .. } => Next::Nothing,
                }
            }
        };
        settlement.document = Some(SettledDocument {
            integration: self.integration,
            entries,
            datadog_org,
            lists: self.wants.lists.clone(),
            read_at: self.started,
        });
        (settlement, next)
    }

    /// How an entry is named in held sets, slots and the audit trail.
    fn subject(&self, key: &EntryKey) -> Subject {
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
