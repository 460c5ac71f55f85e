//! The guard: which steps of a plan wait for a person.
//!
//! For now it stops three kinds of removal: one that no GitHub change caused, one of a protected team, and
//! those that together would leave an organisation without a connection. A replacement is no removal, since the
//! team stays connected.

use serde::Serialize;

use super::{Action, Plan, Planned, RemovalCause};

/// A plan, parted into what may go ahead and what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Guarded {
    /// What may go ahead, and what the planner left alone.
    pub ready: Plan,
    /// What waits for a person, each with the reason.
    pub held: Vec<(Planned, String)>,
}

/// Parts a plan. `owned` is how many connections of the organisation are ours before it; `protected` says which
/// `org/slug` must never be unlinked.
pub fn guard(plan: Plan, owned: usize, protected: impl Fn(&str) -> bool) -> Guarded {
    let mut guarded =
        Guarded { ready: Plan { left_alone: plan.left_alone, ..Plan::default() }, held: Vec::new() };
    for planned in plan.actions {
        match held_alone(&planned, &protected) {
            Some(reason) => guarded.held.push((planned, reason)),
            None => guarded.ready.actions.push(planned),
        }
    }
    let actions = &guarded.ready.actions;
    let lost = actions
        .iter()
        .filter(|planned| matches!(planned.action, Action::Delete { .. } | Action::Forget { .. }))
        .count();
    let gained = actions
        .iter()
        .filter(|planned| matches!(planned.action, Action::Create { .. } | Action::Record { .. }))
        .count();
    if (owned + gained).saturating_sub(lost) == 0 {
        let (stay, go): (Vec<_>, Vec<_>) =
            std::mem::take(&mut guarded.ready.actions).into_iter().partition(is_removal);
        guarded.ready.actions = go;
        guarded.held.extend(
            stay.into_iter().map(|planned| (planned, "it would leave the org with no connection".to_owned())),
        );
    }
    guarded
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

/// Why a removal is held whatever else is planned.
fn held_alone(planned: &Planned, protected: impl Fn(&str) -> bool) -> Option<String> {
    let Action::Delete { key, cause, .. } = &planned.action else { return None };
    if !is_removal(planned) {
        return None;
    }
    if protected(key.github.trim_start_matches('@')) {
        return Some(format!("{} is protected by `policy.protected`", key.github));
    }
    matches!(cause, RemovalCause::Rules).then(|| "no change in GitHub caused it".to_owned())
}
