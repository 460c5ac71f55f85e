//! Datadog's teams by handle, remembered for `datadog.teams_ttl`.
//!
//! A whole list costs a request per hundred teams. When it has grown old and only a few handles are asked for,
//! those are searched for one by one instead; only a whole list can say that a handle does not exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all, stream};
use tokio::sync::Mutex;

use crate::{
    clock::Clock,
    datadog,
    model::{Answer, Class, ConnectionKey, DatadogTeam, DatadogTeamId, Lane, Trouble},
    plan::DatadogTeams,
    transport::List,
};

/// Up to this many handles are searched for one by one when there is no fresh list.
const SEARCH_AT_MOST: usize = 3;

/// Teams that a list lacks are read by their ids, so many at once.
const AT_ONCE: usize = 16;

/// Those who wait for a handle are told so often that it has appeared: a look that began with an older list may store
/// only after the first time that its team waits.
const TOLD: u8 = 2;

/// The remembered list. Cheap to clone; clones share it.
#[derive(Clone)]
pub(super) struct Directory {
    reader: datadog::Reader,
    ttl: Duration,
    clock: Clock,
    state: Arc<Mutex<Remembered>>,
    /// Teams whose ids answered 404, and when: a read that fails takes nothing of it back.
    proofs: Arc<Mutex<BTreeMap<DatadogTeamId, Duration>>>,
}

/// What became of Datadog teams that a list lacks.
#[derive(Debug, Default)]
pub(super) struct Fates {
    /// Their ids answer 404.
    pub(super) gone: BTreeSet<DatadogTeamId>,
    /// Their ids could not be read: nothing can be decided about them.
    pub(super) undecided: BTreeMap<DatadogTeamId, Trouble>,
}

#[derive(Default)]
struct Remembered {
    teams: Arc<DatadogTeams>,
    /// How often those who wait for one of them were told of it.
    told: BTreeMap<String, u8>,
    /// Until when the list is good.
    good_until: Option<Duration>,
    /// The list says that there are more teams, or fewer: whoever creates one makes sure that it is not there.
    wrong_total: bool,
    /// Why it cannot be told of a team that the list lacks whether it is gone: the list may have been cut.
    undecided: Option<Trouble>,
}

impl Directory {
    pub(super) fn new(reader: datadog::Reader, ttl: Duration, clock: Clock) -> Self {
        Self { reader, ttl, clock, state: Arc::default(), proofs: Arc::default() }
    }

    /// The same list, read for a full pass, which leaves a reserve of the rate limits to events.
    pub(super) fn unhurried(&self) -> Self {
        Self { reader: self.reader.unhurried(), ..self.clone() }
    }

    /// The same list; what is searched for stays read for the looks of this lane.
    pub(super) fn looking(&self, lane: Lane) -> Self {
        Self { reader: self.reader.looking(lane), ..self.clone() }
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
        // Each is read as far as it can be, so that what was read stays read.
        let found = join_all(handles.iter().map(|handle| self.reader.teams_matching(handle))).await;
        let found: Vec<Vec<DatadogTeam>> = found.into_iter().collect::<Result<_, _>>()?;
        Ok(Arc::new(DatadogTeams::new(found.into_iter().flatten(), false)))
    }

    /// The whole list, however old the remembered one is when `fresh` is asked for.
    pub(super) async fn whole(&self, fresh: bool) -> Result<Arc<DatadogTeams>, Trouble> {
        let mut state = self.state.lock().await;
        if !fresh && self.fresh(&state) {
            return Ok(state.teams.clone());
        }
        if fresh {
            self.reader.begin_again();
        }
        self.list(&mut state).await
    }

    /// Makes sure that there is no Datadog team with a handle that the whole list lacks. A list whose total is wrong may
    /// have been cut: then a search must not show it either, nor anything that may have been cut. One that lacks a team
    /// whose id cannot be read may have been cut anywhere.
    pub(super) async fn lacks(&self, handle: &str) -> Result<(), Trouble> {
        let (wrong_total, undecided) = {
            let state = self.state.lock().await;
            (state.wrong_total, state.undecided.clone())
        };
        if let Some(trouble) = undecided {
            return Err(trouble);
        }
        if !wrong_total {
            return Ok(());
        }
        let found = self.reader.search_teams(handle).await?;
        if found.items.iter().any(|team| team.handle.eq_ignore_ascii_case(handle)) {
            self.distrust().await;
            return Err(cut(&format!("`{handle}`, which a search shows")));
        }
        if found.wrong_total.is_some() && !found.items.is_empty() {
            return Err(cut(&format!("`{handle}`, of which a search may not show all")));
        }
        Ok(())
    }

    /// Reads the list again when it has grown old. Returns the handles, lower-cased, that nobody who waits for one was
    /// told of; a list read in between for another purpose may have brought them.
    pub(super) async fn appeared(&self) -> Result<BTreeSet<String>, Trouble> {
        let mut state = self.state.lock().await;
        if !self.fresh(&state) {
            self.list(&mut state).await?;
        }
        let Remembered { teams, told, .. } = &mut *state;
        told.retain(|handle, _| teams.find(handle).is_some());
        let known = |handle: &str| told.get(handle).is_some_and(|times| *times >= TOLD);
        let handles = teams.handles().map(|(handle, _)| handle);
        Ok(handles.filter(|handle| !known(handle)).map(str::to_owned).collect())
    }

    /// Whoever waits for one of these handles was told of it.
    pub(super) async fn tell(&self, handles: BTreeSet<String>) {
        let mut state = self.state.lock().await;
        for handle in handles {
            *state.told.entry(handle).or_default() += 1;
        }
    }

    /// Forgets the list, because something that it says proved wrong.
    pub(super) async fn distrust(&self) {
        self.reader.begin_again();
        self.state.lock().await.good_until = None;
    }

    fn fresh(&self, state: &Remembered) -> bool {
        state.good_until.is_some_and(|until| until > self.clock.monotonic())
    }

    /// What became of the Datadog teams of rows of ours that a whole list lacks: those that are gone took their
    /// connections with them.
    ///
    /// # Errors
    /// When a team that the list lacks shows itself by a connection, which would have vanished with it, or by its id:
    /// the list was cut, and what its handles resolve to cannot be told from it.
    pub(super) async fn fates(
        &self,
        listed: &DatadogTeams,
        connections: &[&ConnectionKey],
        rows: &[&ConnectionKey],
    ) -> Result<Fates, Trouble> {
        if !listed.complete() {
            return Ok(Fates::default());
        }
        let lacking = |key: &&ConnectionKey| !listed.has(&key.datadog_team);
        let missing = rows.iter().copied().filter(lacking).map(|key| key.datadog_team.clone()).collect();
        let fates = match connections.iter().copied().find(lacking) {
            Some(key) => Err(cut(&format!("{}, which has a connection", key.datadog_team))),
            None => self.decide(missing).await,
        };
        if fates.is_err() {
            self.distrust().await;
        }
        fates
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

    /// Reads these teams, which a list lacks, by their ids.
    ///
    /// # Errors
    /// When one of them is there.
    async fn decide(&self, mut missing: BTreeSet<DatadogTeamId>) -> Result<Fates, Trouble> {
        let mut fates = Fates::default();
        let now = self.clock.monotonic();
        {
            let mut proofs = self.proofs.lock().await;
            proofs.retain(|_, at| *at + self.ttl > now);
            missing.retain(|id| !proofs.contains_key(id) || !fates.gone.insert(id.clone()));
        }
        let read = |id: DatadogTeamId| async move {
            let answer = self.reader.team(&id).await;
            (id, answer)
        };
        let mut answers = stream::iter(missing).map(read).buffer_unordered(AT_ONCE);
        while let Some((id, answer)) = answers.next().await {
            match answer {
                Answer::Absent => {
                    self.proofs.lock().await.insert(id.clone(), now);
                    fates.gone.insert(id);
                }
                Answer::Present(_) => return Err(cut(&format!("{id}, which its id shows"))),
                Answer::Forbidden(trouble) | Answer::Failed(trouble) => {
                    fates.undecided.insert(id, trouble);
                }
            }
        }
        Ok(fates)
    }

    /// Reads the list anew. What an earlier one showed must be in it, or be gone; what cannot be read stays as it was.
    async fn list(&self, state: &mut Remembered) -> Result<Arc<DatadogTeams>, Trouble> {
        state.good_until = None;
        let List { items, began, wrong_total } = self.reader.list_teams().await?;
        let mut teams: BTreeMap<String, DatadogTeam> =
            items.into_iter().map(|team| (team.handle.to_lowercase(), team)).collect();
        let ids: BTreeSet<&DatadogTeamId> = teams.values().map(|team| &team.id).collect();
        let known = state.teams.handles().filter(|(_, id)| !ids.contains(id));
        let known: BTreeMap<DatadogTeamId, String> =
            known.map(|(handle, id)| (id.clone(), handle.to_owned())).collect();
        let fates = self.decide(known.keys().cloned().collect()).await?;
        state.undecided = fates.undecided.values().next().cloned();
        for id in fates.undecided.into_keys() {
            let handle = known.get(&id).cloned().unwrap_or_default();
            teams.entry(handle.clone()).or_insert(DatadogTeam { id, name: handle.clone(), handle });
        }
        state.teams = Arc::new(DatadogTeams::new(teams.into_values(), true));
        state.wrong_total = wrong_total.is_some();
        // A list that took longer than a rate limit's window must outlive the next one.
        let now = self.clock.monotonic();
        state.good_until = Some(now + self.ttl.max(2 * now.saturating_sub(began)));
        Ok(state.teams.clone())
    }
}

/// The trouble with a list that lacks what is there.
fn cut(lacks: &str) -> Trouble {
    Trouble::new(Class::Invalid, format!("the list of Datadog's teams lacks {lacks}"))
}
