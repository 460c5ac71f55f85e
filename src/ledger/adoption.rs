//! Taking a connection over: the journal of what is about to be deleted in order to be made again.

use super::{AuditEntry, Intended, IntentKind, Ledger, LedgerError, accept, intents, settle};
use crate::model::{Asks, Cause, ConnectionKey, Lane, OrgId, Target, TeamId, TeamKey, Time};

impl Ledger {
    /// Stores, before it is deleted, that a connection is being taken over. The team is marked in the same breath:
    /// whoever works next finishes what is interrupted. The connection that replaces it carries the mark `managed_by`.
    ///
    /// Returns false, and stores nothing, while another organisation has an intent for the key.
    pub async fn begin_adoption(
        &self,
        org: OrgId,
        fence: i64,
        (key, team): (&ConnectionKey, TeamId),
        audit: AuditEntry,
        managed_by: &str,
        now: Time,
    ) -> Result<bool, LedgerError> {
        let audit = &audit;
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            let db = &mut *transaction;
            settle::check_fence(db, Lane::Org(org), fence).await?;
            let intent =
                Intended { kind: IntentKind::Adopt, key: key.clone(), team: Some(team), written: None };
            if !intents::store_intents(db, org, fence, &[intent], managed_by, now).await?.is_empty() {
                return Ok(false);
            }
            settle::store_audit(db, Lane::Org(org), fence, &[audit], now).await?;
            accept::mark_in(db, &[Target::Team(TeamKey { org, team })], Cause::Person, Asks::PERSON, now)
                .await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }
}
