//! What of a plan may go ahead, and what waits for a person or for its time.

use std::collections::BTreeSet;

use super::{known::Known, survey::Eyes};
use crate::{
    model::{ConnectionKey, Owned, TeamId, TeamState},
    plan::{Actual, Guarded, Plan, Population, guard},
};

impl Eyes {
    /// Holds what a plan may not do without a person. `removed` are connections that somebody else removed since the last
    /// look.
    pub(super) fn judge(
        &self,
        known: &Known,
        teams: &BTreeSet<TeamId>,
        plan: Plan,
        actual: &Actual,
        removed: Vec<Owned>,
    ) -> Guarded {
        let mirror = &known.mirror;
        // Of the teams that were not planned, what the ledger has; of the others, what the plan says.
        let held = |key: &ConnectionKey| {
            known.population.held.keys().any(|held| held.subject.connection() == Some(key))
        };
        let elsewhere = |key: &&ConnectionKey| {
            actual.owned.get(*key).is_some_and(|owned| !teams.contains(&owned.team)) && !held(key)
        };
        let unwanted = plan.in_grace().filter(|(_, key, ..)| !held(key)).count()
            + actual.unwanted_since.keys().filter(elsewhere).count();
        // What is held counts as held, whatever its team is suspected of.
        let suspected = |owned: &&Owned| {
            let team = mirror.teams.get(&owned.team);
            team.is_some_and(|team| matches!(team.state, TeamState::Suspected { .. })) && !held(&owned.key)
        };
        let waiting = actual.owned.values().filter(suspected).count() + unwanted;
        // What Datadog said that it deleted is owned no more, whatever its lists show yet. Nor is what an interrupted write may
        // have deleted, as far as nothing shows it.
        let deleted = |owned: &&Owned| {
            actual.delete_not_visible(owned, known.now).is_some()
                || known.deleting.contains(&owned.key) && !actual.connections.has(&owned.key)
        };
        let deleted: BTreeSet<ConnectionKey> =
            actual.owned.values().filter(deleted).map(|owned| owned.key.clone()).collect();
        let begun = known.removed.begun.iter();
        let begun = begun.filter(|key| !actual.connections.has(key) || deleted.contains(key));
        let mut population = known.population.clone();
        population.owned = population.owned.saturating_sub(deleted.len());
        population.waiting = waiting;
        population.removed = known.removed.done + begun.count();
        let unexplained = |key: &&ConnectionKey| {
            let row = actual.owned.contains_key(*key) && !deleted.contains(*key);
            // What somebody else made in its place explains it too.
            row && !actual.connections.has(key) && !actual.gone.contains(&key.datadog_team)
        };
        population.disowns = plan.disowned().filter(unexplained).cloned().collect();
        population.disowned = known.removed.disowned;
        population.deleted = deleted;
        for owned in &removed {
            let of_key = population.removed_by_others.entry(owned.key.clone()).or_default();
            of_key.connections.insert(owned.id.clone(), known.now);
        }
        let guarded = self.guard(known, plan, &population).disowning_what_waits(actual);
        let guarded = guarded.keeping_what_may_be_made(&actual.arriving);
        Guarded { removed_by_others: removed, ..guarded }
    }

    /// Splits a plan into what may go ahead and what waits for a person.
    pub(super) fn guard(&self, known: &Known, plan: Plan, population: &Population) -> Guarded {
        let policy = self.options.policy(&known.mirror.org.login, &known.mirror.bound_login);
        guard(plan, population, &self.options.limits, |team, key| {
            policy.protects(&known.mirror.names(team, key))
        })
    }
}
