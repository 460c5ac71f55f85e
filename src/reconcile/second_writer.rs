//! Connections of ours that somebody else removes, and those that somebody makes where teamlink deleted one.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::{
    known::Known,
    survey::{Eyes, Surveyed},
};
use crate::{
    model::{Answer, ConnectionKey, DatadogTeamId, Owned},
    plan::{self, Actual, Plan},
};

impl Eyes {
    /// Returns the connections of ours that somebody else has removed, as far as no look has noted that yet: neither the
    /// list nor a read by id shows them.
    pub(super) async fn removed_by_others(&self, known: &Known, plan: &Plan, actual: &Actual) -> Vec<Owned> {
        let noted = |owned: &Owned| {
            let noted = known.population.removed_by_others.get(&owned.key);
            noted.is_some_and(|noted| noted.connections.contains_key(&owned.id))
        };
        // What an interrupted delete or adoption was to delete is what the row named, not what was created since.
        let deleting = |owned: &Owned| {
            known.deleting.contains(&owned.key)
                && actual.owned.get(&owned.key).is_some_and(|row| row.id == owned.id)
        };
        let mut missing = plan::missing_connections(plan, actual);
        missing.retain(|owned| !deleting(owned) && !noted(owned));
        if missing.is_empty() {
            return missing;
        }
        // With its Datadog team it went by nobody's hand. What is remembered of those may be old.
        let teams: BTreeSet<&DatadogTeamId> = missing.iter().map(|owned| &owned.key.datadog_team).collect();
        let there = teams.into_iter().map(async |team| (team, self.datadog.team(team).await));
        let there = join_all(there).await.into_iter();
        let there = there.filter(|(_, answer)| matches!(answer, Answer::Present(_)));
        let there: BTreeSet<DatadogTeamId> = there.map(|(team, _)| team.clone()).collect();
        missing.retain(|owned| there.contains(&owned.key.datadog_team));
        missing
    }

    /// Returns those of these connections that somebody else has made.
    pub(super) fn foreign_among<'k>(
        &self,
        surveyed: &Surveyed,
        keys: &'k BTreeSet<ConnectionKey>,
    ) -> Vec<&'k ConnectionKey> {
        let Actual { connections, own_marks, .. } = &surveyed.actual;
        let foreign = |key: &&ConnectionKey| {
            let marks = connections.at(key).iter().map(|connection| connection.managed_by.as_ref());
            marks.into_iter().any(|mark| mark.is_none_or(|mark| !own_marks.contains(mark)))
        };
        keys.iter().filter(foreign).collect()
    }
}
