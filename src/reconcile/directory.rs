//! Datadog's teams by handle, remembered for `datadog.teams_ttl`.
//!
//! A whole list costs a request per hundred teams. When it has grown old and only a few handles are asked for,
//! those are searched for one by one instead; only a whole list can say that a handle does not exist.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::future::try_join_all;
use tokio::sync::Mutex;

use crate::{
    clock::Clock,
    datadog,
    model::{Answer, Class, Connection, ConnectionKey, DatadogTeam, DatadogTeamId, Owned, Trouble},
    plan::{Actual, DatadogTeams},
};

/// Up to this many handles are searched for one by one when there is no fresh list.
const SEARCH_AT_MOST: usize = 3;

/// The remembered list. Cheap to clone; clones share it.
#[derive(Clone)]
pub(super) struct Directory {
    reader: datadog::Reader,
    ttl: Duration,
    clock: Clock,
    state: Arc<Mutex<Remembered>>,
}

#[derive(Default)]
struct Remembered {
    teams: Arc<DatadogTeams>,
    handles: BTreeSet<String>,
    /// The handles as of the last refresh, which is when those who wait for one hear of it.
    told: BTreeSet<String>,
    /// The teams that a list ever showed.
    ever: BTreeSet<DatadogTeamId>,
    listed_at: Option<Duration>,
}

impl Directory {
    pub(super) fn new(reader: datadog::Reader, ttl: Duration, clock: Clock) -> Self {
        Self { reader, ttl, clock, state: Arc::default() }
    }

    /// Datadog's teams, good for deciding about these handles; with `missing`, also about those that do not exist.
    pub(super) async fn covering(
        &self,
        handles: &BTreeSet<String>,
        missing: bool,
    ) -> Result<Arc<DatadogTeams>, Trouble> {
        let mut state = self.state.lock().await;
        if self.fresh(&state) {
            return Ok(state.teams.clone());
        }
        if handles.len() > SEARCH_AT_MOST {
            return self.list(&mut state).await;
        }
        let found = try_join_all(handles.iter().map(|handle| self.reader.teams_matching(handle))).await?;
        let found = DatadogTeams::new(found.into_iter().flatten(), false);
        if missing && handles.iter().any(|handle| found.find(handle).is_none()) {
            return self.list(&mut state).await;
        }
        Ok(Arc::new(found))
    }

    /// The whole list, however old the remembered one is when `fresh` is asked for.
    pub(super) async fn whole(&self, fresh: bool) -> Result<Arc<DatadogTeams>, Trouble> {
        let mut state = self.state.lock().await;
        if !fresh && self.fresh(&state) {
            return Ok(state.teams.clone());
        }
        self.list(&mut state).await
    }

    /// Reads the list again when it has grown old. Says whether there are handles that were not there at the last
    /// refresh; a list read in between for another purpose may have brought them.
    pub(super) async fn refresh(&self) -> Result<bool, Trouble> {
        let mut state = self.state.lock().await;
        if !self.fresh(&state) {
            self.list(&mut state).await?;
        }
        let appeared = !state.handles.is_subset(&state.told);
        state.told = state.handles.clone();
        Ok(appeared)
    }

    /// Forgets the list, because something that it says proved wrong.
    pub(super) async fn distrust(&self) {
        self.state.lock().await.listed_at = None;
    }

    fn fresh(&self, state: &Remembered) -> bool {
        state.listed_at.is_some_and(|at| at + self.ttl > self.clock.monotonic())
    }

    /// Teams that an earlier list showed and this one does not: gone since, or this list was cut.
    pub(super) async fn vanished(&self, now: &DatadogTeams) -> Vec<DatadogTeamId> {
        let state = self.state.lock().await;
        state.ever.iter().filter(|id| !now.has(id)).cloned().collect()
    }

    /// These teams are gone for certain.
    pub(super) async fn gone(&self, teams: &[DatadogTeamId]) {
        let mut state = self.state.lock().await;
        state.ever.retain(|team| !teams.contains(team));
    }

    /// Connections vanish with their Datadog team: a list without the team of a living one of ours was cut, and what
    /// its handles resolve to cannot be told from it.
    pub(super) async fn lacks_none(
        &self,
        listed: &DatadogTeams,
        owned: &HashMap<ConnectionKey, Owned>,
        connections: &HashMap<ConnectionKey, Connection>,
    ) -> Result<(), Trouble> {
        let cut = |key: &&ConnectionKey| connections.contains_key(key) && !listed.has(&key.datadog_team);
        let Some(key) = owned.keys().find(cut).filter(|_| listed.complete()) else { return Ok(()) };
        self.distrust().await;
        let why = format!("the list of Datadog's teams lacks {}, which has a connection", key.datadog_team);
        Err(Trouble::new(Class::Invalid, why))
    }

    /// The Datadog teams of these rows that are gone, and their connections with them, by a list that lacks them and by
    /// their ids. A list that lacks a team which its id shows was cut: then nothing more is asked.
    pub(super) async fn gone_of(
        &self,
        listed: &DatadogTeams,
        actual: &Actual,
        concerns: impl Fn(&Owned) -> bool,
    ) -> BTreeSet<DatadogTeamId> {
        let lacks = |owned: &&Owned| {
            let team = &owned.key.datadog_team;
            concerns(owned) && !actual.connections.contains_key(&owned.key) && !listed.has(team)
        };
        let missing = actual.owned.values().filter(lacks).map(|owned| &owned.key.datadog_team);
        let mut gone = BTreeSet::new();
        for team in missing.filter(|_| listed.complete()).collect::<BTreeSet<_>>() {
            match self.reader.team(team).await {
                Answer::Absent => drop(gone.insert(team.clone())),
                Answer::Present(_) | Answer::Forbidden(_) | Answer::Failed(_) => break,
            }
        }
        gone
    }

    async fn list(&self, state: &mut Remembered) -> Result<Arc<DatadogTeams>, Trouble> {
        let teams: BTreeMap<String, DatadogTeam> =
            self.reader.teams().await?.into_iter().map(|team| (team.handle.to_lowercase(), team)).collect();
        state.handles = teams.keys().cloned().collect();
        state.ever.extend(teams.values().map(|team| team.id.clone()));
        state.teams = Arc::new(DatadogTeams::new(teams.into_values(), true));
        state.listed_at = Some(self.clock.monotonic());
        Ok(state.teams.clone())
    }
}
