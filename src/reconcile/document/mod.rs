//! One look at an integration's document: wanted → GET → merge → guard → intents, slots → GET → PUT → read back →
//! settle.
//!
//! Datadog's PUT knows no precondition. What another writer does between our GET and our PUT cannot be seen and is
//! lost, so the GET is the last thing before the PUT: intents, and slots of the guard's window, are committed first,
//! then the document is read and merged once more. The read-back finds what another writer did to us.

use std::collections::BTreeSet;

use super::{DocumentOptions, Options, Source, Survey, survey::Eyes, wants::Wants};
use crate::{
    ledger::{DocumentState, Ledger},
    model::{
        Answer, Class, Document, DocumentMode, EntryKey, HoldReason, HoldRule, Integration, Lane, Mode, Time,
        Trouble,
    },
    plan::{self, Merged, Read},
};

mod by_hand;
mod look;
mod settlement;

pub use by_hand::DocumentByHand;
pub(super) use look::look;

/// A document as it is, and as it is to become.
#[derive(Clone, Debug)]
pub struct DocumentPlan {
    /// What Datadog holds; `None` before the first PUT.
    pub remote: Option<Document>,
    /// What becomes of it.
    pub merged: Merged,
    /// What the read is worth.
    pub read: Read,
}

impl DocumentPlan {
    /// Whether a person decides about something in it.
    fn is_waiting(&self) -> bool {
        !(self.merged.held.is_empty() && self.merged.held_additions.is_empty())
    }

    /// Whether what the read lacks counts as there. Until that ends, the document is what it was.
    fn is_undecided(&self, now: Time) -> bool {
        self.read.clone().still_suspected(self.is_waiting(), now).is_some()
    }
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
        let paused = ledger.paused(Lane::Document(integration)).await?.whole.is_some();
        let entries = match &options.source {
            Source::Repositories { of, filter } => {
                let mut wants = self.repositories(ledger, *of, filter, state, preview).await?;
                wants.writes &= preview || !paused;
                // A new name is no removal: it counts towards no limit, and nobody need approve it.
                state.approved.extend(wants.renamed.iter().cloned());
                return Ok(wants);
            }
            Source::Declared(entries) => entries.clone(),
        };
        let mode = self.options.policy.mode;
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
            check_org(state, remote.as_ref())?;
            let wanted = |key: &EntryKey| wants.entries.iter().any(|entry| entry.key() == *key);
            let (grace, now) = (self.options.grace, self.options.clock.now());
            let put_back = match (options.mode, &wants.unread) {
                (DocumentMode::Additive, None) => state.put_back(now),
                _ => BTreeSet::new(),
            };
            let put_back: BTreeSet<EntryKey> = put_back.into_iter().filter(|key| !wanted(key)).collect();
            let ours: BTreeSet<EntryKey> = state.entries.keys().chain(&put_back).cloned().collect();
            let spared =
                |key: &EntryKey| wants.spared.contains(key) || wants.spare_others && !ours.contains(key);
            let config = remote.as_ref().map(|document| &document.config);
            let merged = plan::merge(integration, config, &ours, &wants.entries, options.mode, spared)
                .map_err(|why| Trouble::new(Class::Invalid, why))?;
            let added = state.entries.keys().cloned().collect();
            let (contents, suspicion) = (merged.contents(), state.suspicion.as_ref());
            let read = plan::judge_read(&contents, &state.accepted, &added, suspicion, grace, now);
            // A removal that somebody undid is the same removal, unless it would empty the list now.
            let mut approved = state.approved.clone();
            if merged.left() > 0 {
                approved.extend(put_back.into_iter().filter(|key| state.removed_entries[key].removals > 0));
            }
            let merged = merged.guard(&self.options.limits, state.removed, &state.held, &approved);
            let others = merged.removed.values().filter(|key| !state.entries.contains_key(*key));
            let others: Vec<EntryKey> = others.cloned().collect();
            if !self.check_others(options, &others, wants).await {
                let merged = held_whole(merged, &read, state);
                return Ok(DocumentPlan { remote, merged, read });
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

/// Checks that a document is where this ledger's documents are.
fn check_org(state: &DocumentState, document: Option<&Document>) -> Result<(), Trouble> {
    match (state.datadog_org, document.and_then(|document| document.org_id)) {
        (Some(known), Some(org)) if known != org => {
            let why = format!(
                "the keys belong to Datadog organisation {org}, but this ledger's documents are in {known}; \
                 use the keys of {known}, or another ledger"
            );
            Err(Trouble::new(Class::Auth, why))
        }
        _ => Ok(()),
    }
}

/// Holds everything where a PUT may narrow what others have: only a person knows whether the read is so.
fn held_whole(merged: Merged, read: &Read, state: &DocumentState) -> Merged {
    let reason = match read {
        Read::Confirmed { much: true, .. } => {
            let why = "two reads lack all entries of ours, or more than half of those that it had";
            HoldReason::new(HoldRule::SuspectRead, why)
        }
        _ if merged.is_empty() => {
            let why = "the document is absent or its list is empty, which may mean all";
            HoldReason::new(HoldRule::FirstEntries, why)
        }
        _ => return merged,
    };
    merged.hold_all(&reason, &state.approved, &state.approved_additions)
}
