//! The lease of a document while a person replaces it: no worker of this ledger writes between what the person was shown
//! and the PUT, nor by what it read before. It sends nothing itself.

use std::collections::BTreeMap;

use super::check_org;
use crate::{
    datadog,
    ledger::{AuditAction, AuditEntry, AuditOutcome, DocumentState, Ledger, SettledDocument, Settlement},
    model::{Cause, Class, Configuration, Document, EntryKey, Fence, Integration, Lane, Subject, Trouble},
    plan,
    reconcile::{Options, identity, lease::Lease},
    transport::retry,
};

/// One document in a person's hand.
pub struct DocumentByHand {
    integration: Integration,
    ledger: Ledger,
    options: Options,
    lease: Lease,
    state: DocumentState,
}

impl DocumentByHand {
    /// Takes the document's lease, for which it waits up to 30 s. `holder` names who holds it.
    ///
    /// # Errors
    /// When another process keeps it, or the ledger fails.
    pub async fn take(
        ledger: Ledger,
        options: Options,
        integration: Integration,
        holder: &str,
    ) -> anyhow::Result<Self> {
        let terms = (options.timeout, options.spans());
        let what = format!("the document of {}", integration.as_str());
        let lane = Lane::Document(integration);
        let lease = Lease::wait(&ledger, lane, holder, &options.clock, terms, &what).await?;
        let state = ledger.document_state(integration, options.window, options.clock.now()).await?;
        Ok(Self { integration, ledger, options, lease, state })
    }

    /// Checks that the keys are those of the ledger's Datadog organisation, as far as Datadog says whose they are. What fails
    /// is tried again for up to 30 s.
    ///
    /// # Errors
    /// When they are another's, Datadog still fails, or the ledger does.
    pub async fn check_keys(&self, reader: &datadog::Reader) -> anyhow::Result<()> {
        let home = self.ledger.datadog_home().await?;
        retry(|| identity::compare(reader, &home)).await?;
        Ok(())
    }

    /// What the PUT carries.
    ///
    /// # Errors
    /// When the document is in another Datadog organisation than this ledger's, or too little of the lease is left.
    pub fn fence(&self, now: Option<&Document>) -> Result<Fence, Trouble> {
        check_org(&self.state, now)?;
        if self.lease.allows_write(self.options.timeout) {
            return Ok(self.lease.fence());
        }
        let why = format!(
            "too little of the lease is left to replace the document of {}",
            self.integration.as_str()
        );
        Err(Trouble::new(Class::Transient, why))
    }

    /// Stores what the person wrote in place of `before`. What was suspected of the document, and which of its entries we
    /// removed, is answered by that.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn wrote(&self, before: Option<&Document>, config: &Configuration) -> anyhow::Result<()> {
        let contents = |config| plan::contents(self.integration, config).map_err(anyhow::Error::msg);
        let had = before.map(|document| contents(&document.config)).transpose()?.unwrap_or_default().entries;
        let accepted = contents(config)?;
        let line = |action, key: &EntryKey| AuditEntry {
            team: None,
            action,
            subject: Subject::Entry(self.integration, key.clone()),
            connection: None,
            cause: Cause::Person,
            of_event: false,
            reason: "a person replaced the document".to_owned(),
            proof: None,
            outcome: AuditOutcome::Done,
            detail: None,
        };
        let added = accepted.entries.difference(&had).map(|key| line(AuditAction::AddEntry, key));
        let removed = had.difference(&accepted.entries).map(|key| line(AuditAction::RemoveEntry, key));
        let audit = added.chain(removed).collect();
        let now = self.options.clock.now();
        let mut entries = self.state.entries.clone();
        entries.retain(|key, _| accepted.entries.contains(key));
        let document = SettledDocument {
            integration: self.integration,
            entries,
            datadog_org: before.and_then(|document| document.org_id),
            accepted,
            suspicion: None,
            removed_entries: BTreeMap::new(),
            look: self.state.last_look.unwrap_or_default(),
            lists: BTreeMap::new(),
            read_at: now,
        };
        let settlement = Settlement { audit, document: Some(document), ..Settlement::default() };
        Ok(self.ledger.settle(self.lease.lane, self.lease.fence, &settlement, now).await?)
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// When the ledger fails. The lease then ends by itself.
    pub async fn release(self) -> sqlx::Result<()> {
        self.lease.release().await
    }
}
