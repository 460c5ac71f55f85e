//! The arithmetic of the limits, and how holds of the two kinds end.

use super::*;
use crate::model::{Answered, HeldKey, HeldKind, HoldReason, HoldRule, RemovedByOthers, RuleKind};

const LIMITS: Limits = Limits { max_share: 0.3, above: 10, max_removals: 50 };

fn held_key(slug: &str) -> HeldKey {
    HeldKey::new(HeldKind::Delete, ConnectionKey::new(dd(slug), &GithubHandle::new("acme", slug)))
}

fn removal(slug: &str, cause: RemovalCause) -> Planned {
    let key = ConnectionKey::new(dd(slug), &GithubHandle::new("acme", slug));
    let action = Action::Delete { key, id: ConnectionId::from(format!("c-{slug}")), cause };
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
fn what_something_else_than_a_new_connection_of_ours_replaces_is_no_longer_counted() {
    let github = GithubHandle::new("acme", "new");
    let new = github.clone();
    let replaced = removal("a", RemovalCause::Replaced { by: github.clone() });
    let gone = Planned { team: Some(TeamId(2)), ..gone("b") };
    let create = Planned {
        team: Some(TeamId(1)),
        action: Action::Create { key: ConnectionKey::new(dd("a"), &github), github },
        reason: String::new(),
    };
    let held = |steps: &[&Planned], owned, max_share| {
        let population = Population { owned, ..Population::default() };
        let limits = Limits { max_share, above: 0, max_removals: 50 };
        let guarded = judged(steps.iter().map(|&step| step.clone()).collect(), &population, limits);
        guarded.held.first().map(|(_, reason)| reason.rule)
    };
    // Somebody else's connection stands for the team of `a`: of the two, `b` is the last.
    assert_eq!(held(&[&replaced, &gone], 2, 1.0), Some(HoldRule::LastConnection));
    assert_eq!(held(&[&replaced, &gone], 2, 0.5), Some(HoldRule::MaxShare));
    // An earlier look made the new one: it and `b` are left.
    assert_eq!(held(&[&replaced, &gone], 3, 0.5), None);
    assert_eq!(held(&[&replaced, &gone], 3, 0.4), Some(HoldRule::MaxShare));
    // This one makes it, or finds that an interrupted look has made it.
    assert_eq!(held(&[&create, &replaced, &gone], 2, 0.5), None);
    let key = ConnectionKey::new(dd("a"), &new);
    let action = Action::Record { key, id: "made".into() };
    let record = Planned { team: Some(TeamId(1)), action, reason: String::new() };
    assert_eq!(held(&[&record, &replaced, &gone], 2, 0.5), None);
}

#[test]
fn a_row_whose_delete_was_interrupted_is_lost_once() {
    let limits = Limits { max_share: 1.0, above: 0, max_removals: 50 };
    let forgotten = held_key("a").subject.connection().unwrap().clone();
    let action = Action::Forget { key: forgotten.clone() };
    let forget = Planned { team: Some(TeamId(1)), action, reason: String::new() };
    // Of `a`, `b` and `c`, the first went, and the second is to go.
    let population =
        Population { owned: 2, removed: 1, deleted: [forgotten].into(), ..Population::default() };
    let steps = vec![forget, gone("b")];
    assert_eq!(judged(steps.clone(), &population, limits).ready.actions.len(), 2);
    let last = Population { owned: 1, ..population };
    assert_eq!(rule_of(&judged(steps, &last, limits)), HoldRule::LastConnection);
}

#[test]
fn rows_that_nothing_explains_are_disowned_up_to_the_share_and_never_all_of_them() {
    let key = |slug: &str| held_key(slug).subject.connection().unwrap().clone();
    let forget = |slug: &str| Planned {
        team: Some(TeamId(1)),
        action: Action::Forget { key: key(slug) },
        reason: String::new(),
    };
    let slugs: Vec<String> = (0..10).map(|number| format!("s{number}")).collect();
    let forgets = |count: usize| slugs.iter().take(count).map(|slug| forget(slug)).collect::<Vec<_>>();
    let unexplained = |owned, disowned| Population {
        owned,
        disowned,
        disowns: slugs.iter().map(|slug| key(slug)).collect(),
        ..Population::default()
    };
    // 30 % of 30 connections are 9, whatever part of them is done already.
    assert_eq!(judged(forgets(9), &unexplained(30, 0), LIMITS).disowns.len(), 9);
    for (count, done) in [(10, 0), (9, 1), (1, 9)] {
        let held = judged(forgets(count), &unexplained(30 - done, done), LIMITS);
        assert_eq!((rule_of(&held), held.held.len(), held.disowns.len()), (HoldRule::MaxShare, count, 0));
    }
    // What a delete of ours, or the end of a Datadog team, explains.
    let explained = Population { owned: 30, ..Population::default() };
    let go = judged(forgets(10), &explained, LIMITS);
    assert_eq!((go.ready.actions.len(), go.disowns.len()), (10, 0));
    // The last one waits at any size, and what is held of the others counts.
    assert_eq!(judged(forgets(1), &unexplained(2, 0), LIMITS).disowns.len(), 1);
    assert_eq!(rule_of(&judged(forgets(2), &unexplained(2, 0), LIMITS)), HoldRule::LastConnection);
    let before = HeldKey::new(HeldKind::Disown, key("before"));
    let reason = HoldReason::new(HoldRule::LastConnection, "as before");
    let held = [(before, reason.clone())].into();
    let beside = judged(forgets(1), &Population { held, ..unexplained(2, 0) }, LIMITS);
    assert_eq!(rule_of(&beside), HoldRule::LastConnection);
    // A removal counts a row that goes at once.
    let both = vec![forget("s0"), gone("b")];
    let one = judged(both, &unexplained(2, 0), Limits { max_share: 1.0, ..LIMITS });
    assert_eq!((one.disowns.len(), rule_of(&one)), (1, HoldRule::LastConnection));
    // A hold stays until it is approved.
    let first = HeldKey::new(HeldKind::Disown, key("s0"));
    let held = Population { held: [(first.clone(), reason)].into(), ..unexplained(30, 0) };
    assert_eq!(judged(forgets(1), &held, LIMITS).held.len(), 1);
    let approved = Population { approved: [first].into(), ..held };
    let go = judged(forgets(1), &approved, LIMITS);
    assert_eq!((go.ready.actions.len(), go.disowns.len()), (1, 0), "an approved one counts no more");
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
        match rule.kind() {
            RuleKind::Cause => {
                assert_eq!(rule_of(&by_rules), HoldRule::NotFromGithub);
                assert_eq!((rule_of(&renamed), team_gone.held.len()), (rule, 0));
            }
            RuleKind::Limit => assert_eq!([&by_rules, &renamed, &team_gone].map(rule_of), [rule; 3]),
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

#[test]
fn a_create_that_somebody_undoes_again_and_again_waits_and_what_it_would_replace_stays() {
    let github = GithubHandle::new("acme", "b");
    let key = ConnectionKey::new(dd("b"), &github);
    let steps = [
        Planned {
            team: Some(TeamId(1)),
            action: Action::Create { key: key.clone(), github: github.clone() },
            reason: String::new(),
        },
        removal("a", RemovalCause::Replaced { by: github }),
    ];
    let row = Owned { key: key.clone(), id: "last".into(), team: TeamId(1), managed_by: None };
    let actual = Actual { owned: [(key.clone(), row.clone())].into(), ..Actual::default() };
    let plan = Plan { actions: steps.to_vec(), ..Plan::default() };
    assert_eq!(missing_connections(&plan, &actual), [row]);
    let judge = |times: usize, approved: &[HeldKey]| {
        let at = |number: usize| (ConnectionId::from(number.to_string()), Time(0));
        let removals = RemovedByOthers { connections: (0..times).map(at).collect() };
        let population = Population {
            removed_by_others: [(key.clone(), removals)].into(),
            approved: approved.iter().cloned().collect(),
            ..Population::default()
        };
        let guarded = judged(steps.to_vec(), &population, LIMITS).disowning_what_waits(&actual);
        let actions: Vec<StepKey> = guarded.ready.actions.iter().map(|step| step.action.step()).collect();
        (actions, guarded.held.len(), guarded.ready.postponed().count())
    };
    let both: Vec<StepKey> = steps.iter().map(|step| step.action.step()).collect();
    assert_eq!(judge(2, &[]), (both.clone(), 0, 0));
    assert_eq!(judge(3, &[]), (vec![StepKey::Forget(key.clone())], 0, 1));
    assert_eq!(judge(6, &[]), (vec![StepKey::Forget(key.clone())], 1, 0));
    assert_eq!(judge(6, &[HeldKey::new(HeldKind::Create, key.clone())]), (both, 0, 0));
}

#[test]
fn an_answered_create_that_two_looks_missed_was_removed_by_somebody_and_is_disowned_while_it_waits() {
    let github = GithubHandle::new("acme", "b");
    let key = ConnectionKey::new(dd("b"), &github);
    let create = Planned {
        team: Some(TeamId(1)),
        action: Action::Create { key: key.clone(), github },
        reason: String::new(),
    };
    let plan = Plan { actions: vec![create.clone()], ..Plan::default() };
    let actual = |missed_at: Option<Time>, missing: bool, answered: bool| {
        let answered = answered.then(|| Answered { id: "made".into(), at: Time(0), missed_at });
        let intent = Interrupted { answered, ..interrupted(false, false) };
        let missing = missing.then(|| "made".into()).into_iter().collect();
        Actual { create_intents: [(key.clone(), intent)].into(), missing, ..Actual::default() }
    };
    let missed_twice = actual(Some(Time(1)), true, true);
    let made = Owned { key: key.clone(), id: "made".into(), team: TeamId(1), managed_by: None };
    assert_eq!(missing_connections(&plan, &missed_twice), [made]);
    let once = [actual(None, true, true), actual(Some(Time(1)), false, true)];
    for actual in once {
        assert_eq!(missing_connections(&plan, &actual), []);
    }
    let waits = |actual: &Actual| {
        let held = (create.clone(), HoldReason::new(HoldRule::SecondWriter, String::new()));
        let guarded = Guarded { held: vec![held], ..Guarded::default() }.disowning_what_waits(actual);
        guarded.ready.actions.iter().map(|step| step.action.step()).collect::<Vec<_>>()
    };
    assert_eq!(waits(&missed_twice), [StepKey::Forget(key.clone())]);
    let row = Owned { key: key.clone(), id: "last".into(), team: TeamId(1), managed_by: None };
    let arriving = [(key.clone(), Time(9))].into();
    let owned = Actual { owned: [(key.clone(), row)].into(), arriving, ..actual(None, false, false) };
    assert_eq!(waits(&owned), [], "a create that may still arrive is not forgotten");
}
