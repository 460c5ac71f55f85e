//! Connections that have the name of one team and are another's: a team got the slug of one that is gone or has another
//! now, and its connection waits until it can pass. When the name changes hands again, its owner needs a look.

use std::collections::BTreeSet;

use super::Look;
use crate::model::{GithubHandle, Owned, TeamId, TeamState};

impl Look<'_> {
    /// The handles, as they stand in keys, that the teams of this look have and that they had before.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let now = self.folded.values().filter_map(|folded| folded.team.as_ref());
        let before = self.folded.keys().filter_map(|id| self.state.teams.get(id));
        let login = &self.known.mirror.org.login;
        now.chain(before).map(|team| GithubHandle::new(login, &team.facts.slug).key()).collect()
    }

    /// The teams of other looks that have a connection under the name of a team of this one: what becomes of that
    /// connection hangs on what was found here.
    pub(super) fn namesakes(&self) -> Vec<TeamId> {
        let (names, teams) = (self.names(), &self.known.mirror.teams);
        let has_the_name = |owned: &Owned| match teams.get(&owned.team) {
            Some(team) if !matches!(team.state, TeamState::Gone { .. }) => {
                GithubHandle::new(&self.known.mirror.org.login, &team.facts.slug).key() == owned.key.github
            }
            Some(_) | None => false,
        };
        let rows = self.state.owned.iter().filter(|owned| names.contains(&owned.key.github));
        let elsewhere = rows.filter(|owned| !self.folded.contains_key(&owned.team) && !has_the_name(owned));
        elsewhere.map(|owned| owned.team).collect()
    }
}
