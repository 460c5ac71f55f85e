//! What is stored of each step: rows, audit, and what is parked. Nothing is sent from here.

use super::{Create, Delete, Run};
use crate::{
    ledger::{AuditAction, AuditEntry, AuditOutcome, ParkedAction, ParkedStep},
    model::{Cause, Class, ConnectionId, ConnectionKey, Owned, Subject, TeamId, Trouble},
    telemetry,
};

impl Run<'_> {
    /// What Datadog says is not what was meant. The intent stays open, and the team is looked at again.
    pub(super) fn differs(&mut self, team: Option<TeamId>, key: &ConnectionKey, what: &str) {
        telemetry::work::differs(self.hands.lease.lane, team, key, what);
        // Datadog took the write, so that it is no outage.
        self.out.counted.extend(team);
        self.out.unfinished.insert(team, Trouble::new(Class::Transient, format!("{key}: {what}")));
    }

    /// A connection that is ours now, made under this mark.
    pub(super) fn record(
        &mut self,
        team: TeamId,
        key: ConnectionKey,
        id: ConnectionId,
        managed_by: Option<String>,
        reason: &str,
        outcome: AuditOutcome,
    ) {
        let (create, subject) = (AuditAction::Create, Subject::Connection(key.clone()));
        self.audit(Some(team), create, subject, Some(id.as_str()), reason, None, outcome, None);
        self.out.stored.closed_intents.push(key.clone());
        self.out.stored.owned.push(Owned { key, id, team, managed_by });
    }

    /// A create that was sent, and whose end is not known.
    pub(super) fn unknown_create(&mut self, item: &Create, said: &str) {
        let (create, subject) = (AuditAction::Create, Subject::Connection(item.key.clone()));
        let (team, unknown) = (Some(item.team), AuditOutcome::Unknown);
        self.audit(team, create, subject, None, &item.reason, None, unknown, Some(said));
    }

    /// A removal that was sent, and whose end is not known: its proof is told all the same.
    pub(super) fn unknown_delete(&mut self, item: &Delete, said: Option<&str>) {
        let (delete, subject) = (AuditAction::Delete, Subject::Connection(item.key.clone()));
        let (proof, id) = (item.cause.proof(), Some(item.id.as_str()));
        self.audit(item.team, delete, subject, id, &item.reason, proof, AuditOutcome::Unknown, said);
    }

    /// A connection that is gone.
    pub(super) fn unlinked(&mut self, item: Delete, outcome: AuditOutcome) {
        let (delete, subject) = (AuditAction::Delete, Subject::Connection(item.key.clone()));
        let (proof, id) = (item.cause.proof(), Some(item.id.as_str()));
        self.audit(item.team, delete, subject, id, &item.reason, proof, outcome, None);
        self.out.stored.closed_intents.push(item.key.clone());
        self.out.stored.disowned.push(item.key);
    }

    /// A create or a delete that Datadog rejects for good.
    pub(super) fn park(
        &mut self,
        team: Option<TeamId>,
        step: ParkedStep,
        id: Option<&ConnectionId>,
        reason: &str,
        trouble: &Trouble,
    ) {
        let (action, key) = match &step {
            ParkedStep::Create(key) => (AuditAction::Create, key),
            ParkedStep::Delete(key) => (AuditAction::Delete, key),
            // These write no connection; the look that makes them parks them itself.
            ParkedStep::Look(_) | ParkedStep::Replace(_) | ParkedStep::Entry(..) => return,
        };
        telemetry::work::parked(self.hands.lease.lane, team, key, action, trouble);
        let (subject, id) = (Subject::Connection(key.clone()), id.map(ConnectionId::as_str));
        self.audit(team, action, subject, id, reason, None, AuditOutcome::Parked, Some(&trouble.message));
        let attempts = self.hands.marks.get(&team).map_or(0, |mark| mark.attempts) + 1;
        self.out.stored.parked.push(ParkedAction { team, step, error: trouble.clone(), attempts });
    }

    #[expect(clippy::too_many_arguments, reason = "one line of the audit trail, told in full at each place")]
    pub(super) fn audit(
        &mut self,
        team: Option<TeamId>,
        action: AuditAction,
        subject: Subject,
        id: Option<&str>,
        reason: &str,
        proof: Option<String>,
        outcome: AuditOutcome,
        detail: Option<&str>,
    ) {
        let mark = self.hands.marks.get(&team);
        telemetry::work::action(self.hands.lease.lane, team, &subject, action, outcome, reason);
        self.out.stored.audit.push(AuditEntry {
            team,
            action,
            subject,
            connection: id.map(str::to_owned),
            cause: mark.map_or(Cause::Pass, |mark| mark.cause),
            of_event: mark.is_some_and(|mark| mark.asks.event),
            reason: reason.to_owned(),
            proof,
            outcome,
            detail: detail.map(str::to_owned),
        });
    }
}
