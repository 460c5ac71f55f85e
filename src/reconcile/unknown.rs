//! Teams that events name and the mirror does not have. Who sends events can name any number of ids, and to read each costs
//! a request. The worker reads some of them by their ids; about the rest the organisation's list decides. Each process
//! counts for itself. Nothing is lost: what waits stays marked, and is read later again as every new team is.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    fold::Seen,
    observe::{self, Moment, Reading},
    pace,
    survey::Eyes,
};
use crate::{
    ledger::OrgState,
    model::{OrgId, TeamFacts, TeamId, Time},
};

const MINUTE: Duration = Duration::from_secs(60);

/// How soon those have their turn that leave this one to the teams of the mirror.
const NEXT_TURN: Duration = Duration::from_millis(100);

/// What was read of unknown teams, by organisation. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(super) struct Unknown(Arc<Mutex<HashMap<OrgId, Reads>>>);

/// Times are by the monotonic clock, unless they are compared with the ledger's.
#[derive(Default)]
struct Reads {
    /// When the minute began.
    minute: Duration,
    by_id: usize,
    list: Option<Listed>,
}

/// The last list.
#[derive(Clone)]
struct Listed {
    began: Moment,
    /// Its teams, while the marks that are due are worked off.
    teams: Option<Arc<HashMap<TeamId, TeamFacts>>>,
}

impl Unknown {
    /// Takes those out of `teams` that are not to be read by their ids: unknown ones of which an event came, beyond the
    /// number of the minute. Returns them with their events.
    fn beyond(
        &self,
        (org, most): (OrgId, usize),
        is_known: impl Fn(&TeamId) -> bool,
        teams: &mut BTreeMap<TeamId, Option<Time>>,
        look: Moment,
    ) -> BTreeMap<TeamId, Time> {
        let unknown = teams.iter().filter(|(id, _)| !is_known(id));
        let mut unknown: Vec<(TeamId, Time)> =
            unknown.filter_map(|(id, event)| Some((*id, (*event)?))).collect();
        if unknown.is_empty() {
            return BTreeMap::new();
        }
        unknown.sort_unstable_by_key(|(id, event)| (*event, *id));
        let mut reads = self.reads();
        let reads = reads.entry(org).or_default();
        if reads.minute + MINUTE <= look.monotonic {
            (reads.minute, reads.by_id) = (look.monotonic, 0);
        }
        let by_id = unknown.len().min(most.saturating_sub(reads.by_id));
        reads.by_id += by_id;
        let beyond: BTreeMap<TeamId, Time> = unknown.split_off(by_id).into_iter().collect();
        teams.retain(|id, _| !beyond.contains_key(id));
        beyond
    }

    /// Forgets what the last list showed, but not when it began: nothing waits for it any more.
    pub(super) fn forget_list(&self, org: OrgId) {
        if let Some(list) = self.reads().get_mut(&org).and_then(|reads| reads.list.as_mut()) {
            list.teams = None;
        }
    }

    fn last_list(&self, org: OrgId) -> Option<Listed> {
        self.reads().get(&org)?.list.clone()
    }

    fn reads(&self) -> MutexGuard<'_, HashMap<OrgId, Reads>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Eyes {
    /// Takes out of these teams of an organisation those that are not to be read by their ids, with their events.
    pub(super) fn unknown_beyond(
        &self,
        state: &OrgState,
        teams: &mut BTreeMap<TeamId, Option<Time>>,
        look: Moment,
    ) -> BTreeMap<TeamId, Time> {
        let (org, most) = (state.org.facts.id, self.options.unknown_by_id);
        self.unknown.beyond((org, most), |team| state.teams.contains_key(team), teams, look)
    }

    /// Reads these teams from the organisation's list, of which there is at most one for each `guard.grace`. Returns when
    /// those have their turn that it says nothing about. While this look has `others`, they don't wait for a new list.
    pub(super) async fn read_unknown(
        &self,
        state: &OrgState,
        reading: &mut Reading,
        unknown: BTreeMap<TeamId, Time>,
        others: bool,
        look: Moment,
    ) -> BTreeMap<TeamId, Time> {
        if unknown.is_empty() {
            return BTreeMap::new();
        }
        let (org, grace) = (state.org.facts.id, self.options.grace);
        let recent = |list: &Listed| {
            list.began.monotonic <= look.monotonic && look.monotonic < list.began.monotonic + grace
        };
        let list = match self.unknown.last_list(org).filter(recent) {
            Some(list) => list,
            None if others && unknown.values().all(|event| look.time.since(*event) < MINUTE) => {
                return unknown.into_keys().map(|team| (team, look.time + NEXT_TURN)).collect();
            }
            None => {
                let asked = Moment::now(&self.options.clock);
                let list = match observe::list(&self.github.unhurried(), state).await {
                    Ok((org, list)) => {
                        reading.org = Some(org);
                        list
                    }
                    Err(trouble) => {
                        unknown.into_keys().for_each(|team| reading.note(team, trouble.clone()));
                        return BTreeMap::new();
                    }
                };
                // One that waited for the end of a rate limit may be older than the events.
                let began = Moment { time: observe::began(&list, asked, look), monotonic: asked.monotonic };
                let teams = list.items.into_iter().map(|facts| (facts.id, facts)).collect();
                let list = Listed { began, teams: Some(Arc::new(teams)) };
                self.unknown.reads().entry(org).or_default().list = Some(list.clone());
                list
            }
        };
        let mut put_off = BTreeMap::new();
        for (team, event) in unknown {
            match &list.teams {
                Some(teams) if pace::lag_since(event, look.time) <= list.began.time => {
                    let seen = teams.get(&team).cloned().map_or(Seen::Absent, Seen::Present);
                    reading.seen.insert(team, seen);
                }
                _ => {
                    let left = (list.began.monotonic + grace).saturating_sub(look.monotonic);
                    put_off.insert(team, look.time + left.max(NEXT_TURN));
                }
            }
        }
        put_off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of teams 1 to 6, all with an event but the last, are taken out `seconds` after the start, if 1 is known.
    fn taken(unknown: &Unknown, org: i64, seconds: u64) -> Vec<i64> {
        let event = |team: i64| (team < 6).then(|| Time(100 - team));
        let mut teams: BTreeMap<TeamId, Option<Time>> =
            (1..=6).map(|team| (TeamId(team), event(team))).collect();
        let look = Moment { time: Time(200), monotonic: Duration::from_secs(seconds) };
        let beyond = unknown.beyond((OrgId(org), 3), |team| team.0 == 1, &mut teams, look);
        assert_eq!(teams.len() + beyond.len(), 6);
        assert!(beyond.keys().all(|team| !teams.contains_key(team)));
        beyond.into_keys().map(|team| team.0).collect()
    }

    #[test]
    fn the_first_of_a_minute_are_read_by_their_ids() {
        let unknown = Unknown::default();
        assert_eq!(taken(&unknown, 1, 100), [2], "the last event");
        assert_eq!(taken(&unknown, 1, 159), [2, 3, 4, 5]);
        assert_eq!(taken(&unknown, 2, 159), [2], "another organisation has a number of its own");
        assert_eq!(taken(&unknown, 1, 160), [2], "the next minute");
    }
}
