//! The guard: which steps of a plan wait for a person. Pure; the limits, what is held already, what was approved and what
//! was removed within the window are arguments.
//!
//! The limits of an organisation count all its removals of the window together, however looks divide them: those done,
//! those that wait for their second look, those held, and those planned now. A removal that a person approved counts in
//! neither figure once it is done. A replacement isn't a removal and is never held. What it replaces is no longer counted
//! among the organisation's connections, unless the same plan makes the new one.
//!
//! To disown a row deletes nothing at Datadog, but loses what the row knew, and a wrong Datadog would make teamlink disown
//! every row. So `max_share` limits disowns too, counted separately, and the last row is held.
//!
//! A hold by a limit stays until it is approved or no longer wanted, so that a second look cannot slip under the limits
//! one by one. A hold by its cause is judged again at each look: once GitHub proves that the team is gone, the removal is
//! one like any other. An approval lifts the limits, never protection: what is protected is left alone and not held.
//! Proof is not the guard's business and cannot be lifted at all.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Action, LeftAlone, Plan, Planned, RemovalCause, Why};
use crate::model::{
    Again, ConnectionKey, HeldKey, HeldKind, HoldReason, HoldRule, Owned, RemovedByOthers, RuleKind, Subject,
    TeamId, Time,
};

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
    /// Those of its rows that are not among these, because deletes of ours have removed their connections, or may have.
    pub deleted: BTreeSet<ConnectionKey>,
    /// Its removals that were done within the window, but for those that a person approved.
    pub removed: usize,
    /// Those of teams that one look found gone and whose second look is still to come.
    pub waiting: usize,
    /// What is held already, and why.
    pub held: BTreeMap<HeldKey, HoldReason>,
    /// What was approved and has not expired.
    pub approved: BTreeSet<HeldKey>,
    /// Its connections that somebody else removed within a day.
    pub removed_by_others: BTreeMap<ConnectionKey, RemovedByOthers>,
    /// Rows that the plan disowns and whose connections are missing from Datadog, though neither a delete of ours nor the
    /// end of their Datadog team explains it.
    pub disowns: BTreeSet<ConnectionKey>,
    /// Such rows that were disowned within the window, but for those that a person approved.
    pub disowned: usize,
    /// When the look began.
    pub now: Time,
}

/// A plan, parted into what may go ahead and what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Guarded {
    /// What may go ahead, and what the planner left alone.
    pub ready: Plan,
    /// What waits for a person, each with the reason.
    pub held: Vec<(Planned, HoldReason)>,
    /// Connections of ours that this plan is the first to find removed by somebody else.
    #[serde(skip)]
    pub removed_by_others: Vec<Owned>,
    /// Rows that go ahead to be disowned and that count towards the limit.
    #[serde(skip)]
    pub disowns: BTreeSet<ConnectionKey>,
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
        self.hold(stay, &HoldReason::new(HoldRule::MaxPerWindow, WINDOW_IS_FULL));
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
        let why =
            format!("the {creates} creates of the org's first pass exceed `guard.first_creates` ({limit})");
        self.hold(stay, &HoldReason::new(HoldRule::FirstCreates, why));
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
    pub fn held_items(&self) -> impl Iterator<Item = (HeldKey, Option<TeamId>, &HoldReason)> {
        self.held
            .iter()
            .filter_map(|(planned, reason)| Some((planned.action.held_key()?, planned.team, reason)))
    }

    /// Both of them. Neither counts towards the limits of the other.
    pub fn and(mut self, other: Self) -> Self {
        self.ready.actions.extend(other.ready.actions);
        self.ready.left_alone.extend(other.ready.left_alone);
        self.held.extend(other.held);
        self.removed_by_others.extend(other.removed_by_others);
        self.disowns.extend(other.disowns);
        self
    }

    /// Puts off the removals that a create of ours would undo if it arrived after them. `arriving` are such creates, and until
    /// when. What is held stays held: a person sees it at once.
    pub fn keeping_what_may_be_made(mut self, arriving: &BTreeMap<ConnectionKey, Time>) -> Self {
        let until = |planned: &Planned| match &planned.action {
            Action::Delete { key, .. } => arriving.get(key).copied(),
            _ => None,
        };
        let (kept, go): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ready.actions).into_iter().partition(|planned| until(planned).is_some());
        self.ready.actions = go;
        self.ready.left_alone.extend(kept.into_iter().filter_map(|planned| {
            let (key, until) = (planned.action.key()?.clone(), until(&planned)?);
            Some(LeftAlone { team: planned.team, why: Why::MayBeMade { key, until } })
        }));
        self
    }

    /// Without what concerns these connections.
    pub fn without(mut self, keys: &BTreeSet<ConnectionKey>) -> Self {
        let other = |planned: &Planned| planned.action.key().is_none_or(|key| !keys.contains(key));
        self.ready.actions.retain(other);
        self.held.retain(|(planned, _)| other(planned));
        self.ready.left_alone.retain(|left| match &left.why {
            Why::Orphan { key, .. }
            | Why::Satisfied { key, .. }
            | Why::Policy { key }
            | Why::Protected { key }
            | Why::SomebodyRemoves { key, .. } => !keys.contains(key),
            _ => true,
        });
        self
    }

    fn hold(&mut self, steps: Vec<Planned>, reason: &HoldReason) {
        self.held.extend(steps.into_iter().map(|planned| (planned, reason.clone())));
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
        Guarded { ready: Plan { left_alone: plan.left_alone, ..Plan::default() }, ..Guarded::default() };
    let (mut candidates, mut disowns, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for planned in plan.actions {
        match verdict(&planned, population, &protected) {
            Verdict::Ready => guarded.ready.actions.push(planned),
            Verdict::Held(reason) => guarded.held.push((planned, reason)),
            Verdict::LeftAlone(why) => {
                guarded.ready.left_alone.push(LeftAlone { team: planned.team, why });
                waiting.push(planned);
            }
            Verdict::Counted => candidates.push(planned),
            Verdict::Disowns => disowns.push(planned),
        }
    }
    waiting.extend(guarded.held.iter().map(|(planned, _)| planned.clone()));
    guarded.ready.keep_what_is_replaced(&waiting);
    match disowns_too_many(&disowns, &guarded, population, limits) {
        Some(reason) => guarded.hold(disowns, &reason),
        None => {
            guarded.disowns = disowns.iter().filter_map(|planned| planned.action.key()).cloned().collect();
            guarded.ready.actions.extend(disowns);
        }
    }
    match over_a_limit(&candidates, &guarded, population, limits) {
        Some(reason) => guarded.hold(candidates, &reason),
        None => guarded.ready.actions.extend(candidates),
    }
    guarded
}

/// Returns the limit that these removals exceed together with all others of the organisation, if they exceed one.
fn over_a_limit(
    candidates: &[Planned],
    guarded: &Guarded,
    population: &Population,
    limits: &Limits,
) -> Option<HoldReason> {
    if candidates.is_empty() {
        return None;
    }
    let held = held_beside(candidates, HeldKind::Delete, guarded, population);
    let removals = candidates.len() + held + population.waiting + population.removed;
    let steps = &guarded.ready.actions;
    let recorded = steps.iter().filter(|it| matches!(it.action, Action::Record { .. })).count();
    let stay = (population.owned + recorded).saturating_sub(lost_to_replacement(steps));
    let of = stay + population.removed;
    if removals > limits.max_removals {
        let why = format!("{removals} removals exceed `guard.max_removals` ({})", limits.max_removals);
        Some(HoldReason::new(HoldRule::MaxRemovals, why))
    } else if limits.share_exceeded(removals, of) {
        let share = limits.max_share;
        let why = format!("{removals} removals of {of} connections exceed `guard.max_share` ({share})");
        Some(HoldReason::new(HoldRule::MaxShare, why))
    } else if remaining(population, &guarded.ready.actions, candidates.len()) == 0 {
        Some(HoldReason::new(HoldRule::LastConnection, "it would leave the org with no connection"))
    } else {
        None
    }
}

/// Returns the limit that these rows exceed together with all others that the organisation disowned within the window.
fn disowns_too_many(
    disowns: &[Planned],
    guarded: &Guarded,
    population: &Population,
    limits: &Limits,
) -> Option<HoldReason> {
    if disowns.is_empty() {
        return None;
    }
    let now = disowns.len() + held_beside(disowns, HeldKind::Disown, guarded, population);
    let (rows, of) = (now + population.disowned, population.owned + population.disowned);
    if limits.share_exceeded(rows, of) {
        let share = limits.max_share;
        let why = format!(
            "{rows} of our {of} connections are missing from Datadog, and nothing explains that: more than \
             `guard.max_share` ({share})"
        );
        Some(HoldReason::new(HoldRule::MaxShare, why))
    } else if remaining(population, &guarded.ready.actions, now) == 0 {
        let why = "all our connections in the org are missing from Datadog, and nothing explains that";
        Some(HoldReason::new(HoldRule::LastConnection, why))
    } else {
        None
    }
}

/// Counts what is held of this kind without an approval, but for these steps.
fn held_beside(steps: &[Planned], kind: HeldKind, guarded: &Guarded, population: &Population) -> usize {
    let now: BTreeSet<HeldKey> = steps.iter().filter_map(|planned| planned.action.held_key()).collect();
    let before = population.held.keys().filter(|held| !population.approved.contains(held)).cloned();
    let held: BTreeSet<HeldKey> = before
        .chain(guarded.held_items().map(|(held, _, _)| held))
        .filter(|held| held.kind == kind && !now.contains(held))
        .collect();
    held.len()
}

impl Limits {
    /// Whether so many of so many connections are more than the share.
    fn share_exceeded(&self, some: usize, of: usize) -> bool {
        of > self.above && some as f64 > of as f64 * self.max_share
    }
}

impl Plan {
    /// A connection that is to be replaced stays while its replacement waits: the team keeps one.
    pub fn keep_what_is_replaced(&mut self, waiting: &[Planned]) {
        let replaces = |it: &&Planned| matches!(it.action, Action::Create { .. } | Action::PassOn { .. });
        let waiting = waiting.iter().filter(replaces).filter_map(|planned| planned.team).collect();
        self.keep_replaced_of(&waiting);
    }

    /// What these teams have stays until what replaces it is there for certain.
    pub(super) fn keep_replaced_of(&mut self, teams: &BTreeSet<TeamId>) {
        self.actions.retain(|planned| {
            let replaced =
                matches!(&planned.action, Action::Delete { cause: RemovalCause::Replaced { .. }, .. });
            !(replaced && planned.team.is_some_and(|team| teams.contains(&team)))
        });
    }
}

enum Verdict {
    /// May go ahead.
    Ready,
    /// Waits, whatever else is planned.
    Held(HoldReason),
    /// Is not planned at all.
    LeftAlone(Why),
    /// A removal: depends on how many others there are.
    Counted,
    /// A row that is disowned: the same.
    Disowns,
}

fn verdict(
    planned: &Planned,
    population: &Population,
    protected: impl Fn(Option<TeamId>, &ConnectionKey) -> bool,
) -> Verdict {
    let Some(held) = planned.action.held_key() else { return Verdict::Ready };
    let approved = population.approved.contains(&held);
    let known = population.held.get(&held).filter(|_| !approved).cloned();
    let (key, cause) = match &planned.action {
        Action::Delete { key, cause, .. } => (key, cause),
        Action::Create { key, .. } if known.is_none() && !approved => return made_again(key, population),
        Action::Forget { key } if population.disowns.contains(key) && !approved => {
            return known.map_or(Verdict::Disowns, Verdict::Held);
        }
        Action::Forget { .. } => return Verdict::Ready,
        _ => return known.map_or(Verdict::Ready, Verdict::Held),
    };
    if !is_removal(planned) {
        return Verdict::Ready;
    }
    if protected(planned.team, key) {
        return Verdict::LeftAlone(Why::Protected { key: key.clone() });
    }
    if approved {
        return Verdict::Ready;
    }
    let by_a_limit = |reason: &HoldReason| reason.rule.kind() == RuleKind::Limit;
    match (cause, known) {
        (_, Some(reason)) if by_a_limit(&reason) => Verdict::Held(reason),
        (RemovalCause::Rules, _) => {
            Verdict::Held(HoldReason::new(HoldRule::NotFromGithub, "no change in GitHub caused it"))
        }
        (RemovalCause::Orphan { .. }, _) => {
            let why = "it has our mark, but this ledger does not know it";
            Verdict::Held(HoldReason::new(HoldRule::Orphan, why))
        }
        // A new name proves nothing about the rule that took the connection from the team under the old one.
        (RemovalCause::Renamed { .. }, Some(reason)) => Verdict::Held(reason),
        (
            RemovalCause::TeamGone { .. }
            | RemovalCause::OrgGone { .. }
            | RemovalCause::Renamed { .. }
            | RemovalCause::Replaced { .. },
            _,
        ) => Verdict::Counted,
    }
}

/// Judges a create of what somebody else may have removed again and again.
fn made_again(key: &ConnectionKey, population: &Population) -> Verdict {
    let Some(removals) = population.removed_by_others.get(key) else { return Verdict::Ready };
    let (key, times) = (key.clone(), removals.times());
    match removals.again(population.now) {
        Again::Now => Verdict::Ready,
        Again::At(until) => Verdict::LeftAlone(Why::SomebodyRemoves { key, times, until }),
        Again::Held => {
            let why = format!("somebody removes it: {times} times within a day");
            Verdict::Held(HoldReason::new(HoldRule::SecondWriter, why))
        }
    }
}

/// How many connections of ours an organisation has for certain after these steps and this many removals. A create may
/// be refused, and then what it would have replaced stays.
fn remaining(population: &Population, steps: &[Planned], removals: usize) -> usize {
    let (mut gained, mut lost) = (0, removals + lost_to_replacement(steps));
    for planned in steps {
        match &planned.action {
            Action::Record { .. } => gained += 1,
            Action::Forget { key } if population.deleted.contains(key) => {}
            Action::Forget { .. } => lost += 1,
            Action::Delete { .. } if is_removal(planned) => lost += 1,
            Action::CreateTeam { .. }
            | Action::Create { .. }
            | Action::PassOn { .. }
            | Action::Delete { .. } => {}
        }
    }
    (population.owned + gained).saturating_sub(lost)
}

/// Counts the replaced connections whose replacement these steps don't create: it was made before, or is somebody else's.
fn lost_to_replacement(steps: &[Planned]) -> usize {
    let mut by_team: BTreeMap<Option<TeamId>, (usize, usize)> = BTreeMap::new();
    for planned in steps {
        let (replaced, made) = by_team.entry(planned.team).or_default();
        match &planned.action {
            Action::Delete { cause: RemovalCause::Replaced { .. }, .. } => *replaced += 1,
            Action::Create { .. } => *made += 1,
            _ => {}
        }
    }
    by_team.into_values().map(|(replaced, made)| replaced.saturating_sub(made)).sum()
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
