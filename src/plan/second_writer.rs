//! Connections of ours that somebody else removed. The planner makes them again, or disowns them; here they are noticed,
//! and what waits is disowned meanwhile.

use std::collections::BTreeSet;

use super::{Action, Actual, Guarded, Interrupted, Plan, Planned, Why};
use crate::model::{ConnectionKey, HoldRule, Owned};

/// Returns our connections that a plan makes again or disowns because Datadog lacks them: those of our rows, and those that
/// Datadog answered a create with and that two looks did not find by their ids. One that went with its Datadog team was
/// removed by nobody.
pub fn missing_connections(plan: &Plan, actual: &Actual) -> Vec<Owned> {
    let keys = plan.actions.iter().filter_map(|planned| match &planned.action {
        Action::Create { key, .. } | Action::Forget { key } => Some(key),
        Action::CreateTeam { .. } | Action::Delete { .. } | Action::PassOn { .. } | Action::Record { .. } => {
            None
        }
    });
    let missing = keys.filter(|key| !actual.connections.has(key) && !actual.gone.contains(&key.datadog_team));
    // One team may disown what another makes again.
    let missing: BTreeSet<&ConnectionKey> = missing.collect();
    missing
        .into_iter()
        .flat_map(|key| actual.owned.get(key).cloned().into_iter().chain(answered_and_missed(key, actual)))
        .collect()
}

/// Returns the connection that Datadog answered a create of this key with, if this look and an earlier one did not find
/// it. The planner has judged whether they are far enough apart.
fn answered_and_missed(key: &ConnectionKey, actual: &Actual) -> Option<Owned> {
    let Interrupted { team, managed_by, answered, .. } = actual.create_intents.get(key)?;
    let answered = answered.as_ref().filter(|answered| answered.missed_at.is_some())?;
    let (id, team, managed_by) = (answered.id.clone(), *team, managed_by.clone());
    actual.missing.contains(&id).then(|| Owned { key: key.clone(), id, team, managed_by })
}

impl Guarded {
    /// Disowns what somebody removed and what is not made again now: its row, and its create that Datadog answered. A create
    /// that may still arrive keeps them.
    pub fn disowning_what_waits(mut self, actual: &Actual) -> Self {
        let held = self.held.iter().filter(|(_, reason)| reason.rule == HoldRule::SecondWriter);
        let held = held.filter_map(|(planned, _)| Some((planned.team, planned.action.key()?)));
        let waiting = self.ready.left_alone.iter().filter_map(|left| match &left.why {
            Why::SomebodyRemoves { key, .. } => Some((left.team, key)),
            _ => None,
        });
        let known = |key| actual.owned.contains_key(key) || answered_and_missed(key, actual).is_some();
        let rows = held.chain(waiting).filter(|(_, key)| known(*key) && !actual.arriving.contains_key(*key));
        let disowned: Vec<Planned> = rows
            .map(|(team, key)| Planned {
                team,
                action: Action::Forget { key: key.clone() },
                reason: "somebody removed the connection, and it is not made again yet".to_owned(),
            })
            .collect();
        self.ready.actions.splice(0..0, disowned);
        self
    }
}
