//! Reading our connections by their ids where a list lacks them: one list decides nothing about what is ours.

use std::collections::{BTreeMap, BTreeSet};

use super::{known::Known, survey::Eyes};
use crate::{
    datadog::Filter,
    model::{ConnectionId, ConnectionKey, Connections, Owned, TeamId, Trouble},
    plan::{self, Actual, Desired, Plan},
};

impl Eyes {
    /// Reads by their ids the connections that Datadog answered with 201 and that no list shows yet: those that were made for
    /// these teams, and those that they want by now. Returns those that are not found.
    pub(super) async fn read_answered(
        &self,
        known: &Known,
        (teams, desired): (&BTreeSet<TeamId>, &Desired),
        connections: &mut Connections,
    ) -> Result<BTreeMap<ConnectionKey, ConnectionId>, Trouble> {
        let wants = |key| desired.wanted_keys.get(key).is_some_and(|team| teams.contains(team));
        let creates = known.actual.create_intents.iter();
        let creates = creates.filter(|(key, create)| teams.contains(&create.team) || wants(*key));
        let answered =
            creates.filter_map(|(key, create)| Some((key.clone(), create.answered.as_ref()?.id.clone())));
        let mut missed: BTreeMap<_, _> =
            answered.filter(|(key, id)| connections.with_id(key, id).is_none()).collect();
        if !missed.is_empty() {
            let connection_ids = missed.values().map(ToString::to_string).collect();
            let filter = Filter { connection_ids, ..Filter::default() };
            connections.extend(self.datadog.connections(&filter).await?);
            missed.retain(|key, id| connections.with_id(key, id).is_none());
        }
        Ok(missed)
    }

    /// Plans for these teams. Our connections that the plan makes again or disowns because the list lacks them are read by
    /// their ids first: a list may be cut, and lacks one that moves to a page which was read already. One that its id
    /// shows counts as not visible yet.
    ///
    /// # Errors
    /// When they cannot be read: nothing is disowned on the word of one list.
    pub(super) async fn plan_by_ids(
        &self,
        known: &Known,
        (teams, desired): (&BTreeSet<TeamId>, &Desired),
        actual: &mut Actual,
        troubled: &BTreeMap<TeamId, String>,
    ) -> Result<Plan, Trouble> {
        let planned = |actual: &Actual| {
            plan::plan(&known.mirror, teams, desired, actual, troubled, &self.policy(known))
        };
        let plan = planned(actual);
        let missing = plan::missing_connections(&plan, actual);
        if missing.is_empty() {
            return Ok(plan);
        }
        let connection_ids = missing.iter().map(|owned| owned.id.to_string()).collect();
        let shown = self.datadog.connections(&Filter { connection_ids, ..Filter::default() }).await?;
        let is_shown = |owned: &Owned| shown.iter().any(|connection| connection.id == owned.id);
        let young: Vec<_> =
            missing.into_iter().filter(is_shown).map(|owned| (owned.key, known.now)).collect();
        if young.is_empty() {
            return Ok(plan);
        }
        actual.young.extend(young);
        Ok(planned(actual))
    }
}
