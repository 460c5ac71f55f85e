//! Reading and planning without a hand that could write: what a look, a full pass and `teamlink plan` share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Options,
    directory::Directory,
    evidence::Evidence,
    identity::Identity,
    known::Known,
    links::OthersLinks,
    listed::{ByTeam, FirstConnections, missing},
    observe,
    unknown::Unknown,
};
use crate::{
    datadog::{self, Filter},
    github,
    ledger::{Held, Ledger, OrgState, Removed},
    model::{
        Answer, Class, ConnectionKey, Connections, DatadogTeamId, HeldKey, HoldRule, Lane, MirrorTeam,
        MissingTeam, OrgFacts, OrgId, RemovedByOthers, TeamFacts, TeamId, TeamState, Time, Trouble,
    },
    plan::{self, Action, Actual, DatadogTeams, Desired, Guarded, Mirror, Planned, Policy},
    transport::List,
};

/// How many teams that a list lacks are read by id, to find out whether the list was cut.
const SAMPLE: usize = 3;

/// What reads and plans. Holds nothing that writes to Datadog.
#[derive(Clone)]
pub(super) struct Eyes {
    pub(super) github: github::Reader,
    pub(super) datadog: datadog::Reader,
    pub(super) directory: Directory,
    pub(super) options: Arc<Options>,
    pub(super) others: OthersLinks,
    /// Which writes succeed, for those that fail.
    pub(super) evidence: Evidence,
    pub(super) identity: Identity,
    /// Which teams that the mirror does not have may be read by their ids.
    pub(super) unknown: Unknown,
    /// Datadog's connections, for the looks of a first pass.
    first: FirstConnections,
}

/// What a look wants and may do.
pub(super) struct Foreseen {
    pub(super) desired: Desired,
    pub(super) guarded: Guarded,
    /// Answered creates that were read by their ids and not found.
    pub(super) missed: Vec<ConnectionKey>,
    /// Teams about which nothing could be decided.
    pub(super) undecided: BTreeMap<TeamId, Trouble>,
}

impl Eyes {
    pub(super) fn new(github: github::Reader, datadog: datadog::Reader, options: Options) -> Self {
        let directory = Directory::new(datadog.clone(), options.teams_ttl, options.clock.clone());
        let (options, others, evidence) = (Arc::new(options), OthersLinks::default(), Evidence::default());
        let first = FirstConnections::default();
        let (identity, unknown) = (Identity::default(), Unknown::default());
        Self { github, datadog, directory, options, others, evidence, identity, unknown, first }
    }

    /// The same for a full pass, which leaves a reserve of the rate limits to events.
    pub(super) fn unhurried(&self) -> Self {
        Self {
            github: self.github.unhurried(),
            datadog: self.datadog.unhurried(),
            directory: self.directory.unhurried(),
            ..self.clone()
        }
    }

    /// The same for a look of this lane: what it reads of Datadog stays read while a rate limit ends, until the look is
    /// over. A look whose lists fill a window would otherwise never come to its writes.
    pub(super) fn looking(&self, lane: Lane) -> Self {
        Self { datadog: self.datadog.looking(lane), directory: self.directory.looking(lane), ..self.clone() }
    }

    /// Whether the credential sees secret teams too: only an owner's does. Asked anew each time, since an owner may be
    /// one no more. An answer that failed says nothing.
    pub(super) async fn sees_all_teams(&self, login: &str) -> Result<bool, Trouble> {
        match self.github.owner(login).await {
            Answer::Present(owner) => Ok(owner),
            Answer::Absent | Answer::Forbidden(_) => Ok(false),
            Answer::Failed(trouble) => Err(trouble),
        }
    }

    /// Keeps Datadog's connections for the looks that a first pass asks for. What an earlier one kept goes.
    pub(super) fn keep_connections(&self, first_pass: Option<&Surveyed>) {
        let now = self.options.clock.monotonic();
        self.first.keep(first_pass.map(|surveyed| {
            let good_for = self.options.teams_ttl.max(2 * now.saturating_sub(surveyed.monotonic));
            let mut by_team = ByTeam::new();
            for (key, connection) in surveyed.actual.connections.iter() {
                by_team.entry(key.datadog_team.clone()).or_default().push(connection.clone());
            }
            (now + good_for, by_team)
        }));
    }

    /// Plans for some teams, with no more of Datadog than they concern. Connections that a first pass has `listed` count
    /// for teams that have nothing of ours: Datadog rejects a create that exists by now.
    pub(super) async fn plan_for(
        &self,
        known: &Known,
        teams: &BTreeSet<TeamId>,
        listed: bool,
    ) -> Result<Foreseen, Trouble> {
        let creates = self.policy(known).missing_team == MissingTeam::Create;
        let directory = self.directory.covering(&self.handles(&known.mirror, teams), creates).await?;
        let desired =
            plan::desire(&known.mirror, &self.options.rules, &directory, known.actual.owned.values());
        let wanted =
            teams.iter().filter_map(|team| desired.teams.get(team)).flat_map(|wanted| &wanted.datadog);
        let owned = known.actual.owned.values().filter(|owned| teams.contains(&owned.team));
        let creates = known.actual.create_intents.iter().filter(|(_, create)| teams.contains(&create.team));
        let ids: BTreeSet<DatadogTeamId> = wanted
            .chain(owned.clone().map(|owned| &owned.key.datadog_team))
            .chain(creates.clone().map(|(key, _)| &key.datadog_team))
            .cloned()
            .collect();
        let first = if listed && owned.count() == 0 && creates.count() == 0 {
            self.first.of(&ids, self.options.clock.monotonic())
        } else {
            None
        };
        let mut connections = match first {
            Some(first) => first,
            None => self.connections_of(known, teams, &desired, ids).await?,
        };
        let missed = self.read_answered(known, (teams, &desired), &mut connections).await?;
        let mut actual = known.showing(connections);
        actual.missing = missed.values().cloned().collect();
        let (gone, undecided) = self.gone(&directory, &actual, |team| teams.contains(&team)).await?;
        actual.gone = gone;
        if !directory.complete() {
            self.check_search(teams, &desired, &actual, &directory).await?;
        }
        let troubled = undecided.iter().map(|(team, trouble)| (*team, trouble.message.clone())).collect();
        let plan = self.plan_by_ids(known, (teams, &desired), &mut actual, &troubled).await?;
        let removed = self.removed_by_others(known, &plan, &actual).await;
        let guarded = self.judge(known, teams, plan, &actual, removed);
        Ok(Foreseen { desired, guarded, missed: missed.into_keys().collect(), undecided })
    }

    /// Returns which Datadog teams of these teams' rows and begun adoptions are gone, and the teams where that is unknown. A
    /// list that lacks one with a connection of ours proves nothing.
    pub(super) async fn gone(
        &self,
        listed: &DatadogTeams,
        actual: &Actual,
        concerns: impl Fn(TeamId) -> bool,
    ) -> Result<(BTreeSet<DatadogTeamId>, BTreeMap<TeamId, Trouble>), Trouble> {
        let living = actual.owned.keys().filter(|key| actual.connections.has(key));
        let rows = actual.owned.values().map(|row| (&row.key, row.team));
        let adoptions = actual.create_intents.iter().filter(|(_, intent)| intent.adopts);
        let adoptions = adoptions.map(|(key, intent)| (key, intent.team));
        let asked: Vec<_> = rows.chain(adoptions).filter(|(_, team)| concerns(*team)).collect();
        let (living, keys): (Vec<_>, Vec<_>) =
            (living.collect(), asked.iter().map(|(key, _)| *key).collect());
        let fates = self.directory.fates(listed, &living, &keys).await?;
        let undecided = asked.iter().filter_map(|(key, team)| {
            let trouble = fates.undecided.get(&key.datadog_team)?;
            Some((*team, trouble.clone()))
        });
        let undecided = undecided.collect();
        Ok((fates.gone, undecided))
    }

    /// A handle that a search does not find keeps its team where it is, and lets go of what stands in its place: that
    /// must not be the Datadog team with this handle.
    async fn check_search(
        &self,
        teams: &BTreeSet<TeamId>,
        desired: &Desired,
        actual: &Actual,
        found: &DatadogTeams,
    ) -> Result<(), Trouble> {
        let wanted = teams.iter().filter_map(|team| desired.teams.get(team));
        for wanted in wanted.filter(|wanted| !wanted.unresolved.is_empty()) {
            let in_place =
                |key: &&ConnectionKey| key.github == wanted.github_key && !found.has(&key.datadog_team);
            let rows: Vec<_> = actual.owned.keys().filter(in_place).collect();
            self.directory.not_found(&wanted.unresolved, &rows).await?;
        }
        Ok(())
    }

    /// The handles that the rules give these teams.
    fn handles(&self, mirror: &Mirror, teams: &BTreeSet<TeamId>) -> BTreeSet<String> {
        let logins = mirror.logins();
        teams
            .iter()
            .filter_map(|team| mirror.teams.get(team))
            .filter(|team| team.state == TeamState::Present)
            .flat_map(|team| self.options.rules.resolve_team(&logins, &team.facts).outcome.into_handles())
            .collect()
    }

    /// What the settings and a person allow in the organisation.
    pub(super) fn policy<'a>(&'a self, known: &'a Known) -> Policy<'a> {
        let policy = self.options.policy(&known.mirror.org.login, &known.mirror.bound_login);
        Policy {
            mode: policy.mode,
            missing_team: policy.missing_team,
            managed_by: &self.options.managed_by,
            paused: &known.paused,
            grace: self.options.grace,
            now: known.now,
        }
    }

    /// Reads an organisation as a whole and plans all of it. Writes nothing, stores nothing.
    pub(super) async fn survey(
        &self,
        ledger: &Ledger,
        state: &OrgState,
        standing: Standing,
    ) -> Result<Surveyed, Trouble> {
        let asked = observe::Moment::now(&self.options.clock);
        let (org, list, began) = self.list(ledger, state, asked).await?;
        let mut known = Known::new(state, &self.options, state.read_at);
        let (slots, lifts_creates) = (standing.slots, standing.lifts_creates);
        known.weigh(standing);
        let renamed = org.login != known.mirror.org.login;
        known.mirror.org = org;
        known.read_elsewhere(ledger).await.map_err(failed)?;
        let listed: BTreeSet<TeamId> = list.items.iter().map(|facts| facts.id).collect();
        let differs = |facts: TeamFacts| {
            let team = facts.id;
            (self.note_listed(&mut known.mirror, facts) || renamed).then_some(team)
        };
        let mut out_of_step: BTreeSet<TeamId> = list.items.into_iter().filter_map(differs).collect();
        let missing = missing(&known.mirror, &listed, observe::listed_type(state));
        drop(listed);
        self.check_list(state, &missing).await?;
        let mut troubled = self.why_missing(&known.mirror, &missing).await?;
        let directory = self.directory.whole(false).await?;
        let connections: Connections =
            self.datadog.connections(&Filter::github()).await?.into_iter().collect();
        let others = self.others(&known, &connections);
        let desired =
            plan::desire(&known.mirror, &self.options.rules, &directory, known.actual.owned.values());
        let mut actual = Actual { connections, ..std::mem::take(&mut known.actual) };
        let (gone, undecided) = self.gone(&directory, &actual, |_| true).await?;
        actual.gone = gone;
        out_of_step.extend(undecided.keys());
        troubled.extend(undecided.into_iter().map(|(team, trouble)| (team, trouble.message)));
        let orphans = self.plan_orphans(&known, state, &desired, &actual).await?;
        let teams: BTreeSet<TeamId> = known.mirror.teams.keys().copied().collect();
        let plan = self.plan_by_ids(&known, (&teams, &desired), &mut actual, &troubled).await?;
        let guarded = self.judge(&known, &teams, plan, &actual, Vec::new());
        let needed = guarded.slots_needed(&known.population.approved);
        let granted = needed.iter().take(slots).cloned().collect();
        let mut guarded = guarded.within(&needed, &granted);
        if !state.org.passed && !lifts_creates {
            guarded = guarded.first_pass(self.options.first_creates, &known.population.approved);
        }
        out_of_step.extend(concerned(&guarded, &actual));
        out_of_step.extend(desired.conflicts.iter().copied());
        // A handle that was there and is no more: who wants it waits for it from now on.
        let unresolved = desired.teams.iter().filter(|(_, wanted)| !wanted.unresolved.is_empty());
        out_of_step.extend(unresolved.map(|(team, _)| *team).filter(|team| !state.waiting.contains(team)));
        let mirror = known.mirror;
        Ok(Surveyed {
            mirror,
            began,
            monotonic: asked.monotonic,
            actual,
            guarded,
            orphans,
            out_of_step,
            missing,
            others,
            directory,
        })
    }

    /// The organisation and the list of its teams, with when that was begun.
    async fn list(
        &self,
        ledger: &Ledger,
        state: &OrgState,
        asked: observe::Moment,
    ) -> Result<(OrgFacts, List<TeamFacts>, Time), Trouble> {
        let (org, mut list) = observe::list(&self.github, state).await?;
        let began = observe::began(&list, asked, observe::Moment { time: state.read_at, ..asked });
        if list.began < asked.monotonic {
            // What a page of it shows may have proved to be gone since.
            let gone = ledger.gone_since(state.org.facts.id, began).await.map_err(failed)?;
            list.items.retain(|facts| !gone.contains(&facts.id));
        }
        Ok((org, list, began))
    }

    /// What is to be said of teams that the list lacks.
    async fn why_missing(
        &self,
        mirror: &Mirror,
        missing: &[TeamId],
    ) -> Result<BTreeMap<TeamId, String>, Trouble> {
        let suspected = |id: &TeamId| match mirror.teams.get(id) {
            Some(MirrorTeam {
                state: TeamState::Suspected { since, .. }, deleted_event_at: None, ..
            }) => Some(*since),
            _ => None,
        };
        let sees_all = missing.iter().all(|id| suspected(id).is_none())
            || self.sees_all_teams(&mirror.org.login).await?;
        let mut why = BTreeMap::new();
        for id in missing {
            let reason = match suspected(id) {
                Some(since) if !sees_all => super::unproven(since),
                _ => "the list of the org's teams lacks it; it is looked at by its id".to_owned(),
            };
            why.insert(*id, reason);
        }
        Ok(why)
    }

    /// How many connections of this organisation are orphans of ours, and how many are others'.
    fn others(&self, known: &Known, connections: &Connections) -> (usize, usize) {
        let login = format!("@{}/", known.mirror.org.login.to_lowercase());
        let not_owned = connections
            .iter()
            .filter(|(key, _)| key.github.starts_with(&login) && !known.actual.owned.contains_key(key));
        let (orphans, foreigners): (Vec<_>, Vec<_>) = not_owned.partition(|(_, connection)| {
            known.actual.own_marks.iter().any(|mark| connection.managed_by.as_ref() == Some(mark))
        });
        (orphans.len(), foreigners.len())
    }

    /// Takes a team of the list into the mirror; says whether it differs from what was known.
    fn note_listed(&self, mirror: &mut Mirror, facts: TeamFacts) -> bool {
        let known = mirror.teams.get(&facts.id);
        let differs = known
            .is_none_or(|known| known.facts != facts || known.state != TeamState::Present || !known.in_step);
        let team = MirrorTeam {
            state: TeamState::Present,
            seen_at: self.options.clock.now(),
            deleted_event_at: known.and_then(|known| known.deleted_event_at),
            in_step: !differs,
            facts,
        };
        mirror.teams.insert(team.facts.id, team);
        differs
    }

    /// A list that lacks what another read shows present was cut: nothing may be concluded from it.
    async fn check_list(&self, state: &OrgState, missing: &[TeamId]) -> Result<(), Trouble> {
        for &team in missing.iter().take(SAMPLE) {
            if let Answer::Present(facts) = self.github.team(state.org.facts.id, team).await {
                let login = &state.org.facts.login;
                let why =
                    format!("the list of the teams of {login} lacks {}, which its id shows", facts.slug);
                return Err(Trouble::new(Class::Invalid, why));
            }
        }
        Ok(())
    }
}

fn failed(error: sqlx::Error) -> Trouble {
    Trouble::new(Class::Transient, format!("the ledger failed: {error}"))
}

/// The teams whose looks carry these steps out: of a row that passes on, also the team that has it.
fn concerned(guarded: &Guarded, actual: &Actual) -> BTreeSet<TeamId> {
    let steps = guarded.ready.actions.iter().chain(guarded.held.iter().map(|(planned, _)| planned));
    let owner = |planned: &Planned| match &planned.action {
        Action::PassOn { key, .. } => actual.owned.get(key).map(|row| row.team),
        _ => None,
    };
    let teams = steps.flat_map(|planned| planned.team.into_iter().chain(owner(planned)));
    let waiting =
        guarded.ready.postponed().chain(guarded.ready.not_visible().map(|(team, _, since)| (team, since)));
    teams.chain(waiting.map(|(team, _)| team)).collect()
}

/// What the ledger says of held and approved actions before a survey.
#[derive(Clone)]
pub(super) struct Standing {
    pub(super) held: Vec<Held>,
    pub(super) approved: BTreeSet<HeldKey>,
    pub(super) removed: Removed,
    pub(super) removed_by_others: BTreeMap<ConnectionKey, RemovedByOthers>,
    /// Removals for which there is room in the guard's window.
    pub(super) slots: usize,
    /// A person asked for the pass, which lets the creates of a first pass go.
    pub(super) lifts_creates: bool,
}

impl Standing {
    pub(super) async fn read(
        ledger: &Ledger,
        org: OrgId,
        options: &Options,
        lifts_creates: bool,
    ) -> sqlx::Result<Self> {
        let (mut held, approved) = ledger.held_and_approved(org, options.clock.now()).await?;
        if lifts_creates {
            held.retain(|held| held.reason.rule != HoldRule::FirstCreates);
        }
        Self::with(ledger, org, options, (held, approved), lifts_creates).await
    }

    /// The same as far as a look at these teams needs it.
    pub(super) async fn of_teams(
        ledger: &Ledger,
        org: OrgId,
        options: &Options,
        teams: &BTreeSet<TeamId>,
    ) -> sqlx::Result<Self> {
        let held = ledger.held_and_approved_for(org, teams, options.clock.now()).await?;
        Self::with(ledger, org, options, held, false).await
    }

    async fn with(
        ledger: &Ledger,
        org: OrgId,
        options: &Options,
        (held, approved): (Vec<Held>, BTreeSet<HeldKey>),
        lifts_creates: bool,
    ) -> sqlx::Result<Self> {
        let now = options.clock.now();
        let removed = ledger.removed(org, options.window, now).await?;
        let slots = options.max_per_window.saturating_sub(ledger.slots_taken(options.window, now).await?);
        let removed_by_others = ledger.removed_by_others(Lane::Org(org), now).await?;
        Ok(Self { held, approved, removed, removed_by_others, slots, lifts_creates })
    }
}

/// An organisation, read and planned as a whole.
pub(super) struct Surveyed {
    pub(super) mirror: Mirror,
    /// When the list of its teams began.
    pub(super) began: Time,
    /// When the survey began, by the monotonic clock.
    pub(super) monotonic: Duration,
    /// What Datadog shows of all organisations, and what the ledger says of this one's.
    pub(super) actual: Actual,
    pub(super) guarded: Guarded,
    /// The steps for orphans, which belong to no team and count towards none of the limits.
    pub(super) orphans: Guarded,
    /// Teams that a look of their own has to deal with.
    pub(super) out_of_step: BTreeSet<TeamId>,
    /// Teams of the mirror that the list lacks.
    pub(super) missing: Vec<TeamId>,
    /// Connections of this organisation that are orphans of ours, and those of others.
    pub(super) others: (usize, usize),
    /// Datadog's teams.
    pub(super) directory: Arc<DatadogTeams>,
}

impl Surveyed {
    /// Handles of Datadog's teams.
    pub(super) fn handles(&self) -> BTreeMap<DatadogTeamId, String> {
        self.directory.handles().map(|(handle, id)| (id.clone(), handle.to_owned())).collect()
    }
}
