//! The guard: which steps of a plan wait for a person. Pure; the limits, what is held already and what was
//! approved are arguments.
//!
//! A removal is *held* when the removals of its organisation (waiting for their second look, held and planned
//! now, counted together) exceed a share or a number, when the window of removals of everybody is full, when
//! they would leave the organisation with no connection, when no change in GitHub caused it, or when its team is
//! protected, or when it is an orphan. What is held stays held until it is approved or no longer wanted, so that a second look cannot slip
//! under the limits one by one. A replacement takes nothing away and is never held. An approval lifts the limits,
//! never protection; proof is not the guard's business and cannot be lifted at all.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Action, Plan, Planned, RemovalCause, Why};
use crate::model::{ConnectionKey, HeldKey, HeldKind, Subject, TeamId, Time};

/// Why a removal is held that got no slot of the window.
pub(super) const WINDOW_IS_FULL: &str = "the removals of `guard.window` reach `guard.max_per_window`";

/// How much may be removed without a person.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Share of an organisation's connections.
    pub max_share: f64,
    /// The share counts only above this many connections.
    pub above: usize,
    /// Removals of an organisation.
    pub max_removals: usize,
}

/// What the guard has to know of an organisation beside the plan.
#[derive(Clone, Debug, Default)]
pub struct Population {
    /// Its connections that are ours, before the plan.
    pub owned: usize,
    /// Those of teams that one look found gone and whose second look is still to come.
    pub waiting: usize,
    /// What is held already, and why.
    pub held: BTreeMap<HeldKey, String>,
    /// What was approved and has not expired.
    pub approved: BTreeSet<HeldKey>,
}

/// A plan, parted into what may go ahead and what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Guarded {
    /// What may go ahead, and what the planner left alone.
    pub ready: Plan,
    /// What waits for a person, each with the reason.
    pub held: Vec<(Planned, String)>,
}

impl Guarded {
    /// The keys of removals that may go ahead without an approval: each takes a slot of the window.
    pub fn slots_needed(&self, approved: &BTreeSet<HeldKey>) -> Vec<Subject> {
        let removals = self.ready.actions.iter().filter(|planned| is_removal(planned));
        removals
            .filter_map(|planned| planned.action.held_key())
            .filter(|held| !approved.contains(held))
            .map(|held| held.subject)
            .collect()
    }

    /// Holds the removals that needed a slot and got none.
    pub fn within(mut self, needed: &[Subject], granted: &BTreeSet<Subject>) -> Self {
        let refused: BTreeSet<&Subject> = needed.iter().filter(|key| !granted.contains(key)).collect();
        let (stay, go) = std::mem::take(&mut self.ready.actions).into_iter().partition(|planned| {
            is_removal(planned)
                && planned.action.held_key().is_some_and(|held| refused.contains(&held.subject))
        });
        self.ready.actions = go;
        self.hold(stay, WINDOW_IS_FULL);
        self
    }

    /// An organisation's first pass: above `limit`, its creates wait for a person too.
    pub fn first_pass(mut self, limit: usize, approved: &BTreeSet<HeldKey>) -> Self {
        let is_create = |planned: &Planned| matches!(planned.action, Action::Create { .. });
        let creates = self.ready.actions.iter().filter(|planned| is_create(planned)).count();
        if creates <= limit {
            return self;
        }
        let (stay, go) = std::mem::take(&mut self.ready.actions).into_iter().partition(|planned| {
            is_create(planned) && planned.action.held_key().is_some_and(|held| !approved.contains(&held))
        });
        self.ready.actions = go;
        self.ready.keep_what_is_replaced(&stay);
        self.hold(
            stay,
            &format!("the {creates} creates of the org's first pass exceed `guard.first_creates` ({limit})"),
        );
        self
    }

    /// The connections whose grace has begun, and when: those that wait for its end, and those that it did not save
    /// but that wait for a person. `begun` is what was known of them.
    pub fn unwanted(&self, begun: &BTreeMap<ConnectionKey, Time>, now: Time) -> Vec<(ConnectionKey, Time)> {
        let steps = self.ready.actions.iter().chain(self.held.iter().map(|(planned, _)| planned));
        let over = steps.filter_map(|planned| match &planned.action {
            Action::Delete { key, cause: RemovalCause::Renamed { .. }, .. } => {
                Some((key.clone(), begun.get(key).copied().unwrap_or(now)))
            }
            _ => None,
        });
        self.ready.in_grace().map(|(_, key, since, _)| (key.clone(), since)).chain(over).collect()
    }

    /// What is held: how it is named, its team and the reason.
    pub fn held_items(&self) -> impl Iterator<Item = (HeldKey, Option<TeamId>, &str)> {
        self.held
            .iter()
            .filter_map(|(planned, reason)| Some((planned.action.held_key()?, planned.team, reason.as_str())))
    }

    /// Both of them. Neither counts towards the limits of the other.
    pub fn and(mut self, other: Self) -> Self {
        self.ready.actions.extend(other.ready.actions);
        self.ready.left_alone.extend(other.ready.left_alone);
        self.held.extend(other.held);
        self
    }

    /// Without what concerns these connections.
    pub fn without(mut self, keys: &BTreeSet<ConnectionKey>) -> Self {
        let other = |planned: &Planned| planned.action.key().is_none_or(|key| !keys.contains(key));
        self.ready.actions.retain(other);
        self.held.retain(|(planned, _)| other(planned));
        self.ready.left_alone.retain(|left| match &left.why {
            Why::Orphan { key, .. } | Why::Satisfied { key, .. } | Why::Policy { key } => !keys.contains(key),
            _ => true,
        });
        self
    }

    fn hold(&mut self, steps: Vec<Planned>, reason: &str) {
        self.held.extend(steps.into_iter().map(|planned| (planned, reason.to_owned())));
    }
}

/// Parts a plan. `protected` returns whether this connection of this team must never be deleted.
pub fn guard(
    plan: Plan,
    population: &Population,
    limits: &Limits,
    protected: impl Fn(Option<TeamId>, &ConnectionKey) -> bool,
) -> Guarded {
    let mut guarded =
        Guarded { ready: Plan { left_alone: plan.left_alone, ..Plan::default() }, held: Vec::new() };
    let mut candidates = Vec::new();
    for planned in plan.actions {
        match verdict(&planned, population, &protected) {
            Verdict::Ready => guarded.ready.actions.push(planned),
            Verdict::Held(reason) => guarded.held.push((planned, reason)),
            Verdict::Counted => candidates.push(planned),
        }
    }
    let waiting: Vec<Planned> = guarded.held.iter().map(|(planned, _)| planned.clone()).collect();
    guarded.ready.keep_what_is_replaced(&waiting);
    let held: BTreeSet<HeldKey> = population
        .held
        .keys()
        .filter(|held| held.kind == HeldKind::Delete && !population.approved.contains(held))
        .cloned()
        .chain(guarded.held_items().map(|(held, _, _)| held).filter(|held| held.kind == HeldKind::Delete))
        .collect();
    let removals = candidates.len() + held.len() + population.waiting;
    let share = population.owned as f64 * limits.max_share;
    if candidates.is_empty() {
        return guarded;
    }
    if removals > limits.max_removals {
        let reason = format!("{removals} removals exceed `guard.max_removals` ({})", limits.max_removals);
        guarded.hold(candidates, &reason);
    } else if population.owned > limits.above && removals as f64 > share {
        let reason = format!(
            "{removals} removals of {} connections exceed `guard.max_share` ({})",
            population.owned, limits.max_share
        );
        guarded.hold(candidates, &reason);
    } else if remaining(population.owned, &guarded.ready.actions, candidates.len()) == 0 {
        guarded.hold(candidates, "it would leave the org with no connection");
    } else {
        guarded.ready.actions.extend(candidates);
    }
    guarded
}

impl Plan {
    /// A connection that is to be replaced stays while its replacement is held: the team keeps one.
    fn keep_what_is_replaced(&mut self, held: &[Planned]) {
        let held: BTreeSet<Option<TeamId>> = held
            .iter()
            .filter(|planned| matches!(planned.action, Action::Create { .. }))
            .map(|planned| planned.team)
            .collect();
        self.actions.retain(|planned| {
            let replaced =
                matches!(&planned.action, Action::Delete { cause: RemovalCause::Replaced { .. }, .. });
            !(replaced && held.contains(&planned.team))
        });
    }
}

enum Verdict {
    /// May go ahead.
    Ready,
    /// Waits, whatever else is planned.
    Held(String),
    /// Depends on how many others there are.
    Counted,
}

fn verdict(
    planned: &Planned,
    population: &Population,
    protected: impl Fn(Option<TeamId>, &ConnectionKey) -> bool,
) -> Verdict {
    let Some(held) = planned.action.held_key() else { return Verdict::Ready };
    let known = population.held.get(&held).cloned();
    if !is_removal(planned) {
        return match known.filter(|_| held.kind == HeldKind::Create && !population.approved.contains(&held)) {
            Some(reason) => Verdict::Held(reason),
            None => Verdict::Ready,
        };
    }
    if let Some(key) = held.subject.connection()
        && protected(planned.team, key)
    {
        return Verdict::Held(format!("{} is protected by `policy.protected`", key.github));
    }
    if population.approved.contains(&held) {
        return Verdict::Ready;
    }
    if let Some(reason) = known {
        return Verdict::Held(reason);
    }
    if let Action::Delete { cause: RemovalCause::Rules, .. } = &planned.action {
        return Verdict::Held("no change in GitHub caused it".to_owned());
    }
    if let Action::Delete { cause: RemovalCause::Orphan { .. }, .. } = &planned.action {
        return Verdict::Held("it has our mark, but this ledger does not know it".to_owned());
    }
    Verdict::Counted
}

/// How many connections of ours an organisation has for certain after these steps and this many removals. A create may
/// be refused, and then what it would have replaced stays.
fn remaining(owned: usize, steps: &[Planned], removals: usize) -> usize {
    let (mut gained, mut lost) = (0, removals);
    for planned in steps {
        match planned.action {
            Action::Record { .. } => gained += 1,
            Action::Forget { .. } => lost += 1,
            Action::Delete { .. } if is_removal(planned) => lost += 1,
            Action::CreateTeam { .. }
            | Action::Create { .. }
            | Action::PassOn { .. }
            | Action::Delete { .. } => {}
        }
    }
    (owned + gained).saturating_sub(lost)
}

/// Whether a step takes a team's connection away for good.
fn is_removal(planned: &Planned) -> bool {
    match &planned.action {
        Action::Delete { cause: RemovalCause::Replaced { .. }, .. } => false,
        Action::Delete { .. } => true,
        Action::CreateTeam { .. }
        | Action::Create { .. }
        | Action::PassOn { .. }
        | Action::Record { .. }
        | Action::Forget { .. } => false,
    }
}
