//! Connections that have the name of one team and are another's: a team got the slug of one that is gone or has another
//! now, and its connection waits until it can pass. When the name changes hands again, its owner needs a look.

use std::collections::BTreeSet;

use super::Look;
use crate::{
    model::{ConnectionKey, GithubHandle, MirrorTeam, Owned, TeamId},
    reconcile::fold::Folded,
};

impl Look<'_> {
    /// The handles, as they stand in keys, that the teams of this look have and that they had before.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let now = self.folded.values().filter_map(|folded| folded.team.as_ref());
        let before = self.folded.keys().filter_map(|id| self.state.teams.get(id));
        now.chain(before).map(|team| self.name(team)).collect()
    }

    /// The teams of other looks that have a connection under a name which a team of this one has given up, or which a
    /// person asks about: a pause may have ended.
    pub(super) fn namesakes(&self) -> Vec<TeamId> {
        let changed = self.folded.values().filter(|folded| folded.changed).filter_map(|it| it.team.as_ref());
        // Only what has just changed: two teams that have each other's names would wake each other without end.
        let given_up = changed.chain(&self.decided).filter_map(|team| {
            let before = self.name(self.state.teams.get(&team.facts.id)?);
            (team.is_gone() || self.name(team) != before).then_some(before)
        });
        let asked = |(id, folded): (&TeamId, &Folded)| {
            let by_a_person = self.due.get(id).is_some_and(|asks| asks.lifts_creates);
            folded.team.as_ref().filter(|_| by_a_person).map(|team| self.name(team))
        };
        let names: BTreeSet<String> = given_up.chain(self.folded.iter().filter_map(asked)).collect();
        let has_the_name = |owned: &Owned| {
            let team = self.known.mirror.teams.get(&owned.team);
            team.is_some_and(|team| !team.is_gone() && self.name(team) == owned.key.github)
        };
        let rows = self.state.owned.iter().filter(|owned| names.contains(&owned.key.github));
        let elsewhere = rows.filter(|owned| !self.folded.contains_key(&owned.team) && !has_the_name(owned));
        elsewhere.map(|owned| owned.team).collect()
    }

    /// The teams that have the name in the key of a row that went, and were not put beside Datadog: the row may have stood in
    /// the way of a connection of theirs.
    pub(super) fn freed(&self, disowned: &[ConnectionKey]) -> Vec<TeamId> {
        if disowned.is_empty() {
            return Vec::new();
        }
        let names: BTreeSet<&str> = disowned.iter().map(|key| key.github.as_str()).collect();
        let has_one = |team: &&MirrorTeam| !team.is_gone() && names.contains(self.name(team).as_str());
        let teams = self.known.mirror.teams.values().filter(has_one).map(|team| team.facts.id);
        teams.filter(|team| !self.asked.contains(team)).collect()
    }

    fn name(&self, team: &MirrorTeam) -> String {
        GithubHandle::new(&self.known.mirror.org.login, &team.facts.slug).key()
    }
}
