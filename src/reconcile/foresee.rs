//! What a person is told: the plan of an organisation, and of one team. The same reading and the same plan as in a
//! look, and nothing more: nothing is written, nothing stored.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Options,
    look::Look,
    observe,
    survey::{Eyes, Standing},
};
use crate::{
    datadog, github,
    ledger::{Held, Ledger, OrgRow, OrgState, Size},
    model::{
        Class, ConnectionKey, DatadogTeamId, Lane, MirrorTeam, Mode, OrgFacts, Owned, Pause, RemovedByOthers,
        TeamId, Time, Trouble,
    },
    plan::{Guarded, Plan, Why},
};

/// How often a person's plan is tried where one list lacks what another read shows: teams that come and go shift the
/// pages of a list while it is read.
const SURVEYS: usize = 3;

/// Plans whole organisations and single teams for a person. Reads the ledger, writes nothing anywhere.
pub struct Survey {
    pub(super) eyes: Eyes,
    pub(super) ledger: Ledger,
}

/// The plan of one organisation.
#[derive(Clone, Debug)]
pub struct OrgPlan {
    /// The organisation.
    pub org: OrgFacts,
    /// Slugs of its teams, for printing.
    pub slugs: BTreeMap<TeamId, String>,
    /// Handles of Datadog's teams, for printing.
    pub handles: BTreeMap<DatadogTeamId, String>,
    /// Teams that a daemon is about to work on, or worked on while this was planned.
    pub in_flight: BTreeSet<TeamId>,
    /// Teams that GitHub shows other than they are remembered, and no event has told of it.
    pub untold: BTreeSet<TeamId>,
    /// What of it a person has paused.
    pub paused: Vec<Pause>,
    /// The plan, or why there is none.
    pub plan: Result<Guarded, Trouble>,
}

impl OrgPlan {
    /// What waits for a person.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        self.plan.iter().flat_map(super::look::held)
    }

    /// Whether another look may change the answer.
    pub fn in_doubt(&self) -> bool {
        self.plan.as_ref().is_ok_and(|guarded| in_doubt(&guarded.ready))
    }
}

impl Survey {
    /// A survey over what these clients show.
    pub fn new(github: github::Reader, datadog: datadog::Reader, ledger: Ledger, options: Options) -> Self {
        Self { eyes: Eyes::new(github, datadog, options), ledger }
    }

    /// What a look at one team would find and do now.
    pub async fn foresee(&self, org: &OrgRow, team: TeamId) -> sqlx::Result<Foresight> {
        let state = match self.ledger.org_state_with(org.facts.id, team).await? {
            Some(state) => state,
            None => self.newcomer(org.clone()).await?,
        };
        foresee(&self.eyes, &self.ledger, state, team).await
    }

    /// An organisation that the ledger has never seen.
    async fn newcomer(&self, org: OrgRow) -> sqlx::Result<OrgState> {
        Ok(OrgState {
            whole: true,
            size: Size::default(),
            has_enterprise_teams: false,
            read_at: self.eyes.options.clock.now(),
            paused: self.ledger.paused(Lane::Org(org.facts.id)).await?,
            org,
            teams: BTreeMap::new(),
            listed: BTreeMap::new(),
            waiting: BTreeSet::new(),
            unwanted_since: BTreeMap::new(),
            young: BTreeMap::new(),
            owned: Vec::new(),
            intents: Vec::new(),
            late_creates: BTreeMap::new(),
            own_marks: BTreeSet::new(),
            listed_at: None,
        })
    }

    /// What the ledger has of the organisation with this login, now or when it was bound.
    pub(super) async fn state(&self, login: &str) -> anyhow::Result<OrgState> {
        let known = self.ledger.orgs().await?.into_iter().find(|org| {
            org.facts.login.eq_ignore_ascii_case(login) || org.bound_login.eq_ignore_ascii_case(login)
        });
        if let Some(org) = known
            && let Some(state) = self.ledger.org_state(org.facts.id).await?
        {
            return Ok(state);
        }
        let absent = || format!("GitHub has no organisation {login} that this credential may see");
        let facts = observe::answer(self.eyes.github.org_by_login(login).await, absent)?;
        Ok(self.newcomer(OrgRow::newcomer(facts)).await?)
    }

    /// Plans one organisation by its login. One that the ledger has never seen is planned as a newcomer.
    pub async fn plan(&self, login: &str) -> anyhow::Result<OrgPlan> {
        let began = self.eyes.options.clock.now();
        self.eyes.at_home(&self.ledger, false).await??;
        let state = self.state(login).await?;
        let id = state.org.facts.id;
        let standing = Standing::read(&self.ledger, id, &self.eyes.options, false).await?;
        let mut surveyed = self.eyes.survey(&self.ledger, &state, standing.clone()).await;
        for _ in 1..SURVEYS {
            if !surveyed.as_ref().is_err_and(|trouble| trouble.class == Class::Invalid) {
                break;
            }
            surveyed = self.eyes.survey(&self.ledger, &state, standing.clone()).await;
        }
        // Nobody was kept from working meanwhile.
        let (in_flight, known) = self.ledger.moving(id, began).await?;
        Ok(match surveyed {
            Ok(surveyed) => OrgPlan {
                untold: surveyed
                    .mirror
                    .teams
                    .iter()
                    .filter(|(id, team)| state.teams.get(id).is_none_or(|known| known.facts != team.facts))
                    .map(|(id, _)| *id)
                    .filter(|id| !in_flight.contains(id))
                    .collect(),
                in_flight,
                slugs: surveyed
                    .mirror
                    .teams
                    .iter()
                    .map(|(id, team)| (*id, team.facts.slug.clone()))
                    .collect(),
                handles: surveyed.handles(),
                org: surveyed.mirror.org,
                paused: state.paused.all().cloned().collect(),
                plan: Ok(surveyed.guarded.and(surveyed.orphans.without(&known))),
            },
            Err(trouble) => OrgPlan {
                in_flight,
                untold: BTreeSet::new(),
                paused: state.paused.all().cloned().collect(),
                org: state.org.facts,
                slugs: BTreeMap::new(),
                handles: BTreeMap::new(),
                plan: Err(trouble),
            },
        })
    }
}

/// What a look at one team would find and do now. Writes nothing, stores nothing.
pub(super) async fn foresee(
    eyes: &Eyes,
    ledger: &Ledger,
    state: OrgState,
    team: TeamId,
) -> sqlx::Result<Foresight> {
    let org = &state.org;
    let mode = eyes.options.policy(&org.facts.login, &org.bound_login).mode;
    let served = eyes.options.serves(org);
    let marks = ledger.marks_of(org.facts.id, &[team]).await?;
    let standing = Standing::read(ledger, org.facts.id, &eyes.options, false).await?;
    let known = state.teams.get(&team).cloned();
    let owned = state.owned.clone();
    let pause = state.paused.of(team).cloned();
    let removed_by_others = standing.removed_by_others.clone();
    let mut look = Look::new((eyes, ledger), state, &marks, eyes.options.clock.now());
    look.read().await?;
    let unread = look.troubles.get(&team).cloned();
    let asks = look.asks();
    let mut guarded = Guarded::default();
    if !asks.is_empty() {
        let needs_no_slot = standing.approved.clone();
        let slots = standing.slots;
        look.known.weigh(standing);
        guarded = look.plan(asks).await?;
        let needed = guarded.slots_needed(&needs_no_slot);
        let granted = needed.iter().take(slots).cloned().collect();
        guarded = guarded.within(&needed, &granted);
    }
    Ok(Foresight {
        mode,
        served,
        own_marks: look.known.own_marks().clone(),
        known,
        owned,
        pause,
        needs_event: look
            .folded
            .get(&team)
            .is_some_and(|folded| folded.trouble.is_none() && folded.second_look.is_none()),
        team: look.folded.remove(&team).and_then(|folded| folded.team),
        read_at: look.answered,
        unplanned: look.troubles.remove(&team).filter(|_| unread.is_none()),
        unread,
        rival: rival(&look, team),
        removed_by_others,
        org: look.known.mirror.org,
        guarded,
    })
}

/// What a look at one team would find and do.
#[derive(Clone, Debug)]
pub struct Foresight {
    /// The organisation.
    pub org: OrgFacts,
    /// Whether `github.orgs` lets anything be written for it.
    pub served: bool,
    /// Every mark that this ledger writes or has written under.
    pub own_marks: BTreeSet<String>,
    /// How far its plans may go.
    pub mode: Mode,
    /// The team as it is remembered.
    pub known: Option<MirrorTeam>,
    /// The connections of its organisation that are ours.
    pub owned: Vec<Owned>,
    /// The pause that it is under.
    pub pause: Option<Pause>,
    /// The team as it would be remembered; `None` when it was never seen and is not there.
    pub team: Option<MirrorTeam>,
    /// No further look will prove it gone, if it is suspected: only an event or another credential.
    pub needs_event: bool,
    /// When GitHub answered.
    pub read_at: Time,
    /// Why GitHub said nothing about it.
    pub unread: Option<Trouble>,
    /// Why it could not be planned though GitHub answered.
    pub unplanned: Option<Trouble>,
    /// Connections of its organisation that somebody else removed within a day.
    pub removed_by_others: BTreeMap<ConnectionKey, RemovedByOthers>,
    /// Another team that reads back with the same slug.
    pub rival: Option<TeamId>,
    /// The steps, for it and for the teams that they concern.
    pub guarded: Guarded,
}

/// The other team that reads back with the same slug as this one.
fn rival(look: &Look<'_>, team: TeamId) -> Option<TeamId> {
    let teams = &look.known.mirror.teams;
    let slug = &teams.get(&team).filter(|_| look.conflicts.contains(&team))?.facts.slug;
    look.conflicts
        .iter()
        .copied()
        .find(|other| *other != team && teams.get(other).is_some_and(|it| it.facts.slug == *slug))
}

/// Whether a plan leaves something open: a doubt that another look may settle, or steps that wait for the end
/// of a pause.
fn in_doubt(plan: &Plan) -> bool {
    plan.left_alone.iter().any(|left| match left.why {
        Why::Suspected { .. }
        | Why::Grace { .. }
        | Why::MayBeMade { .. }
        | Why::SomebodyRemoves { .. }
        | Why::NotRead { .. }
        | Why::Conflict { .. }
        | Why::NotVisible { .. }
        | Why::Paused { .. } => true,
        Why::Satisfied { .. }
        | Why::Ignored
        | Why::Unmapped
        | Why::NoSuchHandle { .. }
        | Why::Policy { .. }
        | Why::OfAnother { .. }
        | Why::Protected { .. }
        | Why::Orphan { .. } => false,
    })
}
