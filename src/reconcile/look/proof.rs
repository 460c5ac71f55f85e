//! The end of the proof that teams are gone: the organisation's complete list, begun after the second look, lacks them.
//! What the list shows is evidence against their ids.
//!
//! One list serves every team whose second look was over when it began, of whatever look. There is at most one for each
//! `guard.grace`, and at most one in ten minutes where it is long; it is read as a pass reads, without the reserve for
//! events. Only removals wait for it.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::{Look, holders::by_slug};
use crate::{
    model::{MirrorTeam, TeamFacts, TeamId, TeamState, Time},
    reconcile::{
        fold::{Folded, Seen, fold, unlisted},
        observe::{self, Moment, PAGE},
    },
};

/// From this many pages on, a list is long.
const LONG: usize = 50;

/// Long lists for proofs are at least this far apart.
const BETWEEN_LONG: Duration = Duration::from_secs(600);

impl Look<'_> {
    /// Reads the list if it is time for it and a team of this look waits for it, and decides about all that wait.
    pub(super) async fn complete_proofs(&mut self) -> sqlx::Result<()> {
        let waits = |team: &MirrorTeam| matches!(team.state, TeamState::Suspected { second: Some(_), .. });
        let here: Vec<TeamId> = self
            .folded
            .iter()
            .filter(|(_, folded)| folded.trouble.is_none() && folded.team.as_ref().is_some_and(waits))
            .map(|(id, _)| *id)
            .collect();
        if here.is_empty() {
            return Ok(());
        }
        let asked = Moment::now(&self.options.clock);
        let now = asked.time;
        let next = self.next_list(now);
        if next > now {
            for team in here {
                if let Some(folded) = self.folded.get_mut(&team) {
                    folded.second_look = Some(next);
                }
            }
            return Ok(());
        }
        // The organisation was read in this look: without it, no 404 would have counted.
        let org = &self.known.mirror.org;
        let teams = self.eyes.github.unhurried().list_teams(org, observe::listed_type(&self.state)).await;
        let absent = || format!("the list of the teams of {} answers 404", org.login);
        let list = match observe::answer(teams, absent) {
            Ok(list) => list,
            Err(trouble) => {
                self.troubles.extend(here.into_iter().map(|team| (team, trouble.clone())));
                return Ok(());
            }
        };
        let look = Moment { time: self.started, monotonic: self.monotonic };
        let began = observe::began(&list, asked, look);
        self.listed_at = Some(began);
        let resumed = list.began < asked.monotonic;
        let of_org = by_slug(list.items.iter().cloned());
        let listed: HashMap<TeamId, TeamFacts> =
            list.items.into_iter().map(|facts| (facts.id, facts)).collect();
        let waiting = self.known.mirror.teams.values().filter(|team| waits(team));
        // A list that waited for the end of a rate limit says nothing of those at which the second look came later.
        let waiting: Vec<MirrorTeam> =
            waiting.filter(|team| !resumed || self.waited_at(team, began)).cloned().collect();
        let gone = waiting.iter().filter(|team| !resumed && !listed.contains_key(&team.facts.id));
        let slugs = gone.map(|team| team.facts.slug.clone()).collect();
        for team in waiting {
            self.decide(team, &listed, began);
        }
        self.heirs(&slugs, &of_org).await?;
        if !resumed {
            self.listed_teams.insert(self.known.mirror.org.id, of_org);
        }
        // Those about which this list says nothing wait for the next one.
        let next = now + self.between_lists();
        for team in here {
            if let Some(folded) = self.folded.get_mut(&team)
                && folded.team.as_ref().is_some_and(waits)
            {
                folded.second_look = Some(next);
            }
        }
        Ok(())
    }

    /// Takes in the teams that the list shows under the slugs of those that it lacks: their events may be still to come.
    async fn heirs(
        &mut self,
        gone: &BTreeSet<String>,
        listed: &HashMap<String, TeamFacts>,
    ) -> sqlx::Result<()> {
        let heirs = gone.iter().filter_map(|slug| listed.get(slug));
        let heirs: Vec<TeamFacts> = heirs.filter(|it| !self.folded.contains_key(&it.id)).cloned().collect();
        let ids = heirs.iter().map(|facts| facts.id).collect();
        self.ledger.take_in_teams(&mut self.state, &ids).await?;
        self.known.take_in(&self.state);
        for facts in heirs {
            self.fold(facts.id, Seen::Present(facts), true);
        }
        Ok(())
    }

    /// Whether the second look at a team was over at this time, when this look began.
    fn waited_at(&self, team: &MirrorTeam, at: Time) -> bool {
        let known = self.state.teams.get(&team.facts.id);
        known.is_some_and(|known| known.state == team.state)
            && matches!(team.state, TeamState::Suspected { second: Some(second), .. } if second <= at)
    }

    /// When the next list may begin.
    fn next_list(&self, now: Time) -> Time {
        // A list from the future was read before the clock was set back.
        self.state.listed_at.filter(|at| *at <= now).map_or(now, |at| at + self.between_lists())
    }

    /// How far apart lists for proofs are at least.
    fn between_lists(&self) -> Duration {
        let long = self.state.size.teams >= LONG * PAGE;
        if long { BETWEEN_LONG.max(self.options.grace) } else { self.options.grace }
    }

    /// Takes in what a list, begun at this time, says of a team that waits for it.
    fn decide(&mut self, team: MirrorTeam, listed: &HashMap<TeamId, TeamFacts>, began: Time) {
        let id = team.facts.id;
        let decided = match listed.get(&id) {
            // Its id answers 404, and the list shows it: it is there.
            Some(facts) => {
                let seen = Seen::Present(facts.clone());
                fold(Some(&team), seen, true, self.options.grace, (self.started, began)).team
            }
            None => unlisted(&team, began),
        };
        let Some(decided) = decided else { return };
        self.known.mirror.teams.insert(id, decided.clone());
        match self.folded.get_mut(&id) {
            Some(folded) => {
                *folded = Folded { team: Some(decided), changed: true, second_look: None, trouble: None };
            }
            None => self.decided.push(decided),
        }
    }
}
