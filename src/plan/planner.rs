//! The planner: what is, beside what should be, gives the steps between them. Total: every team of the scope ends
//! in an action, in agreement, or among what was left alone with the reason why.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{
    Action, Desired, Interrupted, LeftAlone, Mirror, Plan, Planned, RemovalCause, Wanted, Why,
    interrupted::NOT_ADOPTED, rows::RowsByTeam,
};
use crate::model::{
    Answered, Connection, ConnectionId, ConnectionKey, Connections, DatadogTeamId, GithubHandle, LISTS_LAG,
    MissingTeam, Mode, OrgId, Owned, OwnedBy, Paused, TeamId, TeamKey, TeamState, Time,
};

/// What exists in Datadog, and what the ledger says of it.
#[derive(Clone, Debug, Default)]
pub struct Actual {
    /// The connections that Datadog shows: at least those of every wanted pair and of every owned row in scope.
    pub connections: Connections,
    /// Our rows, of the whole organisation.
    pub owned: HashMap<ConnectionKey, Owned>,
    /// Those of them whose grace has begun, and when.
    pub unwanted_since: BTreeMap<ConnectionKey, Time>,
    /// Those of our rows that were recorded just now, and when: Datadog's lists may lack their connections still.
    pub young: BTreeMap<ConnectionKey, Time>,
    /// Creates and adoptions of ours whose end is unknown: if such a pair exists with our mark, it is ours.
    pub create_intents: BTreeMap<ConnectionKey, Interrupted>,
    /// Datadog teams of our rows that are gone: their ids answer 404, and the complete list lacks them.
    pub gone: BTreeSet<DatadogTeamId>,
    /// Deletes of ours that Datadog answered with success: its lists may still show the connections.
    pub deleted: BTreeMap<ConnectionKey, Answered>,
    /// Deletes of ours that nobody answered and that may still arrive, and when they were sent.
    pub unanswered: BTreeMap<ConnectionKey, Time>,
    /// Creates of ours that nobody answered and that may still arrive, and until when. What goes before that may be made
    /// again by them, as an orphan.
    pub arriving: BTreeMap<ConnectionKey, Time>,
    /// Answered creates that this look read by their ids and did not find.
    pub missing: BTreeSet<ConnectionId>,
    /// Rows of other organisations whose keys name teams under today's login.
    pub elsewhere: BTreeMap<ConnectionKey, (OrgId, Owned)>,
    /// Teams of other organisations that have the names in keys of our rows today.
    pub claims: BTreeMap<ConnectionKey, TeamKey>,
    /// Every mark that this ledger writes or has written under.
    pub own_marks: BTreeSet<String>,
}

impl Actual {
    /// Returns the connection that a row of ours stands for: the one with its id, or one with the mark that the row was
    /// made under, such as one that was made again without this ledger. A row of version 0.1.0 has no mark.
    pub(super) fn of_row(&self, row: &Owned) -> Option<&Connection> {
        let marked = |it: &&Connection| it.managed_by.is_some() && it.managed_by == row.managed_by;
        let by_id = self.connections.with_id(&row.key, &row.id);
        by_id.or_else(|| self.connections.at(&row.key).iter().find(marked))
    }

    /// Returns when a row was recorded whose connection Datadog's lists lack, but may show again: another list has shown it
    /// just now. Another connection with its key, and the end of its Datadog team, show that it is gone.
    fn row_not_visible(&self, row: &Owned) -> Option<Time> {
        let lacks = !self.connections.has(&row.key) && !self.gone.contains(&row.key.datadog_team);
        self.young.get(&row.key).copied().filter(|_| lacks)
    }

    /// Returns when Datadog answered the delete of this row's connection with success, while its lists may still show the
    /// connection. It counts as removed, and the delete is not sent again until then.
    pub fn delete_not_visible(&self, row: &Owned, now: Time) -> Option<Time> {
        let answered = self.deleted.get(&row.key).filter(|answered| answered.id == row.id)?;
        may_lag(answered.at, now).then_some(answered.at)
    }

    /// Returns since when a delete of ours may take this row's connection, though Datadog's lists show it. Until the end of
    /// that delete is known, the connection is nobody's.
    fn being_deleted(&self, row: &Owned, now: Time) -> Option<Time> {
        self.delete_not_visible(row, now).or_else(|| self.unanswered.get(&row.key).copied())
    }

    /// Whether a connection carries a mark of this ledger, today's or a former one.
    pub(super) fn has_own_mark(&self, connection: &Connection) -> bool {
        connection.managed_by.as_ref().is_some_and(|mark| self.own_marks.contains(mark))
    }
}

/// Plans for the teams in `scope`; the rest of the organisation only protects what it wants. `troubled` are the
/// teams that could not be read: nothing is decided about them.
pub fn plan(
    mirror: &Mirror,
    scope: &BTreeSet<TeamId>,
    desired: &Desired,
    actual: &Actual,
    troubled: &BTreeMap<TeamId, String>,
    policy: &Policy<'_>,
) -> Plan {
    let rows = RowsByTeam::new(actual.owned.values().filter(|owned| scope.contains(&owned.team)));
    let mut planner = Planner {
        desired,
        actual,
        policy,
        plan: Plan::default(),
        passed: BTreeSet::new(),
        created: BTreeSet::new(),
        unsure: BTreeSet::new(),
    };
    let mut interrupted: HashMap<TeamId, Vec<(&ConnectionKey, &Interrupted)>> = HashMap::new();
    for (key, create) in &actual.create_intents {
        interrupted.entry(create.team).or_default().push((key, create));
    }
    for &team in scope {
        if let Some(error) = troubled.get(&team) {
            planner.leave(team, Why::NotRead { error: error.clone() });
            continue;
        }
        let Some(known) = mirror.teams.get(&team) else { continue };
        for (key, create) in interrupted.get(&team).into_iter().flatten() {
            planner.unwanted_intent(known, key, create, &mirror.org.login);
        }
        let owned = rows.of(team);
        match known.state {
            TeamState::Suspected { since, .. } => planner.leave(team, Why::Suspected { since }),
            TeamState::Gone { since, proven } => {
                for row in owned {
                    planner.remove(row, RemovalCause::TeamGone { since, proven });
                }
            }
            TeamState::Present if desired.conflicts.contains(&team) => {
                planner.leave(team, Why::Conflict { slug: known.facts.slug.clone() });
            }
            TeamState::Present => {
                if let Some(wanted) = desired.teams.get(&team) {
                    planner.present(team, &known.facts.name, wanted, owned);
                }
            }
        }
    }
    let mut plan = planner.without_what_waits();
    plan.actions.sort_by_key(|planned| order(&planned.action));
    plan
}

/// What the operator allows.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// How far a plan may go.
    pub mode: Mode,
    /// What to do about handles that do not exist.
    pub missing_team: MissingTeam,
    /// Our `managed_by`.
    pub managed_by: &'a str,
    /// What a person has paused.
    pub paused: &'a Paused,
    /// The two looks at a connection that its team needs no more are at least this far apart.
    pub grace: Duration,
    /// When this look began.
    pub now: Time,
}

/// Creates go before deletes, so that a rename leaves no gap.
fn order(action: &Action) -> u8 {
    match action {
        Action::Record { .. } | Action::PassOn { .. } | Action::Forget { .. } => 0,
        Action::CreateTeam { .. } => 1,
        Action::Create { .. } => 2,
        Action::Delete { .. } => 3,
    }
}

pub(super) struct Planner<'a> {
    pub(super) desired: &'a Desired,
    pub(super) actual: &'a Actual,
    pub(super) policy: &'a Policy<'a>,
    plan: Plan,
    /// Keys that are passed on already: the team that lost one and the team that gains it may both be in scope.
    passed: BTreeSet<ConnectionKey>,
    /// Handles for which a Datadog team is created already.
    created: BTreeSet<String>,
    /// Teams of which nobody can tell yet whether a connection that they want will be theirs.
    unsure: BTreeSet<TeamId>,
}

impl Planner<'_> {
    pub(super) fn leave(&mut self, team: TeamId, why: Why) {
        self.plan.left_alone.push(LeftAlone { team: Some(team), why });
    }

    pub(super) fn act(&mut self, team: TeamId, action: Action, reason: impl Into<String>) {
        self.plan.actions.push(Planned { team: Some(team), action, reason: reason.into() });
    }

    /// Takes away what concerns a paused team: each step for it, and each that would touch what it has. What only tells the
    /// ledger what is there already may go ahead. A connection stays until the one that replaces it is there for certain.
    fn without_what_waits(mut self) -> Plan {
        let actions = std::mem::take(&mut self.plan.actions);
        let (paused, rest): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|planned| self.pause_of(planned).is_some());
        self.plan.actions = rest;
        self.plan.keep_what_is_replaced(&paused);
        self.plan.keep_replaced_of(&self.unsure);
        let mut waiting: BTreeMap<TeamId, (Time, usize)> = BTreeMap::new();
        for planned in &paused {
            if let (Some(team), Some(since)) = (planned.team, self.pause_of(planned)) {
                waiting.entry(team).or_insert((since, 0)).1 += 1;
            }
        }
        for (team, (since, steps)) in waiting {
            self.leave(team, Why::Paused { since, steps });
        }
        self.plan
    }

    /// Since when a step waits for the end of a pause, if it does.
    fn pause_of(&self, planned: &Planned) -> Option<Time> {
        let key = match &planned.action {
            Action::CreateTeam { .. } => None,
            Action::Create { key, .. } | Action::Delete { key, .. } | Action::PassOn { key, .. } => Some(key),
            Action::Record { .. } | Action::Forget { .. } => return None,
        };
        // A key whose login has moved must not be deleted for the team that had it: no pause waits for that.
        if planned.action.passes_between_organisations() {
            return None;
        }
        // Somebody's connection is gone until ours is made: what a person began before the pause is finished.
        let adopts = |key| self.actual.create_intents.get(key).is_some_and(|intent| intent.adopts);
        if matches!(&planned.action, Action::Create { key, .. } if adopts(key)) {
            return None;
        }
        let paused = self.policy.paused;
        let holder = key.and_then(|key| self.actual.owned.get(key)).map(|row| row.team);
        let pause = paused.of(planned.team?).or_else(|| paused.of(holder?));
        pause.map(|pause| pause.since)
    }

    /// A team that GitHub shows.
    fn present(&mut self, team: TeamId, name: &str, wanted: &Wanted, owned: &[&Owned]) {
        if wanted.ignored {
            self.leave(team, Why::Ignored);
        } else if wanted.rule.is_none() {
            self.leave(team, Why::Unmapped);
        }
        if !wanted.unresolved.is_empty() {
            self.leave(team, Why::NoSuchHandle { handles: wanted.unresolved.clone() });
            if self.policy.missing_team == MissingTeam::Create && wanted.list_complete && owned.is_empty() {
                // Several teams may be mapped to one handle: it is created for the first of them.
                let unresolved = wanted.unresolved.iter();
                for handle in
                    unresolved.filter(|handle| self.created.insert((*handle).clone())).collect::<Vec<_>>()
                {
                    let action = Action::CreateTeam { handle: handle.clone(), name: name.to_owned() };
                    self.act(team, action, "its rule names a handle that Datadog does not have");
                }
            }
        }
        for datadog_team in &wanted.datadog {
            self.want(team, datadog_team, wanted);
        }
        for row in owned {
            let keeps = row.key.github == wanted.github_key && wanted.datadog.contains(&row.key.datadog_team);
            if !keeps {
                self.remove(row, removal_cause(row, wanted));
            }
        }
    }

    /// One wanted pair.
    fn want(&mut self, team: TeamId, datadog_team: &DatadogTeamId, wanted: &Wanted) {
        let github = &wanted.github;
        let key = ConnectionKey { datadog_team: datadog_team.clone(), github: wanted.github_key.clone() };
        let (at, row) = (self.actual.connections.at(&key), self.actual.owned.get(&key));
        // Another connection may share the key: ours is the one with the row's id.
        if let Some(row) = row.filter(|row| self.actual.connections.with_id(&key, &row.id).is_some()) {
            if let Some(since) = self.actual.being_deleted(row, self.policy.now) {
                self.not_visible(team, key, since);
            } else if row.team != team && self.passed.insert(key.clone()) {
                let action = Action::pass_on(key, row.id.clone(), team);
                self.act(team, action, format!("{github} is its handle now"));
            }
            return;
        }
        if let Some(since) = row.and_then(|row| self.actual.row_not_visible(row)) {
            self.not_visible(team, key, since);
            return;
        }
        if let Some((from, row)) = self.actual.elsewhere.get(&key)
            && self.actual.of_row(row).is_some()
        {
            // Whether the row passes, its organisation's own writes decide: what it would replace stays until then.
            self.unsure.insert(team);
            let (id, from_org) = (row.id.clone(), Some(*from));
            let action = Action::PassOn { key, id, to: team, from_org, to_org: None };
            self.act(team, action, format!("{github} is its handle now; org {from} had this login before"));
            return;
        }
        let intent = self.actual.create_intents.get(&key);
        if let Some(intent) = intent {
            if let Some(made) = self.made(&key, intent) {
                let action = Action::Record { key, id: made.id.clone() };
                self.act(team, action, "an interrupted create of ours had been carried out");
                return;
            }
            if let Some(since) = self.create_not_visible(intent) {
                self.not_visible(team, key, since);
                return;
            }
        }
        if let Some(again) = row.and_then(|row| self.actual.of_row(row)) {
            self.record_again(team, key, again);
            return;
        }
        match at.first() {
            Some(existing) => self.satisfied(team, key, existing),
            // It was only kept, because its handle resolves to nothing: it went with its Datadog team.
            None if !wanted.unresolved.is_empty() && self.actual.gone.contains(datadog_team) => {
                if row.is_some() {
                    self.act(team, Action::Forget { key }, "its Datadog team is gone");
                }
            }
            None => {
                let reason = format!("{github} has no connection with this Datadog team");
                let github = self.as_written(&key, github.clone());
                self.act(team, Action::Create { key, github }, reason);
            }
        }
    }

    /// Returns the GitHub team as a create of it is written now: in the same case as one that may still arrive, so that
    /// Datadog takes the two for one connection.
    pub(super) fn as_written(&self, key: &ConnectionKey, github: GithubHandle) -> GithubHandle {
        let arrives = self.actual.arriving.contains_key(key);
        let before = self.actual.create_intents.get(key).filter(|_| arrives);
        before.and_then(|create| create.written.clone()).unwrap_or(github)
    }

    /// A wanted pair that a connection has which is not ours.
    fn satisfied(&mut self, team: TeamId, key: ConnectionKey, existing: &Connection) {
        let over = self.actual.create_intents.get(&key).filter(|create| create.over);
        if self.actual.owned.contains_key(&key) || over.is_some() {
            let reason = if over.is_some_and(|create| create.adopts) {
                NOT_ADOPTED
            } else {
                "somebody made the connection anew; it is no longer ours"
            };
            match self.actual.arriving.get(&key) {
                Some(&until) => self.leave(team, Why::MayBeMade { key: key.clone(), until }),
                None => self.act(team, Action::Forget { key: key.clone() }, reason),
            }
        }
        let ours = self.actual.has_own_mark(existing);
        let owner = if ours { OwnedBy::Orphan } else { OwnedBy::Foreign };
        self.leave(team, Why::Satisfied { key, owner });
    }

    /// Whether a wanted connection is there, Datadog's lists cannot tell yet: what it would replace stays.
    fn not_visible(&mut self, team: TeamId, key: ConnectionKey, since: Time) {
        self.unsure.insert(team);
        self.leave(team, Why::NotVisible { key, since });
    }

    /// Our row takes the id of a connection with its mark. The next plan goes on from there.
    fn record_again(&mut self, team: TeamId, key: ConnectionKey, again: &Connection) {
        // The team that lost the key and the team that gains it may both be in scope.
        if self.passed.insert(key.clone()) {
            let action = Action::Record { key, id: again.id.clone() };
            self.act(team, action, "somebody made the connection again under the mark of our row");
        }
    }

    /// One owned row that its team does not want any more, and whose connection is not there.
    fn missing(&mut self, row: &Owned) {
        let key = row.key.clone();
        // A later create of the pair may have been carried out: what becomes of its intent decides about the row.
        if self.actual.create_intents.contains_key(&key) {
            return;
        }
        if let Some(again) = self.actual.of_row(row) {
            self.record_again(row.team, key, again);
        } else if let Some(since) = self.actual.row_not_visible(row) {
            self.leave(row.team, Why::NotVisible { key, since });
        } else if let Some(&until) = self.actual.arriving.get(&key) {
            self.leave(row.team, Why::MayBeMade { key, until });
        } else {
            self.act(row.team, Action::Forget { key }, "the connection is no longer in Datadog");
        }
    }

    /// One owned row that its team does not want any more.
    fn remove(&mut self, row: &Owned, cause: RemovalCause) {
        if self.actual.connections.with_id(&row.key, &row.id).is_none() {
            self.missing(row);
            return;
        }
        if let Some(since) = self.actual.delete_not_visible(row, self.policy.now) {
            self.leave(row.team, Why::NotVisible { key: row.key.clone(), since });
            return;
        }
        let wants = self.desired.wanted_keys.get(&row.key);
        let heir = match cause {
            // Whoever has the handle now gets the connection, wanted or not: about one that names a team which is there,
            // a person decides.
            RemovalCause::TeamGone { .. } | RemovalCause::Renamed { .. } => {
                wants.or_else(|| self.desired.holders.get(&row.key.github))
            }
            RemovalCause::Replaced { .. }
            | RemovalCause::Rules
            | RemovalCause::OrgGone { .. }
            | RemovalCause::Orphan { .. } => wants,
        };
        if let Some(&heir) = heir.filter(|&&heir| heir != row.team) {
            if let Some(since) = self.actual.being_deleted(row, self.policy.now) {
                self.leave(row.team, Why::NotVisible { key: row.key.clone(), since });
            } else if self.passed.insert(row.key.clone()) {
                let action = Action::pass_on(row.key.clone(), row.id.clone(), heir);
                self.act(heir, action, format!("{} is its handle now", row.key.github));
            }
            return;
        }
        if let Some(TeamKey { org, team }) = self.actual.claims.get(&row.key) {
            let (key, id, to_org) = (row.key.clone(), row.id.clone(), Some(*org));
            let reason = format!("{} is the handle of a team of org {org} now", key.github);
            self.act(row.team, Action::PassOn { key, id, to: *team, from_org: None, to_org }, reason);
            return;
        }
        if self.policy.mode == Mode::Upsert {
            self.leave(row.team, Why::Policy { key: row.key.clone() });
            return;
        }
        // A gone team had its two looks; a replaced connection leaves no gap; about rules a person decides.
        if let RemovalCause::Renamed { .. } = cause {
            // One that began ahead of the clock, which was set back since, begins again.
            let since = self.actual.unwanted_since.get(&row.key).copied();
            let since = since.filter(|since| *since <= self.policy.now).unwrap_or(self.policy.now);
            let until = since + self.policy.grace;
            if until > self.policy.now {
                self.leave(row.team, Why::Grace { key: row.key.clone(), since, until });
                return;
            }
        }
        let reason = cause.reason();
        self.act(row.team, Action::Delete { key: row.key.clone(), id: row.id.clone(), cause }, reason);
    }
}

/// How long Datadog's lists may lag behind a write that was answered with success.
pub const VISIBLE_WITHIN: Duration = Duration::from_secs(600);

impl Planner<'_> {
    /// Returns the connection that an interrupted create of ours made: the one with the id in Datadog's answer, or, where an
    /// answer was lost, one with the mark of the create.
    pub(super) fn made(&self, key: &ConnectionKey, intent: &Interrupted) -> Option<&Connection> {
        let mark = intent.managed_by.as_deref().unwrap_or(self.policy.managed_by);
        self.actual.connections.at(key).iter().find(|connection| match &intent.answered {
            Some(answered) if answered.id == connection.id => true,
            Some(_) if !intent.repeated => false,
            Some(_) | None => connection.managed_by.as_deref() == Some(mark),
        })
    }

    /// Returns when Datadog answered a create of ours with 201, while its lists may lag behind that. The create is not
    /// sent again until then.
    pub(super) fn create_not_visible(&self, intent: &Interrupted) -> Option<Time> {
        let answered = intent.answered.as_ref()?;
        let missed_twice = self.actual.missing.contains(&answered.id)
            && answered.missed_at.is_some_and(|at| at + self.policy.grace.max(LISTS_LAG) <= self.policy.now);
        (may_lag(answered.at, self.policy.now) && !missed_twice).then_some(answered.at)
    }
}

/// Whether Datadog's lists may lag behind a write that it answered with success at this time.
fn may_lag(answered_at: Time, now: Time) -> bool {
    // An answer from the future was stored before the clock was set back.
    (answered_at..answered_at + VISIBLE_WITHIN).contains(&now)
}

fn removal_cause(row: &Owned, wanted: &Wanted) -> RemovalCause {
    if row.key.github == wanted.github_key {
        RemovalCause::Rules
    } else if wanted.datadog.is_empty() {
        RemovalCause::Renamed { to: wanted.github.clone() }
    } else {
        RemovalCause::Replaced { by: wanted.github.clone() }
    }
}
