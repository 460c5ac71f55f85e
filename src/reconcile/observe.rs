//! Reading GitHub for the teams of one look, by the cheaper way: each team by its id, or the whole list.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use futures_util::future::join_all;

use super::fold::Seen;
use crate::{
    clock::Clock,
    github,
    ledger::OrgState,
    model::{Answer, Class, OrgFacts, TeamFacts, TeamId, TeamState, TeamType, Time, Trouble},
    transport::List,
};

/// Teams on one page of GitHub's list.
pub(super) const PAGE: usize = 100;

/// Teams that are read before it is looked whether to go on; the reader bounds how many are under way at once.
const AT_A_TIME: usize = 16;

/// What GitHub said.
#[derive(Default)]
pub(super) struct Reading {
    /// What was seen of each team that was asked for.
    pub(super) seen: BTreeMap<TeamId, Seen>,
    /// The organisation, when it had to be read.
    pub(super) org: Option<OrgFacts>,
    /// The whole list by slug, when it had to be read.
    pub(super) listing: Option<HashMap<String, TeamFacts>>,
    /// Slugs that answered 404 under the login that the mirror has.
    pub(super) unheld: BTreeSet<String>,
    /// The troubles behind what could not be read, by team.
    pub(super) troubles: BTreeMap<TeamId, Trouble>,
    /// The organisation and the list of its teams answered: a 404 of one of its teams says something.
    absence_counts: bool,
}

/// Reads these teams of an organisation, each with the last event about it. `look` is when the look began.
pub(super) async fn read(
    github: &github::Reader,
    state: &OrgState,
    teams: &BTreeMap<TeamId, Option<Time>>,
    look: Moment,
) -> Reading {
    let mut reading = Reading::default();
    let pages = state.size.teams / PAGE + 1;
    let mut by_id: Vec<TeamId> = teams.keys().copied().collect();
    if teams.len() > pages + 1 {
        match list(github, state).await {
            Ok((org, list)) => {
                // One that waited for the end of a rate limit may be older than what was heard since.
                let waited = list.began < look.monotonic;
                let began = began(&list, look, look);
                let stands = |facts: &&TeamFacts| {
                    teams
                        .get(&facts.id)
                        .is_some_and(|event| !waited || is_last(state, facts.id, *event, began))
                };
                let shown = list.items.iter().filter(stands);
                reading.seen.extend(shown.map(|facts| (facts.id, Seen::Present(facts.clone()))));
                by_id.retain(|id| !reading.seen.contains_key(id));
                if !waited {
                    let by_slug = list.items.into_iter().map(|facts| (facts.slug.clone(), facts));
                    reading.listing = Some(by_slug.collect());
                }
                reading.org = Some(org);
            }
            // Asking a hundred times more would not help.
            Err(trouble) if matches!(trouble.class, Class::Throttled | Class::Auth | Class::Transient) => {
                by_id.drain(..).for_each(|team| reading.note(team, trouble.clone()));
            }
            Err(_) => {}
        }
    }
    read_by_id(github, state, &mut reading, by_id).await;
    reading
}

/// Whether nothing was heard of a team since a list began.
fn is_last(state: &OrgState, team: TeamId, event: Option<Time>, began: Time) -> bool {
    let known = state.teams.get(&team).map(|known| match known.state {
        TeamState::Present => known.seen_at,
        TeamState::Suspected { since, second } => second.unwrap_or(since),
        TeamState::Gone { proven, .. } => proven,
    });
    known.into_iter().chain(event).all(|heard| heard < began)
}

/// Reads more teams into a reading, by their ids.
pub(super) async fn read_by_id(
    github: &github::Reader,
    state: &OrgState,
    reading: &mut Reading,
    teams: Vec<TeamId>,
) {
    let org = state.org.facts.id;
    let mut absent = Vec::new();
    let mut refused: Option<Trouble> = None;
    for few in teams.chunks(AT_A_TIME) {
        if let Some(trouble) = &refused {
            // A limit or a refused credential holds for all of them: asking on would only make it worse.
            few.iter().for_each(|team| reading.note(*team, trouble.clone()));
            continue;
        }
        for (team, answer) in
            join_all(few.iter().map(async |&team| (team, github.team(org, team).await))).await
        {
            match answer {
                Answer::Present(facts) => {
                    reading.seen.insert(team, Seen::Present(facts));
                }
                Answer::Absent => absent.push(team),
                Answer::Forbidden(trouble) | Answer::Failed(trouble) => {
                    if matches!(trouble.class, Class::Throttled | Class::Auth) {
                        refused = Some(trouble.clone());
                    }
                    reading.note(team, trouble);
                }
            }
        }
    }
    // What was never seen and is not there needs no proof.
    let (known, unknown): (Vec<_>, Vec<_>) =
        absent.into_iter().partition(|team| state.teams.contains_key(team));
    reading.seen.extend(unknown.into_iter().map(|team| (team, Seen::Absent)));
    let known = by_slug(github, state, reading, known).await;
    if known.is_empty() {
        return;
    }
    match reading.absence_counts(github, state).await {
        Ok(()) => reading.seen.extend(known.into_iter().map(|team| (team, Seen::Absent))),
        Err(trouble) => known.into_iter().for_each(|team| reading.note(team, trouble.clone())),
    }
}

/// Reads by their slugs the teams whose ids answer 404: what the slug shows is evidence against the id. The id of an
/// enterprise team always answers so. Returns the teams that their slugs do not show either.
async fn by_slug(
    github: &github::Reader,
    state: &OrgState,
    reading: &mut Reading,
    teams: Vec<TeamId>,
) -> Vec<TeamId> {
    let login = &state.org.facts.login;
    let mut absent = Vec::new();
    for few in teams.chunks(AT_A_TIME) {
        let read = few.iter().filter_map(|id| Some((*id, state.teams.get(id)?))).map(async |(id, team)| {
            (id, &team.facts.slug, github.team_by_slug(login, &team.facts.slug).await)
        });
        for (team, slug, answer) in join_all(read).await {
            match answer {
                Answer::Present(facts) if facts.id == team => {
                    reading.seen.insert(team, Seen::Present(facts));
                }
                Answer::Absent => {
                    reading.unheld.insert(slug.clone());
                    absent.push(team);
                }
                Answer::Present(_) => absent.push(team),
                Answer::Forbidden(trouble) | Answer::Failed(trouble) => reading.note(team, trouble),
            }
        }
    }
    absent
}

impl Reading {
    /// Notes that a team could not be read.
    pub(super) fn note(&mut self, team: TeamId, trouble: Trouble) {
        self.seen.insert(team, Seen::Unreadable(trouble.message.clone()));
        self.troubles.insert(team, trouble);
    }

    /// Reads the organisation where a connection of ours bears another login than it was last seen with: which of the
    /// two it has now decides what goes. While that cannot be known, nothing is decided about such teams.
    /// It is read too where another organisation has rows under its login.
    pub(super) async fn ask_which_login(
        &mut self,
        github: &github::Reader,
        state: &OrgState,
        contested: bool,
    ) {
        let login = &state.org.facts.login;
        let elsewhere: BTreeSet<TeamId> =
            state.owned.iter().filter(|owned| !owned.key.is_of(login)).map(|owned| owned.team).collect();
        if self.org.is_some() || (elsewhere.is_empty() && !contested) {
            return;
        }
        match org(github, state).await {
            Ok(org) => self.org = Some(org),
            Err(trouble) => {
                let read: Vec<_> =
                    elsewhere.into_iter().filter(|team| self.seen.contains_key(team)).collect();
                read.into_iter().for_each(|team| self.note(team, trouble.clone()));
            }
        }
    }

    /// Whether a 404 of a team says anything: the organisation itself and the list of its teams must answer.
    pub(super) async fn absence_counts(
        &mut self,
        github: &github::Reader,
        state: &OrgState,
    ) -> Result<(), Trouble> {
        if self.absence_counts || self.listing.is_some() {
            return Ok(());
        }
        let org = match self.org.clone() {
            Some(org) => org,
            None => org(github, state).await?,
        };
        answer(github.teams_answer(&org.login).await, || {
            format!("the list of the teams of {} answers 404", org.login)
        })?;
        self.org = Some(org);
        self.absence_counts = true;
        Ok(())
    }
}

/// The value of an answer, or why there is none. An organisation that is absent may be hidden from this
/// credential: a matter of access, which is probed until it heals.
pub(super) fn answer<T>(answer: Answer<T>, absent: impl FnOnce() -> String) -> Result<T, Trouble> {
    match answer {
        Answer::Present(value) => Ok(value),
        Answer::Absent => Err(Trouble::new(Class::Auth, absent())),
        Answer::Forbidden(trouble) | Answer::Failed(trouble) => Err(trouble),
    }
}

/// The type of team that lists are asked for: an enterprise team matters only where a connection of ours is for one. A
/// list of one type says nothing about the other.
pub(super) fn listed_type(state: &OrgState) -> Option<TeamType> {
    (!state.has_enterprise_teams).then_some(TeamType::Organization)
}

/// The organisation, by its id.
async fn org(github: &github::Reader, state: &OrgState) -> Result<OrgFacts, Trouble> {
    let OrgFacts { id, login } = &state.org.facts;
    answer(github.org(*id).await, || {
        format!("org {id} ({login}) answers 404 by its id: deleted, or no longer visible to this credential")
    })
}

/// A moment by the ledger's clock and by the monotonic one.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) time: Time,
    pub(super) monotonic: Duration,
}

impl Moment {
    pub(super) fn now(clock: &Clock) -> Self {
        Self { time: clock.now(), monotonic: clock.monotonic() }
    }
}

/// Returns when a list was begun, by the ledger's clock. One that was begun before it was `asked` for waited for the end
/// of a rate limit: its time is counted back from the beginning of the look, by whose clock are the times of the ledger.
pub(super) fn began<T>(list: &List<T>, asked: Moment, look: Moment) -> Time {
    if list.began >= asked.monotonic {
        return asked.time;
    }
    look.time - look.monotonic.saturating_sub(list.began)
}

/// The organisation and the whole list of its teams.
pub(super) async fn list(
    github: &github::Reader,
    state: &OrgState,
) -> Result<(OrgFacts, List<TeamFacts>), Trouble> {
    let org = org(github, state).await?;
    let list = answer(github.list_teams(&org, listed_type(state)).await, || {
        format!("the list of the teams of {} answers 404", org.login)
    })?;
    Ok((org, list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_waited_for_a_rate_limit_began_before_it_was_asked_for() {
        let moment = |seconds: u64, ahead: i64| {
            let monotonic = Duration::from_secs(seconds);
            Moment { time: Time(ahead) + monotonic, monotonic }
        };
        let list = |began| List::<TeamFacts> {
            items: Vec::new(),
            began: Duration::from_secs(began),
            wrong_total: None,
        };
        // The clock was set forward between the beginning of the look and the list.
        let (look, asked) = (moment(100, 0), moment(110, 86_400_000_000));
        assert_eq!(began(&list(110), asked, look), asked.time);
        assert_eq!(began(&list(105), asked, look), look.time);
        assert_eq!(began(&list(40), asked, look), Time(40_000_000));
    }
}
