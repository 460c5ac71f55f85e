//! The arithmetic of the limits, and how holds of the two kinds end.

use super::*;
use crate::model::{HeldKey, HeldKind, HoldReason, HoldRule};

const LIMITS: Limits = Limits { max_share: 0.3, above: 10, max_removals: 50 };

fn held_key(slug: &str) -> HeldKey {
    HeldKey::new(HeldKind::Delete, ConnectionKey::new(dd(slug), &GithubHandle::new("acme", slug)))
}

fn removal(slug: &str, cause: RemovalCause) -> Planned {
    let key = ConnectionKey::new(dd(slug), &GithubHandle::new("acme", slug));
    let action = Action::Delete { key, id: ConnectionId(format!("c-{slug}")), cause };
    Planned { team: Some(TeamId(1)), action, reason: String::new() }
}

fn gone(slug: &str) -> Planned {
    removal(slug, RemovalCause::TeamGone { since: Time(0), proven: Time(1) })
}

fn judged(actions: Vec<Planned>, population: &Population, limits: Limits) -> Guarded {
    guard(Plan { actions, ..Plan::default() }, population, &limits, |_, _| false)
}

/// How many of these removals go, in an organisation of that many connections.
fn go(removals: usize, population: &Population, limits: Limits) -> usize {
    let actions = (0..removals).map(|number| gone(&format!("s{number}"))).collect();
    judged(actions, population, limits).ready.actions.len()
}

fn rule_of(guarded: &Guarded) -> HoldRule {
    guarded.held[0].1.rule
}

#[test]
fn removals_done_within_the_window_count_in_both_figures() {
    let after = |removed| Population { owned: 30 - removed, removed, ..Population::default() };
    // 30 % of 30 connections are 9, whatever part of them is done already.
    assert_eq!([0, 4, 8].map(|done| go(9 - done, &after(done), LIMITS)), [9, 5, 1]);
    assert_eq!([0, 4, 8, 9].map(|done| go(10 - done, &after(done), LIMITS)), [0; 4]);
    let limits = Limits { max_removals: 5, max_share: 1.0, above: 0 };
    assert_eq!([0, 3, 4, 5].map(|done| go(1, &after(done), limits)), [1, 1, 1, 0]);
    // Ten connections of which one went are still above ten together with it.
    let population = Population { owned: 10, removed: 1, waiting: 2, ..Population::default() };
    assert_eq!(rule_of(&judged(vec![gone("a")], &population, LIMITS)), HoldRule::MaxShare);
    assert_eq!(go(1, &Population { owned: 10, waiting: 2, ..Population::default() }, LIMITS), 1);
}

#[test]
fn a_hold_by_a_limit_stays_and_a_hold_by_its_cause_is_judged_again() {
    let hold = |rule| Population {
        owned: 30,
        held: [(held_key("a"), HoldReason::new(rule, "as before"))].into(),
        ..Population::default()
    };
    for rule in HoldRule::ALL {
        let by_rules = judged(vec![removal("a", RemovalCause::Rules)], &hold(rule), LIMITS);
        let team_gone = judged(vec![gone("a")], &hold(rule), LIMITS);
        let to = GithubHandle::new("acme", "b");
        let renamed = judged(vec![removal("a", RemovalCause::Renamed { to })], &hold(rule), LIMITS);
        assert_eq!((by_rules.held.len(), renamed.held.len()), (1, 1), "{rule:?}");
        match rule {
            HoldRule::NotFromGithub | HoldRule::Orphan => {
                assert_eq!(rule_of(&by_rules), HoldRule::NotFromGithub);
                assert_eq!((rule_of(&renamed), team_gone.held.len()), (rule, 0));
            }
            _ => assert_eq!([&by_rules, &renamed, &team_gone].map(rule_of), [rule; 3]),
        }
    }
    let none = Limits { max_removals: 0, ..LIMITS };
    let again = judged(vec![gone("a")], &hold(HoldRule::NotFromGithub), none);
    assert_eq!(again.held[0].1.text, "1 removals exceed `guard.max_removals` (0)", "counted once");
}

#[test]
fn an_approval_lifts_either_kind_of_hold_and_no_protection() {
    for rule in HoldRule::ALL {
        let population = Population {
            held: [(held_key("a"), HoldReason::new(rule, "as before"))].into(),
            approved: [held_key("a")].into(),
            removed: 9,
            owned: 1,
            ..Population::default()
        };
        let none = Limits { max_share: 0.0, above: 0, max_removals: 0 };
        assert_eq!(judged(vec![removal("a", RemovalCause::Rules)], &population, none).held, []);
        let plan = Plan { actions: vec![gone("a")], ..Plan::default() };
        let protected = guard(plan, &population, &none, |_, key| key.github == "@acme/a");
        assert_eq!((protected.held.len(), protected.ready.actions.len()), (0, 0));
        assert!(matches!(protected.ready.left_alone[0].why, Why::Protected { .. }));
    }
}
