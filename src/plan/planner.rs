//! The planner: what is, beside what should be, gives the steps between them. Total: every team of the scope ends
//! in an action, in agreement, or among what was left alone with the reason why.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{
    Action, Desired, Interrupted, LeftAlone, Mirror, Plan, Planned, RemovalCause, Wanted, Why,
    interrupted::NOT_ADOPTED,
};
use crate::model::{
    ConnectionKey, Connections, DatadogTeamId, MissingTeam, Mode, Owned, OwnedBy, Paused, TeamId, TeamState,
    Time,
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
    /// Creates and adoptions of ours whose end is unknown: if such a pair exists with our mark, it is ours.
    pub create_intents: BTreeMap<ConnectionKey, Interrupted>,
    /// Datadog teams of our rows that are gone: their ids answer 404, and the complete list lacks them.
    pub gone: BTreeSet<DatadogTeamId>,
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
    let mut of_team: HashMap<TeamId, Vec<&Owned>> = HashMap::new();
    for owned in actual.owned.values() {
        if scope.contains(&owned.team) {
            of_team.entry(owned.team).or_default().push(owned);
        }
    }
    let mut planner = Planner {
        desired,
        actual,
        policy,
        plan: Plan::default(),
        passed: BTreeSet::new(),
        created: BTreeSet::new(),
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
        let mut owned = of_team.remove(&team).unwrap_or_default();
        owned.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        match known.state {
            TeamState::Suspected { since } => planner.leave(team, Why::Suspected { since }),
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
                    planner.present(team, &known.facts.name, wanted, &owned);
                }
            }
        }
    }
    let mut plan = planner.without_paused();
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
}

impl Planner<'_> {
    fn leave(&mut self, team: TeamId, why: Why) {
        self.plan.left_alone.push(LeftAlone { team: Some(team), why });
    }

    pub(super) fn act(&mut self, team: TeamId, action: Action, reason: impl Into<String>) {
        self.plan.actions.push(Planned { team: Some(team), action, reason: reason.into() });
    }

    /// Takes away what concerns a paused team: each step for it, and each that would touch what it has. What
    /// only tells the ledger what is there already may go ahead.
    fn without_paused(mut self) -> Plan {
        let mut waiting: BTreeMap<TeamId, (Time, usize)> = BTreeMap::new();
        self.plan.actions.retain(|planned| {
            let key = match &planned.action {
                Action::CreateTeam { .. } => None,
                Action::Create { key, .. } | Action::Delete { key, .. } | Action::PassOn { key, .. } => {
                    Some(key)
                }
                Action::Record { .. } | Action::Forget { .. } => return true,
            };
            let holder = key.and_then(|key| self.actual.owned.get(key)).map(|row| row.team);
            let paused = self.policy.paused;
            let Some(team) = planned.team else { return true };
            let pause = paused.of(team).or_else(|| holder.and_then(|team| paused.of(team)));
            if let Some(pause) = pause {
                waiting.entry(team).or_insert((pause.since, 0)).1 += 1;
            }
            pause.is_none()
        });
        for (team, (since, steps)) in waiting {
            self.leave(team, Why::Paused { since, steps });
        }
        self.plan
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
        let row = self.actual.owned.get(&key);
        // Another connection may share the key: ours is the one with the row's id.
        let ours = row.and_then(|row| self.actual.connections.with_id(&key, &row.id));
        match (ours.or(self.actual.connections.at(&key).first()), row) {
            (Some(existing), Some(row)) if existing.id == row.id => {
                if row.team != team && self.passed.insert(key.clone()) {
                    let action = Action::PassOn { key, id: row.id.clone(), to: team };
                    self.act(team, action, format!("{github} is its handle now"));
                }
            }
            (Some(existing), row) => {
                let ours = existing.managed_by.as_deref() == Some(self.policy.managed_by);
                if ours && self.actual.create_intents.contains_key(&key) {
                    let action = Action::Record { key, id: existing.id.clone() };
                    self.act(team, action, "an interrupted create of ours had been carried out");
                    return;
                }
                let over = self.actual.create_intents.get(&key).filter(|create| create.over);
                if row.is_some() || over.is_some() {
                    let reason = if over.is_some_and(|create| create.adopts) {
                        NOT_ADOPTED
                    } else {
                        "somebody made the connection anew; it is no longer ours"
                    };
                    self.act(team, Action::Forget { key: key.clone() }, reason);
                }
                let owner = if ours { OwnedBy::Orphan } else { OwnedBy::Foreign };
                self.leave(team, Why::Satisfied { key, owner });
            }
            // It was only kept, because its handle resolves to nothing: it went with its Datadog team.
            (None, row) if !wanted.unresolved.is_empty() && self.actual.gone.contains(datadog_team) => {
                if row.is_some() {
                    self.act(team, Action::Forget { key }, "its Datadog team is gone");
                }
            }
            (None, _) => {
                let reason = format!("{github} has no connection with this Datadog team");
                self.act(team, Action::Create { key, github: github.clone() }, reason);
            }
        }
    }

    /// One owned row that its team does not want any more.
    fn remove(&mut self, row: &Owned, cause: RemovalCause) {
        let Some(existing) = self.actual.connections.with_id(&row.key, &row.id) else {
            let action = Action::Forget { key: row.key.clone() };
            self.act(row.team, action, "the connection is no longer in Datadog");
            return;
        };
        if let Some(&heir) = self.desired.wanted_keys.get(&row.key).filter(|&&heir| heir != row.team) {
            if self.passed.insert(row.key.clone()) {
                let action = Action::PassOn { key: row.key.clone(), id: row.id.clone(), to: heir };
                self.act(heir, action, format!("{} is its handle now", row.key.github));
            }
            return;
        }
        if existing.managed_by.as_deref() != Some(self.policy.managed_by) {
            let action = Action::Forget { key: row.key.clone() };
            self.act(row.team, action, "it no longer carries our mark");
            return;
        }
        if self.policy.mode == Mode::Upsert {
            self.leave(row.team, Why::Policy { key: row.key.clone() });
            return;
        }
        // A gone team had its two looks; a replaced connection leaves no gap; about rules a person decides.
        if let RemovalCause::Renamed { .. } = cause {
            let since = self.actual.unwanted_since.get(&row.key).copied().unwrap_or(self.policy.now);
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

fn removal_cause(row: &Owned, wanted: &Wanted) -> RemovalCause {
    if row.key.github == wanted.github_key {
        RemovalCause::Rules
    } else if wanted.datadog.is_empty() {
        RemovalCause::Renamed { to: wanted.github.clone() }
    } else {
        RemovalCause::Replaced { by: wanted.github.clone() }
    }
}
