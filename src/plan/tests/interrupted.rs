//! Adoptions that were interrupted: before their delete arrived, after it, or after their create. And creates that may
//! arrive after the connection was made, and are gone.

use super::*;

/// An adoption of team 1's connection is under way, long ago or just now, and Datadog has deleted it already. No rule
/// wants it.
fn adopting(over: bool) -> World {
    let mut world = World::agreeing(&["a", "b"]);
    let key = ConnectionKey::new(dd("a"), &GithubHandle::new("acme", "a"));
    world.owned.remove(&key);
    world.connections.remove(&key);
    world.create_intents.insert(key, interrupted(true, over));
    let ignored = RuleSpec { github: "acme/a".into(), ignore: true, ..RuleSpec::default() };
    world.rules = vec![ignored, RuleSpec::handles("*/*", ["{slug}"])];
    world
}

#[test]
fn what_an_adoption_deleted_is_made_again_though_no_rule_wants_it() {
    for over in [false, true] {
        let mut world = adopting(over);
        assert_eq!(world.planned(), "1: create @acme/a = dd-a\nleft 1: Ignored\n");
        let Action::Create { github, .. } = &world.guarded().ready.actions[0].action else { panic!() };
        assert_eq!(github.as_str(), "@Acme/a", "as it is written at GitHub");
        world.mode = Mode::Upsert;
        assert!(world.planned().contains("create @acme/a"));
        world.rules.clear();
        assert!(world.planned().contains("1: create @acme/a = dd-a"), "wanted, it is one step all the same");
        assert_eq!(world.guarded().ready.actions.len(), 1);
    }
}

#[test]
fn what_an_adoption_made_again_is_recorded() {
    for over in [false, true] {
        let mut world = adopting(over);
        world.connect(1, "a", "a", "teamlink");
        world.owned.retain(|_, owned| owned.team != TeamId(1));
        assert_eq!(world.planned(), "1: record @acme/a = dd-a\nleft 1: Ignored\n");
    }
}

#[test]
fn an_adoption_whose_delete_can_arrive_no_more_is_forgotten_and_until_then_waited_for() {
    for rules in [adopting(true).rules, Vec::new()] {
        let mut world = adopting(false);
        world.rules = rules.clone();
        world.connect(1, "a", "a", "terraform");
        assert!(!world.planned().contains("forget"), "{}", world.planned());
        let mut world = adopting(true);
        world.rules = rules;
        world.connect(1, "a", "a", "terraform");
        assert!(world.planned().starts_with("1: forget @acme/a = dd-a"), "{}", world.planned());
        assert!(world.guarded().ready.actions[0].reason.contains("did not happen"));
    }
}

#[test]
fn nothing_is_made_again_for_a_team_that_is_gone_or_in_doubt() {
    let mut world = adopting(false);
    world.state(1, TeamState::Suspected { since: Time(0), second: None });
    assert_eq!(world.planned(), "left 1: Suspected\n");
    world.state(1, GONE);
    assert_eq!(world.planned(), "", "its create may still arrive");
    let mut world = adopting(true);
    world.state(1, GONE);
    insta::assert_snapshot!(world.planned(), @"1: forget @acme/a = dd-a");
    let mut world = adopting(true);
    world.rename(2, "a");
    assert!(!world.planned().contains("create"), "{}", world.planned());
    let mut world = adopting(false);
    world.gone.insert(dd("a"));
    assert!(
        world.planned().starts_with("1: forget @acme/a = dd-a"),
        "its Datadog team is gone: {}",
        world.planned()
    );
}

#[test]
fn a_begun_adoption_is_finished_under_a_pause_and_nothing_else_is_done() {
    for rules in [adopting(true).rules, Vec::new()] {
        let mut world = adopting(true);
        world.rules = rules;
        world.connect(1, "former", "b", "teamlink");
        world.paused.whole = Some(Pause { scope: PauseScope::All, since: Time(0), reason: String::new() });
        assert!(world.planned().contains("create @acme/a = dd-a"), "{}", world.planned());
        assert!(!world.planned().contains("delete"), "{}", world.planned());
    }
}

/// Team 1 is gone, and a create of its connection that was sent before the one that succeeded may arrive until 120 s.
fn arriving() -> (World, ConnectionKey) {
    let mut world = World::agreeing(&["a", "b"]);
    let key = ConnectionKey::new(dd("a"), &GithubHandle::new("acme", "a"));
    world.state(1, GONE);
    world.arriving.insert(key.clone(), Time(120_000_000));
    (world, key)
}

#[test]
fn nothing_is_removed_or_disowned_while_a_create_of_it_may_arrive() {
    let (mut world, key) = arriving();
    insta::assert_snapshot!(world.planned(), @"left 1: MayBeMade");
    let again: Vec<_> = world.guarded().ready.postponed().collect();
    assert_eq!(again, [(TeamId(1), Time(120_000_000))], "its team is looked at again then");
    // Somebody removed the connection.
    let connection = world.connections.remove(&key).unwrap();
    insta::assert_snapshot!(world.planned(), @"left 1: MayBeMade");
    world.arriving.clear();
    insta::assert_snapshot!(world.planned(), @"1: forget @acme/a = dd-a");
    world.connections.insert(key, connection);
    insta::assert_snapshot!(world.planned(), @"1: delete @acme/a = dd-a");
}

#[test]
fn a_removal_that_a_person_decides_about_is_held_though_a_create_may_arrive() {
    let (mut world, _) = arriving();
    world.state(1, TeamState::Present);
    world.rules = vec![RuleSpec { github: "acme/a".into(), ignore: true, ..RuleSpec::default() }];
    assert!(world.planned().contains("held 1: delete @acme/a = dd-a"), "{}", world.planned());
}

#[test]
fn a_row_and_a_create_stay_while_another_connection_has_their_key_and_the_create_may_arrive() {
    let (mut world, key) = arriving();
    world.state(1, TeamState::Present);
    world.connect(1, "a", "a", "terraform");
    world.connections.get_mut(&key).unwrap().id = "c-theirs".into();
    insta::assert_snapshot!(world.planned(), @r"
    left 1: MayBeMade
    left 1: Satisfied
    ");
    world.owned.remove(&key);
    world.state(1, GONE);
    world.create_intents.insert(key, interrupted(false, false));
    assert_eq!(world.planned(), "");
    world.arriving.clear();
    insta::assert_snapshot!(world.planned(), @"1: forget @acme/a = dd-a");
}

#[test]
fn a_create_that_was_sent_again_after_looks_missed_it_made_what_has_its_mark() {
    let mut world = World::agreeing(&["a", "b"]);
    let key = ConnectionKey::new(dd("a"), &GithubHandle::new("acme", "a"));
    world.owned.remove(&key);
    let answered =
        Some(crate::model::Answered { id: "missed".into(), at: Time(1), missed_at: Some(Time(2)) });
    for (repeated, planned) in [(false, "left 1: NotVisible\n"), (true, "1: record @acme/a = dd-a\n")] {
        let create = Interrupted { answered: answered.clone(), repeated, ..interrupted(false, false) };
        world.create_intents.insert(key.clone(), create);
        assert_eq!(world.planned(), planned);
    }
}

#[test]
fn a_create_is_sent_again_in_the_case_of_the_one_that_may_arrive() {
    let mut world = World::agreeing(&["a", "b"]);
    let key = ConnectionKey::new(dd("a"), &GithubHandle::new("acme", "a"));
    world.owned.remove(&key);
    world.connections.remove(&key);
    let written = Some(GithubHandle::new("ACME", "a"));
    world.create_intents.insert(key.clone(), Interrupted { written, ..interrupted(false, false) });
    let written = |world: &World| match &world.guarded().ready.actions[0].action {
        Action::Create { github, .. } => github.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(written(&world), "@Acme/a");
    world.arriving.insert(key, Time(120_000_000));
    assert_eq!(written(&world), "@ACME/a");
}
