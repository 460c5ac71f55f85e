//! What is stored before and right after a write is sent, and what earlier writes left: evidence that no later rejection
//! may erase.

use std::collections::BTreeSet;

use super::Run;
use crate::{
    ledger::{AuditAction, AuditOutcome, Intended, Intent, IntentKind, LedgerError, PassedOn},
    model::{
        Class, ConnectionId, ConnectionKey, GithubHandle, OrgId, Owned, Subject, TeamId, TeamKey, Time,
        Trouble,
    },
    reconcile::lease::shown_within,
};

impl Run<'_> {
    /// Stores what is about to be written. Returns the connections that must not be, because another organisation has a
    /// claim on them: their teams are looked at again.
    pub(super) async fn intend<'k>(
        &mut self,
        kind: IntentKind,
        items: impl Iterator<Item = (&'k ConnectionKey, Option<TeamId>, Option<&'k GithubHandle>)>,
    ) -> Result<BTreeSet<ConnectionKey>, LedgerError> {
        let intents: Vec<_> = items
            .map(|(key, team, written)| Intended { kind, key: key.clone(), team, written: written.cloned() })
            .collect();
        let (hands, now) = (&self.hands, self.hands.options.clock.now());
        let mark = &hands.options.managed_by;
        let refused = hands.ledger.intend(hands.org, hands.lease.fence, &intents, mark, now).await?;
        if kind == IntentKind::Create && !refused.is_empty() {
            hands
                .ledger
                .end_writes_of_others(hands.org, hands.lease.fence, &refused, self.over(), now)
                .await?;
        }
        for Intended { key, team, .. } in intents.iter().filter(|intent| refused.contains(&intent.key)) {
            let why = format!("{key}: another organisation has a claim on this connection");
            self.out.unfinished.insert(*team, Trouble::new(Class::Transient, why));
        }
        Ok(refused)
    }

    /// Stores that Datadog answered with success: its lists may lag behind that.
    pub(super) async fn answered(&self, ids: &[(&ConnectionKey, &ConnectionId)]) -> Result<(), LedgerError> {
        let now = self.hands.options.clock.now();
        self.hands.ledger.note_answered(self.hands.org, self.hands.lease.fence, ids, now).await
    }

    /// Returns the create of this connection whose end was unknown when the look began.
    pub(super) fn open_create(&self, key: &ConnectionKey) -> Option<&Intent> {
        self.hands.intents.iter().find(|intent| intent.key == *key && intent.kind != IntentKind::Delete)
    }

    /// Whether an earlier create of this connection may have been carried out, of another look or of this one.
    pub(super) fn may_be_made(&self, key: &ConnectionKey) -> bool {
        self.open_create(key).is_some() || self.unsure.contains(key)
    }

    /// A create that was surely not carried out needs no intent, unless an earlier one may have been.
    pub(super) fn undone(&mut self, key: &ConnectionKey) {
        if !self.may_be_made(key) {
            self.out.stored.undone.push(key.clone());
        }
    }

    /// A row that passes to another team, in this organisation or between two.
    pub(super) fn pass_on(
        &mut self,
        of: Option<TeamId>,
        key: ConnectionKey,
        id: ConnectionId,
        (from_org, to_org, team): (Option<OrgId>, Option<OrgId>, TeamId),
        reason: &str,
    ) {
        let (connection, done) = (Subject::Connection(key.clone()), AuditOutcome::Done);
        self.audit(of, AuditAction::PassOn, connection, Some(id.as_str()), reason, None, done, None);
        let here = self.hands.org;
        if from_org.is_none() && to_org.is_none() {
            self.out.stored.owned.push(Owned { key, id, team, managed_by: None });
        } else {
            let to = TeamKey { org: to_org.unwrap_or(here), team };
            let (from, options) = (from_org.unwrap_or(here), self.hands.options);
            let waits = (options.backoff.min, options.backoff.max);
            self.out.stored.passed_on.push(PassedOn { key, id, from, to, waits, over: self.over() });
        }
    }

    /// Returns the time before which every write was sent whose end this look has seen. Of what was sent before this
    /// process began, nobody knows when that was.
    fn over(&self) -> Time {
        let over = self.hands.began - shown_within(self.hands.options.timeout);
        if self.hands.ledger.opened_at() < over { over } else { Time(0) }
    }
}
