//! One look at due teams of a leased organisation: the only place from which anything is written for a team.

mod holders;
mod holds;
mod namesakes;
mod proof;
mod second_writer;
mod settlement;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{
    Options,
    apply::{self, Applied, Hands},
    fold::{Folded, Seen, fold},
    known::Known,
    lease::Lease,
    listed,
    observe::{self, Moment, Reading},
    survey::{Eyes, Foreseen, Standing},
};
use crate::{
    datadog,
    ledger::{Held, Intent, IntentKind, LeasedMark, Ledger, LedgerError, OrgRow, OrgState, Settlement},
    model::{
        Answer, Asks, Class, ConnectionKey, GithubHandle, HeldKey, Integration, Lane, MirrorTeam, Mode,
        OrgFacts, OrgId, Target, TeamFacts, TeamId, TeamState, Time, Trouble,
    },
    plan::{Action, Desired, Guarded, Mirror, Planned, StepKey},
    telemetry,
};

/// How often a look lets other teams join before it goes ahead without.
const JOINS: usize = 3;

/// Looks at `due` teams and brings them into step; with `only`, as far as these steps do.
pub(super) async fn look(
    eyes: &Eyes,
    ledger: &Ledger,
    writer: &datadog::Writer,
    (lease, org): (&Lease, OrgId),
    state: OrgState,
    due: &[LeasedMark],
    only: Option<&BTreeSet<StepKey>>,
) -> Result<(), LedgerError> {
    let clock = &eyes.options.clock;
    // No later than what the ledger has of any grace: a clock that is set meanwhile ends none.
    let started = state.read_at;
    let reading = eyes.looking(lease.lane);
    let mut look = Look::new((&reading, ledger), state, due, started);
    if only.is_none() {
        look.listed = listed::shown(&look.state, &look.due, started);
    }
    look.read().await?;
    if let Some(settlement) = look.unserved() {
        return ledger.settle(lease.lane, lease.fence, &settlement, clock.now()).await;
    }
    let Mirror { org: today, bound_login, .. } = &look.known.mirror;
    let mode = eyes.options.policy(&today.login, bound_login).mode;
    let asks = look.planned();
    let mut guarded = Guarded::default();
    // Teams with steps that were not asked for: they stay due.
    let mut left_out = Vec::new();
    if !asks.is_empty() {
        let teams = look.state.teams.keys().chain(look.folded.keys()).copied().collect();
        let standing = Standing::of_teams(ledger, org, &eyes.options, &teams).await?;
        let needs_no_slot = standing.approved.clone();
        look.known.weigh(standing);
        guarded = look.plan(asks).await?;
        left_out = only.map(|only| leave_out(&mut guarded, only)).unwrap_or_default();
        if mode != Mode::Observe {
            guarded =
                within_slots(eyes.options.as_ref(), ledger, lease.lane, guarded, &needs_no_slot, started)
                    .await?;
        }
    }
    let marks = due.iter().map(|mark| (mark.team, mark)).collect();
    let intents = look.state.intents.clone();
    let applied = if mode == Mode::Observe {
        telemetry::work::observed(org, &guarded);
        Applied::default()
    } else {
        let hands = Hands::new(eyes, ledger, writer, (lease, org), &marks, (&intents, started));
        apply::apply(hands, guarded.ready.clone()).await?
    };
    // Where a limit stopped it, the lane's next look goes on with what was read.
    let mut troubles = look.troubles.values().chain(applied.unfinished.values());
    if !troubles.any(|trouble| trouble.class == Class::Throttled) {
        eyes.datadog.looked(lease.lane);
    }
    look.read_concerned().await?;
    let removed = look.times_removed(&guarded);
    let held = look.known.held.iter().map(|held| (held.key.clone(), held.team)).collect();
    let mut settlement = look.settlement(due, &guarded, applied, mode == Mode::Observe);
    settlement.found.extend(left_out);
    if !(settlement.owned.is_empty() && settlement.disowned.is_empty()) && eyes.options.lists_linked_teams() {
        settlement.documents.push(Integration::Github);
    }
    ledger.settle(lease.lane, lease.fence, &settlement, clock.now()).await?;
    telemetry::work::settled(org, due, &settlement, clock.now());
    telemetry::work::removed_by_others(org, &removed);
    if holds::changes(&held, &settlement) {
        holds::tell(ledger, lease.lane, clock.now()).await?;
    }
    Ok(())
}

/// Takes slots for removals before anything is deleted, over all organisations. Those that get none are held.
async fn within_slots(
    options: &Options,
    ledger: &Ledger,
    lane: Lane,
    guarded: Guarded,
    needs_no_slot: &BTreeSet<HeldKey>,
    started: Time,
) -> sqlx::Result<Guarded> {
    let needed = guarded.slots_needed(needs_no_slot);
    let granted = ledger.take_slots(lane, &needed, options.max_per_window, options.window, started).await?;
    Ok(guarded.within(&needed, &granted))
}

/// Takes all other steps out of a plan. Returns the teams that had them.
fn leave_out(guarded: &mut Guarded, only: &BTreeSet<StepKey>) -> Vec<TeamId> {
    let (carried_out, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut guarded.ready.actions)
        .into_iter()
        .partition(|planned| only.contains(&planned.action.step()));
    guarded.ready.actions = carried_out;
    guarded.ready.keep_what_is_replaced(&rest);
    rest.into_iter().filter_map(|planned| planned.team).collect()
}

pub(super) struct Look<'a> {
    eyes: &'a Eyes,
    ledger: &'a Ledger,
    options: &'a Options,
    pub(super) known: Known,
    state: OrgState,
    /// The due teams, and what was asked for.
    due: BTreeMap<TeamId, Asks>,
    /// The last event about each of them.
    events: BTreeMap<TeamId, Time>,
    started: Time,
    /// The same by the monotonic clock.
    monotonic: Duration,
    /// When GitHub's answers were there.
    pub(super) answered: Time,
    reading: Reading,
    /// What each team that was read is now.
    pub(super) folded: BTreeMap<TeamId, Folded>,
    /// Teams about which nothing can be decided now.
    pub(super) troubles: BTreeMap<TeamId, Trouble>,
    /// Those of them that GitHub gave no answer about.
    unread: BTreeSet<TeamId>,
    /// Teams that were not read, and when their turn comes.
    put_off: BTreeMap<TeamId, Time>,
    /// Teams that were put beside Datadog.
    asked: BTreeSet<TeamId>,
    /// Teams that the pass which asked for this look has listed: they are not read again.
    listed: BTreeSet<TeamId>,
    /// Teams that wait for a handle, and those whose slug is claimed twice.
    waiting: BTreeSet<TeamId>,
    pub(super) conflicts: BTreeSet<TeamId>,
    login_changed: bool,
    /// Every organisation that the ledger knows.
    orgs: Vec<OrgRow>,
    /// Who has the logins that connections of ours bear and the organisation does not have any more.
    logins: BTreeMap<String, Answer<OrgFacts>>,
    /// The teams by slug of organisations that have such a login; and of this one, where a proof or a doubt needed them.
    listed_teams: BTreeMap<OrgId, HashMap<String, TeamFacts>>,
    /// Targets of other organisations that need a look.
    found_elsewhere: BTreeSet<Target>,
    /// Answered creates that were read by their ids and not found.
    missed: Vec<ConnectionKey>,
    /// Teams that get a connection which they don't want.
    unwilling_heirs: Vec<TeamId>,
    /// When a complete list for a proof began.
    listed_at: Option<Time>,
    /// Teams of other looks about which that list decides.
    decided: Vec<MirrorTeam>,
    /// Teams that this look did not read and that need one because of what it found.
    concerned: Vec<TeamId>,
}

impl<'a> Look<'a> {
    pub(super) fn new(
        (eyes, ledger): (&'a Eyes, &'a Ledger),
        state: OrgState,
        due: &[LeasedMark],
        started: Time,
    ) -> Self {
        Self {
            eyes,
            ledger,
            options: &eyes.options,
            known: Known::new(&state, &eyes.options, started),
            due: due.iter().filter_map(|mark| Some((mark.team?, mark.asks))).collect(),
            events: due.iter().filter_map(|mark| Some((mark.team?, mark.event_at?))).collect(),
            state,
            started,
            monotonic: eyes.options.clock.monotonic(),
            answered: started,
            reading: Reading::default(),
            folded: BTreeMap::new(),
            troubles: BTreeMap::new(),
            unread: BTreeSet::new(),
            put_off: BTreeMap::new(),
            asked: BTreeSet::new(),
            listed: BTreeSet::new(),
            waiting: BTreeSet::new(),
            conflicts: BTreeSet::new(),
            login_changed: false,
            orgs: Vec::new(),
            logins: BTreeMap::new(),
            listed_teams: BTreeMap::new(),
            found_elsewhere: BTreeSet::new(),
            missed: Vec::new(),
            unwilling_heirs: Vec::new(),
            listed_at: None,
            decided: Vec::new(),
            concerned: Vec::new(),
        }
    }

    /// What is stored where the organisation has a login by now that is not served: what asked for this look waits until
    /// it is.
    fn unserved(&mut self) -> Option<Settlement> {
        let Mirror { org, bound_login, .. } = &self.known.mirror;
        let served = self.options.serves_as(org, bound_login);
        (!served).then(|| Settlement { org: self.reading.org.take(), ..Settlement::default() })
    }

    /// Reads the due teams, and those whose slug one of them has now; and what other organisations have of their keys.
    pub(super) async fn read(&mut self) -> sqlx::Result<()> {
        let ledger = self.ledger;
        self.orgs = ledger.orgs().await?;
        self.known.read_elsewhere(ledger).await?;
        let (listed, teams): (Vec<_>, Vec<_>) =
            self.due.keys().copied().partition(|team| self.listed.contains(team));
        let mut teams = teams.into_iter().map(|team| (team, self.events.get(&team).copied())).collect();
        let look = Moment { time: self.started, monotonic: self.monotonic };
        let unknown = self.eyes.unknown_beyond(&self.state, &mut teams, look);
        self.reading = observe::read(&self.eyes.github, &self.state, &teams, look).await;
        self.put_off =
            self.eyes.read_unknown(&self.state, &mut self.reading, unknown, !teams.is_empty(), look).await;
        let listed = listed.into_iter().filter_map(|id| Some((id, self.state.teams.get(&id)?)));
        self.reading.seen.extend(listed.map(|(id, team)| (id, Seen::Present(team.facts.clone()))));
        for _ in 0..JOINS {
            self.take_in_slugs().await?;
            let rivals = self.rivals();
            if rivals.is_empty() {
                break;
            }
            observe::read_by_id(&self.eyes.github, &self.state, &mut self.reading, rivals).await;
        }
        let contested = self.known.is_contested();
        self.reading.ask_which_login(&self.eyes.github, &self.state, contested).await;
        match &self.reading.org {
            Some(org) => {
                self.login_changed = org.login != self.known.mirror.org.login;
                self.known.mirror.org = org.clone();
                if self.login_changed {
                    self.known.read_elsewhere(ledger).await?;
                }
            }
            None => self.known.forget_elsewhere(),
        }
        self.answered = self.options.clock.now();
        let mut seen = std::mem::take(&mut self.reading.seen);
        self.troubles = std::mem::take(&mut self.reading.troubles);
        let sees_all = self.sees_all(&mut seen).await;
        for (team, seen) in seen {
            self.fold(team, seen, sees_all);
        }
        self.complete_proofs().await?;
        self.unread = self.troubles.keys().copied().collect();
        self.take_in_names().await
    }

    /// Teams that were not read, but have in the mirror a slug that was read of another.
    fn rivals(&self) -> Vec<TeamId> {
        let slugs: BTreeSet<&str> = self
            .reading
            .seen
            .values()
            .filter_map(|seen| match seen {
                Seen::Present(facts) => Some(facts.slug.as_str()),
                Seen::Absent | Seen::Unreadable(_) => None,
            })
            .collect();
        let rival = |(id, team): (&TeamId, &MirrorTeam)| {
            let alive = !matches!(team.state, TeamState::Gone { .. });
            (alive && !self.reading.seen.contains_key(id) && slugs.contains(team.facts.slug.as_str()))
                .then_some(*id)
        };
        self.state.teams.iter().filter_map(rival).collect()
    }

    /// Takes in the teams that have in the mirror the slugs that were read, and the rows under these names.
    async fn take_in_slugs(&mut self) -> sqlx::Result<()> {
        let login = &self.known.mirror.org.login;
        let handle = |seen: &Seen| match seen {
            Seen::Present(facts) => Some(GithubHandle::new(login, &facts.slug).key()),
            Seen::Absent | Seen::Unreadable(_) => None,
        };
        let handles = self.reading.seen.values().filter_map(handle).collect();
        self.ledger.take_in_handles(&mut self.state, &handles).await?;
        self.known.take_in(&self.state);
        Ok(())
    }

    /// Takes in who has, or had, the names of the teams of this look: those that they have today, those that they had
    /// before, and those in the keys of their rows.
    async fn take_in_names(&mut self) -> sqlx::Result<()> {
        if self.state.whole {
            return Ok(());
        }
        let rows = self.state.owned.iter().filter(|owned| self.folded.contains_key(&owned.team));
        let rows = rows.map(|owned| owned.key.github.clone());
        let handles = self.names().into_iter().chain(rows).collect();
        self.ledger.take_in_handles(&mut self.state, &handles).await?;
        self.known.take_in(&self.state);
        self.known.read_claims(self.ledger).await
    }

    /// Reads which teams that this look did not read need one: those below a team that proved to be gone, those whose
    /// connections have a name that is decided here, and all of them if the organisation has another login.
    pub(super) async fn read_concerned(&mut self) -> sqlx::Result<()> {
        let is_gone = |folded: &Folded| {
            folded.team.as_ref().filter(|_| folded.changed).is_some_and(MirrorTeam::is_gone)
        };
        let mut gone: Vec<TeamId> =
            self.folded.iter().filter(|(_, folded)| is_gone(folded)).map(|(id, _)| *id).collect();
        gone.extend(self.decided.iter().filter(|team| team.is_gone()).map(|team| team.facts.id));
        let teams = &self.known.mirror.teams;
        let org = self.state.org.facts.id;
        let mut concerned = self.ledger.teams_below(org, &gone).await?;
        // What was read in this look may tell otherwise.
        concerned.retain(|id| !self.folded.contains_key(id));
        let is_below = |team: &MirrorTeam| {
            team.facts.parent.is_some_and(|parent| gone.contains(&parent)) && !team.is_gone()
        };
        concerned.extend(teams.values().filter(|team| is_below(team)).map(|team| team.facts.id));
        concerned.extend(self.namesakes());
        if self.login_changed {
            // A team that is gone may own a connection under the former login: who has that login now decides about it.
            let present = self.ledger.present_teams(org).await?.into_iter();
            let named = present.chain(self.ledger.owners(org).await?);
            concerned.extend(named.filter(|id| !self.asked.contains(id)));
        }
        self.concerned = concerned;
        Ok(())
    }

    /// Whether the credential sees every team. Asked only when a second look at an absent team depends on it;
    /// where that fails, so does the look at those teams.
    async fn sees_all(&mut self, seen: &mut BTreeMap<TeamId, Seen>) -> bool {
        let depends = |(id, seen): (&TeamId, &Seen)| {
            let known = self.state.teams.get(id).filter(|_| *seen == Seen::Absent)?;
            let proves =
                known.deleted_event_at.is_none() && matches!(known.state, TeamState::Suspected { .. });
            proves.then_some(*id)
        };
        let depend: Vec<TeamId> = seen.iter().filter_map(depends).collect();
        if depend.is_empty() {
            // Without a second look to decide, the answer only schedules that look.
            return true;
        }
        match self.eyes.sees_all_teams(&self.known.mirror.org.login).await {
            Ok(sees_all) => sees_all,
            Err(trouble) => {
                for team in depend {
                    seen.insert(team, Seen::Unreadable(trouble.message.clone()));
                    self.troubles.insert(team, trouble.clone());
                }
                false
            }
        }
    }

    fn fold(&mut self, team: TeamId, seen: Seen, sees_all: bool) {
        let known = self.state.teams.get(&team);
        let mut folded = fold(known, seen, sees_all, self.options.grace, (self.started, self.answered));
        if let (true, Some(known), Some(team)) = (self.listed.contains(&team), known, &mut folded.team) {
            // It was not seen now.
            team.seen_at = known.seen_at;
        }
        if let Some(team) = &folded.team {
            self.known.mirror.teams.insert(team.facts.id, team.clone());
        }
        if let Some(error) = &folded.trouble {
            self.troubles.entry(team).or_insert_with(|| Trouble::new(Class::Transient, error.clone()));
        }
        self.folded.insert(team, folded);
    }

    /// The teams to plan for: of those that are paused, only the ones with a begun adoption. The mirror stays true of all.
    fn planned(&self) -> BTreeSet<TeamId> {
        let adopts = |intent: &&Intent| intent.kind == IntentKind::Adopt;
        let begun = self.state.intents.iter().filter(adopts);
        let adopting: BTreeSet<TeamId> = begun.filter_map(|intent| intent.team).collect();
        let mut asks = self.asks();
        asks.retain(|team| self.state.paused.of(*team).is_none() || adopting.contains(team));
        asks
    }

    /// The teams for which Datadog has to be asked.
    pub(super) fn asks(&self) -> BTreeSet<TeamId> {
        let interrupted: BTreeSet<TeamId> =
            self.state.intents.iter().filter_map(|intent| intent.team).collect();
        let owns: BTreeSet<TeamId> = self.state.owned.iter().map(|owned| owned.team).collect();
        let asks = |(id, folded): (&TeamId, &Folded)| {
            let team = folded.team.as_ref()?;
            let decided = folded.trouble.is_none();
            let quiet = team.in_step
                && !self.login_changed
                && !interrupted.contains(id)
                && self.due.get(id).is_none_or(|asks| asks.event && !asks.datadog);
            let may_differ = match team.state {
                TeamState::Present => !quiet,
                TeamState::Suspected { .. } => false,
                TeamState::Gone { .. } => owns.contains(id) || interrupted.contains(id),
            };
            (decided && may_differ).then_some(*id)
        };
        self.folded.iter().filter_map(asks).collect()
    }

    /// Plans for these teams and for those that turn out to be concerned.
    pub(super) async fn plan(&mut self, mut asks: BTreeSet<TeamId>) -> sqlx::Result<Guarded> {
        let mut cleared = BTreeSet::new();
        for round in 0..=JOINS {
            let mut guarded = match self.eyes.plan_for(&self.known, &asks, asks.is_subset(&self.listed)).await
            {
                Ok(Foreseen { desired, guarded, missed, undecided }) => {
                    self.missed = missed;
                    asks.retain(|team| !undecided.contains_key(team));
                    self.troubles.extend(undecided);
                    self.waiting = desired
                        .teams
                        .iter()
                        .filter(|(id, wanted)| asks.contains(*id) && !wanted.unresolved.is_empty())
                        .map(|(id, _)| *id)
                        .collect();
                    self.unwilling_heirs = unwilling_heirs(&desired, &guarded);
                    self.conflicts = desired.conflicts;
                    guarded
                }
                Err(trouble) => {
                    self.troubles.extend(asks.into_iter().map(|team| (team, trouble.clone())));
                    return Ok(Guarded::default());
                }
            };
            let joining = self.holders(&mut guarded, &mut cleared).await?;
            if joining.is_empty() || round == JOINS {
                if !joining.is_empty() {
                    // What the last ones to join want is not in this plan: nothing is taken away in this look.
                    let why = "more teams than one look takes in have exchanged slugs";
                    let deletes = guarded.ready.actions.iter().filter(|planned| is_delete(planned));
                    let trouble = Trouble::new(Class::Transient, why);
                    self.troubles
                        .extend(deletes.filter_map(|planned| Some((planned.team?, trouble.clone()))));
                }
                self.asked = asks;
                return Ok(self.without_troubled(guarded));
            }
            asks.extend(joining);
            self.take_in_names().await?;
        }
        Ok(Guarded::default())
    }
}

/// The teams that get a connection only because it names them: their own looks decide about it.
fn unwilling_heirs(desired: &Desired, guarded: &Guarded) -> Vec<TeamId> {
    let heirs = guarded.ready.actions.iter().filter_map(|planned| match &planned.action {
        Action::PassOn { key, to, from_org: None, to_org: None, .. } => Some((key, *to)),
        _ => None,
    });
    heirs.filter(|(key, _)| !desired.wanted_keys.contains_key(*key)).map(|(_, team)| team).collect()
}

/// What is held of a plan, as it is stored.
pub(super) fn held(guarded: &Guarded) -> impl Iterator<Item = Held> {
    guarded.held_items().map(|(key, team, reason)| Held { key, team, reason: reason.clone() })
}

fn is_delete(planned: &Planned) -> bool {
    matches!(planned.action, Action::Delete { .. })
}
