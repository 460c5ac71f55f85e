//! A look at a document: intents, slots → GET → PUT → read back. It stores nothing of how it ended; see `settlement.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::DocumentPlan;
use crate::{
    datadog,
    ledger::{DocumentState, Ledger, LedgerError, MarkResult, Next, Settlement},
    model::{Answer, Class, EntryKey, Integration, Suspicion, Time, Trouble},
    plan::Read,
    reconcile::{DocumentOptions, lease::Lease, survey::Eyes, wants::Wants},
    telemetry,
};

/// How often the document is read before a PUT, when others go on writing it.
const ROUNDS: usize = 5;

/// How a look ended.
pub(super) enum End {
    /// The document is as far in step as it may be; `put` says whether that took a PUT.
    Done { plan: Box<DocumentPlan>, put: bool, reads_back: bool },
    /// Nothing was read, or nothing was written.
    Failed(Trouble),
    /// What was read lacks something that was there: nothing is decided until a later read lacks the same.
    Suspect(Suspicion),
    /// Nobody knows whether it was written.
    Ambiguous(Trouble, Box<DocumentPlan>),
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

pub(super) struct Look<'a> {
    pub(super) eyes: &'a Eyes,
    pub(super) ledger: &'a Ledger,
    pub(super) lease: &'a Lease,
    pub(super) integration: Integration,
    pub(super) options: &'a DocumentOptions,
    pub(super) state: DocumentState,
    pub(super) wants: Wants,
    pub(super) started: Time,
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
            match plan.read {
                Read::Suspect(suspicion) => {
                    // What it shows was there, whatever it lacks.
                    self.state.accepted.extend(plan.merged.contents());
                    return Ok(End::Suspect(suspicion));
                }
                // What this read shows, the next one before the PUT must show too.
                Read::Believed | Read::Confirmed { much: false, .. } => {
                    self.state.accepted = plan.merged.contents();
                    self.state.suspicion = None;
                }
                Read::Confirmed { much: true, .. } => self.state.accepted.extend(plan.merged.contents()),
            }
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
}
