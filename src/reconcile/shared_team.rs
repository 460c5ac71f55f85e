//! One Datadog team may be the counterpart of thousands of GitHub teams. A look at few of those doesn't list all of its
//! connections: what the ledger has of the few is read by id. Only where that leaves something open, a create among it,
//! the whole list decides. Datadog doesn't document whether its filter on GitHub teams minds the case of their names, so
//! that an empty answer to it would prove nothing.

use std::collections::BTreeSet;

use super::{known::Known, survey::Eyes};
use crate::{
    datadog::Filter,
    model::{ConnectionId, ConnectionKey, Connections, DatadogTeamId, TeamId, Trouble},
    plan::Desired,
};

/// Up to this many rows of ours on their Datadog teams, all connections of these are one page or two.
const FEW: usize = 100;

impl Eyes {
    /// Reads the connections that decide about some teams: `ids` are the Datadog teams that they want, have or may have.
    pub(super) async fn connections_of(
        &self,
        known: &Known,
        teams: &BTreeSet<TeamId>,
        desired: &Desired,
        ids: BTreeSet<DatadogTeamId>,
    ) -> Result<Connections, Trouble> {
        let rows = || known.actual.owned.values().filter(|owned| ids.contains(&owned.key.datadog_team));
        let theirs: Vec<&ConnectionId> =
            rows().filter(|owned| teams.contains(&owned.team)).map(|owned| &owned.id).collect();
        if theirs.is_empty() || rows().count() <= FEW + 2 * theirs.len() {
            return self.all_of(&ids).await;
        }
        let connection_ids = theirs.iter().map(ToString::to_string).collect();
        let by_id = Filter { connection_ids, ..Filter::default() };
        let mut connections: Connections = self.datadog.connections(&by_id).await?.into_iter().collect();
        let open: BTreeSet<DatadogTeamId> = keys_of(known, teams, desired)
            .filter(|key| !connections.has(key))
            .map(|key| key.datadog_team)
            .collect();
        if !open.is_empty() {
            let all = self.all_of(&open).await?;
            connections.extend(all.iter().map(|(_, connection)| connection.clone()));
        }
        Ok(connections)
    }

    /// Lists every connection of these Datadog teams.
    async fn all_of(&self, ids: &BTreeSet<DatadogTeamId>) -> Result<Connections, Trouble> {
        if ids.is_empty() {
            return Ok(Connections::default());
        }
        let team_ids = ids.iter().map(ToString::to_string).collect();
        let filter = Filter { team_ids, ..Filter::default() };
        Ok(self.datadog.connections(&filter).await?.into_iter().collect())
    }
}

/// Every key about which a plan for these teams decides: wanted, ours, or being written.
fn keys_of<'k>(
    known: &'k Known,
    teams: &'k BTreeSet<TeamId>,
    desired: &'k Desired,
) -> impl Iterator<Item = ConnectionKey> + 'k {
    let wanted = teams.iter().filter_map(|team| desired.teams.get(team)).flat_map(|wanted| {
        let key = |id: &DatadogTeamId| ConnectionKey {
            datadog_team: id.clone(),
            github: wanted.github_key.clone(),
        };
        wanted.datadog.iter().map(key)
    });
    let ours = known.actual.owned.values().filter(|owned| teams.contains(&owned.team));
    let written = known.actual.create_intents.iter().filter(|(_, create)| teams.contains(&create.team));
    wanted.chain(ours.map(|owned| owned.key.clone())).chain(written.map(|(key, _)| key.clone()))
}
