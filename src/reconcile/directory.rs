//! Datadog's teams by handle, remembered for `datadog.teams_ttl`.
//!
//! A whole list costs a request per hundred teams. When it has grown old and only a few handles are asked for,
//! those are searched for one by one instead; only a whole list can say that a handle does not exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::try_join_all;
use tokio::sync::Mutex;

use crate::{
    clock::Clock,
    datadog,
    model::{Answer, Class, ConnectionKey, DatadogTeam, DatadogTeamId, Trouble},
    plan::DatadogTeams,
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
    listed_at: Option<Duration>,
}

impl Directory {
    pub(super) fn new(reader: datadog::Reader, ttl: Duration, clock: Clock) -> Self {
        Self { reader, ttl, clock, state: Arc::default() }
    }

    /// The same list, read for a full pass, which leaves a reserve of the rate limits to events.
    pub(super) fn unhurried(&self) -> Self {
        Self { reader: self.reader.unhurried(), ..self.clone() }
    }

    /// Datadog's teams, good for deciding about these handles; with `missing`, also about those that do not exist.
    pub(super) async fn covering(
        &self,
        handles: &BTreeSet<String>,
        missing: bool,
    ) -> Result<Arc<DatadogTeams>, Trouble> {
        let few = handles.len() <= SEARCH_AT_MOST;
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            // A list of all teams may be read for a pass, and take long: an event doesn't wait for its end.
            Err(_) if few && !missing => return self.search(handles).await,
            Err(_) => self.state.lock().await,
        };
        if self.fresh(&state) {
            return Ok(state.teams.clone());
        }
        if !few {
            return self.list(&mut state).await;
        }
        let found = self.search(handles).await?;
        if missing && handles.iter().any(|handle| found.find(handle).is_none()) {
            return self.list(&mut state).await;
        }
        Ok(found)
    }

    /// The teams that have these handles, and others that a search for them finds.
    async fn search(&self, handles: &BTreeSet<String>) -> Result<Arc<DatadogTeams>, Trouble> {
        let found = try_join_all(handles.iter().map(|handle| self.reader.teams_matching(handle))).await?;
        Ok(Arc::new(DatadogTeams::new(found.into_iter().flatten(), false)))
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

    /// The Datadog teams of rows of ours that are gone, and their connections with them: a whole list lacks them, and
    /// their ids answer 404.
    ///
    /// # Errors
    /// When a team that the list lacks shows itself by a connection, which would have vanished with it, or by its id:
    /// the list was cut, and what its handles resolve to cannot be told from it.
    pub(super) async fn gone(
        &self,
        listed: &DatadogTeams,
        connections: &[&ConnectionKey],
        rows: &[&ConnectionKey],
    ) -> Result<BTreeSet<DatadogTeamId>, Trouble> {
        if !listed.complete() {
            return Ok(BTreeSet::new());
        }
        let lacking = |key: &&ConnectionKey| !listed.has(&key.datadog_team);
        let missing = rows.iter().copied().filter(lacking).map(|key| key.datadog_team.clone()).collect();
        let verdict = match connections.iter().copied().find(lacking) {
            Some(key) => Err(cut(&format!("{}, which has a connection", key.datadog_team))),
            None => self.are_gone(&missing).await,
        };
        if verdict.is_err() {
            self.distrust().await;
        }
        verdict.map(|()| missing)
    }

    /// These handles were searched for and not found. A team of these rows that has one of them by its id was missed.
    pub(super) async fn not_found(&self, handles: &[String], rows: &[&ConnectionKey]) -> Result<(), Trouble> {
        for key in rows {
            match self.reader.team(&key.datadog_team).await {
                Answer::Present(team) if handles.contains(&team.handle.to_lowercase()) => {
                    return Err(cut(&format!("`{}`, which its id shows", team.handle)));
                }
                Answer::Present(_) | Answer::Absent => {}
                Answer::Forbidden(trouble) | Answer::Failed(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    /// That each of these teams, which a list lacks, answers 404 by its id too.
    async fn are_gone(&self, teams: &BTreeSet<DatadogTeamId>) -> Result<(), Trouble> {
        for team in teams {
            match self.reader.team(team).await {
                Answer::Absent => {}
                Answer::Present(_) => return Err(cut(&format!("{team}, which its id shows"))),
                Answer::Forbidden(trouble) | Answer::Failed(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    /// Reads the list anew. What an earlier one showed must be in it, or be gone.
    async fn list(&self, state: &mut Remembered) -> Result<Arc<DatadogTeams>, Trouble> {
        state.listed_at = None;
        let teams: BTreeMap<String, DatadogTeam> =
            self.reader.teams().await?.into_iter().map(|team| (team.handle.to_lowercase(), team)).collect();
        let handles = teams.keys().cloned().collect();
        let listed = DatadogTeams::new(teams.into_values(), true);
        let known = state.teams.handles().map(|(_, id)| id);
        self.are_gone(&known.filter(|id| !listed.has(id)).cloned().collect()).await?;
        state.handles = handles;
        state.teams = Arc::new(listed);
        state.listed_at = Some(self.clock.monotonic());
        Ok(state.teams.clone())
    }
}

/// The trouble with a list that lacks what is there.
fn cut(lacks: &str) -> Trouble {
    Trouble::new(Class::Invalid, format!("the list of Datadog's teams lacks {lacks}"))
}
