//! What is stored of each step: rows, audit, and what is given up on. Nothing is sent from here.

use super::{Delete, Run};
use crate::{
    ledger::{AuditEntry, ParkedAction},
    model::{Cause, Class, ConnectionId, ConnectionKey, Owned, TeamId, Trouble},
    telemetry,
};

impl Run<'_> {
    /// What Datadog says is not what was meant. The intent stays open, and the team is looked at again.
    pub(super) fn differs(&mut self, team: TeamId, key: &ConnectionKey, what: &str) {
        telemetry::work::differs(self.hands.lease.org, team, key, what);
        self.out.unfinished.insert(team, Trouble::new(Class::Transient, format!("{key}: {what}")));
    }

    /// A connection that is ours now.
    pub(super) fn record(
        &mut self,
        team: TeamId,
        key: ConnectionKey,
        id: ConnectionId,
        reason: &str,
        outcome: &'static str,
    ) {
        self.audit(team, "create", &key, Some(&id), reason, None, outcome, None);
        self.out.stored.closed_intents.push(key.clone());
        self.out.stored.owned.push(Owned { key, id, team });
    }

    /// A removal that was sent, and whose end is not known: its proof is told all the same.
    pub(super) fn unknown_delete(&mut self, item: &Delete, said: Option<&str>) {
        let (proof, id) = (item.cause.proof(), Some(&item.id));
        self.audit(item.team, "delete", &item.key, id, &item.reason, proof, "unknown", said);
    }

    /// A connection that is gone.
    pub(super) fn unlinked(&mut self, item: Delete, outcome: &'static str) {
        let proof = item.cause.proof();
        self.audit(item.team, "delete", &item.key, Some(&item.id), &item.reason, proof, outcome, None);
        self.out.stored.closed_intents.push(item.key.clone());
        self.out.stored.disowned.push(item.key);
    }

    pub(super) fn park(
        &mut self,
        team: TeamId,
        action: &'static str,
        key: &ConnectionKey,
        id: Option<&ConnectionId>,
        reason: &str,
        trouble: &Trouble,
    ) {
        telemetry::work::parked(self.hands.lease.org, team, key, action, trouble);
        self.audit(team, action, key, id, reason, None, "parked", Some(&trouble.message));
        let attempts = self.hands.marks.get(&team).map_or(0, |mark| mark.attempts) + 1;
        let (subject, error) = (format!("{action} {key}"), trouble.clone());
        self.out.stored.parked.push(ParkedAction { team, subject, error, attempts });
    }

    #[expect(clippy::too_many_arguments, reason = "one line of the audit trail, told in full at each place")]
    pub(super) fn audit(
        &mut self,
        team: TeamId,
        action: &'static str,
        key: &ConnectionKey,
        id: Option<&ConnectionId>,
        reason: &str,
        proof: Option<String>,
        outcome: &'static str,
        detail: Option<&str>,
    ) {
        telemetry::work::action(self.hands.lease.org, team, key, action, outcome, reason);
        self.out.stored.audit.push(AuditEntry {
            team,
            action,
            key: key.clone(),
            connection: id.map(ToString::to_string),
            cause: self.hands.marks.get(&team).map_or(Cause::Pass, |mark| mark.cause),
            reason: reason.to_owned(),
            proof,
            outcome,
            detail: detail.map(str::to_owned),
        });
    }
}
