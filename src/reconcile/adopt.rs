//! Taking connections over from whoever made them: what may be, and how one of them becomes ours.
//!
//! Connections are immutable, so one with another mark is deleted and made again. The intent is committed first, and
//! only the delete is this file's: an open intent whose connection is gone is made again by the next look at its team,
//! as after any crash. That look follows at once and under the same lease, so the path that mends an interrupted
//! adoption is the one that every adoption takes. Nothing is waited for while a lease is held.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    Survey,
    known::Known,
    lease::Lease,
    look, observe,
    survey::Standing,
    worker::{PATIENCE, Worker},
};
use crate::{
    datadog::Filter,
    ledger::{AuditAction, AuditEntry, AuditOutcome, IntentKind, OrgState, ParkedStep, Settled, Settlement},
    model::{
        Cause, Class, Connection, ConnectionId, ConnectionKey, MirrorTeam, OrgFacts, OrgId, Owned, Subject,
        TeamFacts, TeamKey, TeamState, Trouble,
    },
    plan::{self, StepKey, TakeOver},
    telemetry,
};

/// The first wait after a failure; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest one, unless Datadog asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Which connections are asked about.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Those that carry this mark.
    ManagedBy(String),
    /// Those of this organisation's teams, by its login.
    Org(String),
    /// Those of one team: the organisation's login and the slug.
    Team(String, String),
}

impl Asked {
    /// Whether a connection with this key and this mark is asked about.
    pub fn picks(&self, key: &ConnectionKey, managed_by: Option<&str>) -> bool {
        match self {
            Self::ManagedBy(mark) => managed_by == Some(mark.as_str()),
            Self::Org(_) | Self::Team(..) => self.picks_place(key),
        }
    }

    /// Whether a connection that somebody has marked in whatever way may be asked about.
    pub fn picks_place(&self, key: &ConnectionKey) -> bool {
        match self {
            Self::ManagedBy(_) => true,
            Self::Org(org) => key.github.starts_with(&format!("@{}/", org.to_lowercase())),
            Self::Team(org, slug) => key.github == format!("@{org}/{slug}").to_lowercase(),
        }
    }
}

/// How taking one connection over ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is ours.
    Done,
    /// Nothing was done, because it is not what it was when it was shown.
    Left(String),
    /// It failed. The connection may be missing until whoever works next has made it again.
    Failed(Trouble),
}

/// A connection that was asked about.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its id; `None` while an interrupted adoption has deleted it.
    pub id: Option<ConnectionId>,
    /// Its key.
    pub key: ConnectionKey,
    /// Whose mark it has; `None` where Datadog tells none, and for an interrupted adoption.
    pub managed_by: Option<String>,
    /// Handle of the Datadog team, where it is known.
    pub handle: Option<String>,
    /// Its GitHub team wants it once it is ours.
    pub wanted: bool,
    /// How it can be taken over, or why it is left alone.
    pub step: Result<Adoption, String>,
}

/// How one connection is taken over.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// The organisation.
    pub org: OrgFacts,
    /// The GitHub team that the connection is for.
    pub team: TeamFacts,
    /// How.
    pub how: TakeOver,
}

impl Survey {
    /// Every connection from GitHub that Datadog has, except those that lack an end.
    pub async fn connections(&self) -> Result<Vec<(ConnectionKey, Connection)>, Trouble> {
        let connections = self.eyes.datadog.connections(&Filter::github()).await?;
        Ok(connections.into_iter().filter_map(|connection| Some((connection.key()?, connection))).collect())
    }

    /// What can be done about those connections of an organisation that are asked about, and about its interrupted
    /// adoptions. Writes nothing.
    ///
    /// # Errors
    /// When the organisation cannot be read as a whole.
    pub async fn adoptable(&self, login: &str, asked: &Asked) -> anyhow::Result<Vec<Candidate>> {
        let state = self.state(login).await?;
        let standing = Standing::read(&self.ledger, state.org.facts.id, &self.eyes.options, false).await?;
        let mut surveyed = self.eyes.survey(&self.ledger, &state, standing).await?;
        // The mirror remembers teams that GitHub's list lacks: nothing is written for those.
        surveyed.missing.iter().for_each(|team| drop(surveyed.mirror.teams.remove(team)));
        let handles = surveyed.handles();
        let mut known = self.eyes.known(&state);
        known.mirror = surveyed.mirror;
        let org = &known.mirror.org;
        let of_login = format!("@{}/", login.to_lowercase());
        let candidate = |key: &ConnectionKey, id, managed_by, step| Candidate {
            id,
            key: key.clone(),
            managed_by,
            handle: handles.get(&key.datadog_team).cloned(),
            wanted: false,
            step,
        };
        let mut candidates = Vec::new();
        for (key, connection) in surveyed.actual.connections.iter() {
            let managed_by = connection.managed_by.as_deref();
            if key.github.starts_with(&of_login) && asked.picks(key, managed_by) {
                let step = self.eyes.take_over(&known, key, connection, &surveyed.actual);
                let step = step.map(|(how, team)| Adoption { org: org.clone(), team, how });
                let (id, managed_by) = (Some(connection.id.clone()), managed_by.map(str::to_owned));
                candidates.push(candidate(key, id, managed_by, step));
            }
        }
        for intent in state.intents.iter().filter(|intent| intent.kind == IntentKind::Adopt) {
            let key = &intent.key;
            let deleted = !surveyed.actual.connections.has(key);
            if deleted && key.github.starts_with(&of_login) && asked.picks_place(key) {
                let team =
                    intent.team.and_then(|team| known.mirror.teams.get(&team)).map(|team| team.facts.clone());
                let step = team.map(|team| Adoption { org: org.clone(), team, how: TakeOver::Recreate });
                let gone = || "interrupted, and GitHub does not list its team any more".to_owned();
                candidates.push(candidate(key, None, None, step.ok_or_else(gone)));
            }
        }
        // What its team would want of it once it is ours: a handle that resolves to nothing keeps what is ours.
        let ours = |candidate: &Candidate| {
            let (id, adoption) = (candidate.id.clone(), candidate.step.as_ref().ok()?);
            let id = id.unwrap_or_else(|| "deleted".into());
            let key = candidate.key.clone();
            Some(Owned { key, id, team: adoption.team.id, managed_by: None })
        };
        let adopted: Vec<Owned> = candidates.iter().filter_map(ours).collect();
        let directory = self.eyes.directory.whole(false).await?;
        let owned = surveyed.actual.owned.values().chain(&adopted);
        let desired = plan::desire(&known.mirror, &self.eyes.options.rules, &directory, owned);
        for candidate in &mut candidates {
            candidate.wanted = desired.wanted_keys.contains_key(&candidate.key);
        }
        Ok(candidates)
    }
}

impl super::survey::Eyes {
    fn known(&self, state: &OrgState) -> Known {
        Known::new(state, &self.options, state.read_at)
    }

    fn take_over(
        &self,
        known: &Known,
        key: &ConnectionKey,
        connection: &Connection,
        actual: &plan::Actual,
    ) -> Result<(TakeOver, TeamFacts), String> {
        let mirror = &known.mirror;
        let policy = self.options.policy(&mirror.org.login, &mirror.bound_login);
        let protected = |team, key: &ConnectionKey| policy.protects(&mirror.names(team, key));
        plan::take_over(connection, key, mirror, actual, &self.policy(known), protected)
    }
}

impl Worker {
    /// Takes one connection over, and goes on for up to 30 s with what may pass. What is interrupted even so, whoever
    /// works next finishes.
    ///
    /// # Errors
    /// When another process works on the organisation for more than 30 s, or the ledger fails.
    pub async fn adopt(&self, candidate: &Candidate, adoption: &Adoption) -> anyhow::Result<Outcome> {
        self.ledger.bind_org(&adoption.org, self.now()).await?;
        let (deadline, mut wait) = (Instant::now() + PATIENCE, FIRST_WAIT);
        loop {
            let (lease, state) = self.lease(&adoption.org).await?;
            let done = self.adopt_under((&lease, adoption.org.id), state, candidate, adoption).await;
            lease.release().await?;
            let trouble = match done? {
                Outcome::Failed(trouble) => trouble,
                ended @ (Outcome::Done | Outcome::Left(_)) => return Ok(ended),
            };
            wait = wait.max(trouble.retry_after.unwrap_or_default());
            let may_pass = matches!(trouble.class, Class::Transient | Class::Throttled);
            if !may_pass || Instant::now() + wait > deadline {
                return Ok(Outcome::Failed(trouble));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn adopt_under(
        &self,
        (lease, org): (&Lease, OrgId),
        mut state: OrgState,
        candidate: &Candidate,
        adoption: &Adoption,
    ) -> anyhow::Result<Outcome> {
        let (key, team) = (&candidate.key, adoption.team.id);
        let begun =
            |state: &OrgState| state.intents.iter().any(|it| it.key == *key && it.kind == IntentKind::Adopt);
        // One of ours that is made again, under today's mark, is not done before it has another id.
        let again = candidate.id.as_ref().filter(|_| adoption.how == TakeOver::Recreate);
        let owned =
            |state: &OrgState| state.owned.iter().any(|owned| owned.key == *key && Some(&owned.id) != again);
        if owned(&state) {
            return Ok(Outcome::Done);
        }
        if !begun(&state) {
            if let Some(ended) = self.begin((lease, org), &state, candidate, adoption).await? {
                return Ok(ended);
            }
            state = self.ledger.org_state(org).await?.context("the organisation left the ledger")?;
        }
        let marks = self.ledger.marks_of(org, &[team]).await?;
        let steps = [StepKey::Create, StepKey::Record, StepKey::Forget].map(|step| step(key.clone()));
        let steps = BTreeSet::from(steps);
        look::look(&self.eyes, &self.ledger, &self.writer, (lease, org), state, &marks, Some(&steps)).await?;

        let state = self.ledger.org_state(org).await?.context("the organisation left the ledger")?;
        if owned(&state) {
            return Ok(Outcome::Done);
        }
        if !begun(&state) {
            return Ok(Outcome::Left("Datadog still shows it as somebody else's".to_owned()));
        }
        let story = self.ledger.story(TeamKey { org, team }).await?;
        let steps = [ParkedStep::Create, ParkedStep::Delete].map(|step| step(key.clone()).to_string());
        let parked = story.parked.into_iter().find(|parked| steps.contains(&parked.subject));
        Ok(Outcome::Failed(match (parked, story.looks.and_then(|looks| looks.last_error)) {
            (Some(parked), _) => Trouble::new(Class::Permanent, parked.error),
            (None, Some(error)) => Trouble::new(Class::Transient, error),
            (None, None) => Trouble::new(Class::Transient, "its delete, or its create, may still arrive"),
        }))
    }

    /// Makes it ours by a row; or deletes it, journaled, to be made again, and answers `None`. What it was when it was
    /// shown to a person it must be still.
    async fn begin(
        &self,
        (lease, org): (&Lease, OrgId),
        state: &OrgState,
        candidate: &Candidate,
        adoption: &Adoption,
    ) -> anyhow::Result<Option<Outcome>> {
        let left = |why: &str| Ok(Some(Outcome::Left(why.to_owned())));
        let failed = |trouble| Ok(Some(Outcome::Failed(trouble)));
        let (key, team) = (&candidate.key, adoption.team.id);
        let Some(id) = &candidate.id else { return left("somebody else has dealt with it meanwhile") };
        let found = match self.by_id(id).await {
            Ok(found) => found,
            Err(trouble) => return failed(trouble),
        };
        let Some(connection) = found.filter(|it| it.key().as_ref() == Some(key)) else {
            return left("it is no longer there");
        };
        let absent = || format!("team {} is no longer there", adoption.team.slug);
        let facts = match observe::answer(self.eyes.github.team(org, team).await, absent) {
            Ok(facts) => facts,
            Err(trouble) => return failed(trouble),
        };
        let (state_now, seen_at) = (TeamState::Present, self.now());
        let seen = MirrorTeam { facts, state: state_now, seen_at, deleted_event_at: None, in_step: false };
        let mut known = self.eyes.known(state);
        known.mirror.org = adoption.org.clone();
        known.mirror.teams = BTreeMap::from([(team, seen.clone())]);
        let actual = known.showing(Default::default());
        match self.eyes.take_over(&known, key, &connection, &actual) {
            Ok((how, _)) if how == adoption.how => {}
            Ok(_) => return left("its mark is another one now"),
            Err(why) => return left(&why),
        }
        let mark = connection.managed_by.as_deref().unwrap_or("nobody");
        let audit = |outcome, detail: String| {
            let (adopt, subject) = (AuditAction::Adopt, Subject::Connection(key.clone()));
            telemetry::work::action(lease.lane, Some(team), &subject, adopt, outcome, &detail);
            AuditEntry {
                team: Some(team),
                action: adopt,
                subject,
                connection: Some(id.to_string()),
                cause: Cause::Person,
                of_event: false,
                reason: format!("taken over from {mark}"),
                proof: None,
                outcome,
                detail: Some(detail),
            }
        };
        match adoption.how {
            TakeOver::Record => {
                let settlement = Settlement {
                    teams: vec![Settled {
                        team: seen,
                        waiting: state.waiting.contains(&team),
                        listed_at: None,
                    }],
                    owned: vec![Owned {
                        key: key.clone(),
                        id: id.clone(),
                        team,
                        managed_by: connection.managed_by.clone(),
                    }],
                    audit: vec![audit(AuditOutcome::Done, "it has our mark: a row was enough".to_owned())],
                    found: vec![team],
                    ..Settlement::default()
                };
                self.ledger.settle(lease.lane, lease.fence, &settlement, self.now()).await?;
                Ok(Some(Outcome::Done))
            }
            TakeOver::Recreate => {
                if !lease.allows_write(self.eyes.options.timeout) {
                    return failed(Trouble::new(
                        Class::Transient,
                        "too little is left of the lease for a write",
                    ));
                }
                let begun =
                    audit(AuditOutcome::Begun, format!("deleted to be made again: {id}, managed by {mark}"));
                let mark = &self.eyes.options.managed_by;
                if !self.ledger.begin_adoption(org, lease.fence, (key, team), begun, mark, self.now()).await?
                {
                    let why = "another organisation is writing this connection";
                    return failed(Trouble::new(Class::Transient, why));
                }
                let deleted = self.writer.delete(std::slice::from_ref(id), Some(lease.fence())).await;
                // Whatever the answer was: once it is gone, it has to be made again.
                let (Err(trouble), Ok(Some(_)) | Err(_)) = (deleted, self.by_id(id).await) else {
                    return Ok(None);
                };
                if !trouble.ambiguous {
                    let settlement = Settlement {
                        closed_intents: vec![key.clone()],
                        audit: vec![audit(AuditOutcome::Failed, trouble.message.clone())],
                        ..Settlement::default()
                    };
                    self.ledger.settle(lease.lane, lease.fence, &settlement, self.now()).await?;
                }
                failed(trouble)
            }
        }
    }

    async fn by_id(&self, id: &ConnectionId) -> Result<Option<Connection>, Trouble> {
        let filter = Filter { connection_ids: vec![id.to_string()], ..Filter::default() };
        let found = self.eyes.datadog.connections(&filter).await?;
        Ok(found.into_iter().find(|connection| connection.id == *id))
    }
}
