//! Facts of the intake and the reconciler.

use crate::{
    ledger::{Accepted, Entry},
    model::OrgId,
};

/// Deliveries were committed.
pub fn accepted(entries: &[Entry], accepted: Accepted) {
    for entry in entries {
        metrics::counter!("teamlink_deliveries_total", "event" => entry.event.clone(), "outcome" => entry.outcome.as_str())
            .increment(1);
        if let Some(error) = &entry.error {
            tracing::warn!(delivery.guid = entry.guid, event = entry.event, error, "delivery parked");
        }
    }
    if accepted.duplicates > 0 {
        metrics::counter!("teamlink_deliveries_total", "event" => "any", "outcome" => "duplicate")
            .increment(accepted.duplicates);
    }
    tracing::debug!(
        deliveries = entries.len(),
        duplicates = accepted.duplicates,
        marked = accepted.marked,
        "deliveries committed"
    );
}

/// The ledger did not store deliveries; they were refused at the door.
pub fn not_stored(error: &sqlx::Error) {
    tracing::error!(%error, "the ledger did not store deliveries; their senders must send them again");
}

/// An event of an organisation whose login is bound to another id.
pub fn login_taken(id: OrgId, login: &str, bound_to: OrgId) {
    tracing::error!(
        org.id = id.0, org.login = login, bound.id = bound_to.0,
        "org {id} calls itself {login}, which is bound to org {bound_to}: its events are ignored; \
         if the name really moved, remove it from `github.orgs` and add the new organisation"
    );
}
