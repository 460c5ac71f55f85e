//! Connections that Datadog answered with 201 and that its lists do not show yet.

use std::collections::{BTreeMap, BTreeSet};

use super::survey::{Eyes, Known};
use crate::{
    datadog::Filter,
    model::{ConnectionId, ConnectionKey, Connections, TeamId, Trouble},
};

impl Eyes {
    /// Reads by their ids the connections that Datadog answered with 201 and that no list shows yet. Returns those that
    /// are not found.
    pub(super) async fn read_answered(
        &self,
        known: &Known,
        teams: &BTreeSet<TeamId>,
        connections: &mut Connections,
    ) -> Result<BTreeMap<ConnectionKey, ConnectionId>, Trouble> {
        let creates = known.create_intents().filter(|(_, create)| teams.contains(&create.team));
        let answered =
            creates.filter_map(|(key, create)| Some((key.clone(), create.answered.as_ref()?.id.clone())));
        let mut missed: BTreeMap<_, _> =
            answered.filter(|(key, id)| connections.with_id(key, id).is_none()).collect();
        if !missed.is_empty() {
            let connection_ids = missed.values().map(ToString::to_string).collect();
            connections
                .extend(self.datadog.connections(&Filter { connection_ids, ..Filter::default() }).await?);
            missed.retain(|key, id| connections.with_id(key, id).is_none());
        }
        Ok(missed)
    }
}
