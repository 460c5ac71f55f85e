//! Random worlds.

use proptest::prelude::*;

use super::*;

/// A random world: teams in any state, connections of anybody's, rules that map several teams to one.
fn worlds() -> impl Strategy<Value = World> {
    let state = prop_oneof![
        6 => Just(TeamState::Present),
        1 => Just(TeamState::Suspected { since: Time(0), second: None }),
        2 => Just(GONE),
    ];
    let teams = prop::collection::vec((0..8usize, state), 0..8);
    let connections = prop::collection::vec((0..9i64, 0..8usize, 0..8usize, 0..3u8), 0..12);
    let troubled = prop::collection::btree_set(1..9i64, 0..3);
    let rules = prop_oneof![
        Just(Vec::new()),
        Just(vec![RuleSpec::ignore("*/s1"), RuleSpec::handles("*/*", ["{slug}"])]),
        Just(vec![RuleSpec::handles("*/s*", ["s0", "{slug}"])]),
        Just(vec![RuleSpec::handles("*/s2", ["s5"])]),
    ];
    (teams, connections, troubled, rules, 4..8usize).prop_map(
        |(teams, connections, troubled, rules, handles)| {
            let mut world = World::agreeing(&[]);
            for (id, (slug, state)) in (1..).zip(teams) {
                world.teams.insert(TeamId(id), MirrorTeam { state, ..team(id, &format!("s{slug}")) });
            }
            (0..handles).for_each(|handle| world.datadog_team(&format!("s{handle}")));
            for (team, slug, handle, whose) in connections {
                let managed_by = if whose == 0 { "terraform" } else { "teamlink" };
                world.connect(team, &format!("s{slug}"), &format!("s{handle}"), managed_by);
                if whose == 1 {
                    world.owned.remove(&ConnectionKey::new(
                        dd(&format!("s{handle}")),
                        &GithubHandle::new("acme", &format!("s{slug}")),
                    ));
                }
            }
            world.troubled = troubled.into_iter().map(|id| (TeamId(id), "503".to_owned())).collect();
            world.rules = rules;
            world
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn after_a_plan_is_carried_out_there_is_nothing_left_to_plan(mut world in worlds()) {
        world.apply();
        // A row that is passed on may leave its old holder in want of its own.
        world.apply();
        let again = world.guarded();
        prop_assert!(!again.ready.writes(), "{:?}", again.ready.actions);
    }

    #[test]
    fn nothing_is_deleted_that_is_not_ours_not_proven_or_wanted_by_anybody(world in worlds()) {
        let mut after = world.clone();
        after.apply();
        for (key, connection) in &world.connections {
            if after.connections.contains_key(key) {
                continue;
            }
            let owned = world.owned.get(key);
            prop_assert!(owned.is_some_and(|owned| owned.id == connection.id), "{key} was not ours");
            let holder = &world.teams[&owned.unwrap().team];
            let moved = holder.state == TeamState::Present && GithubHandle::new("acme", &holder.facts.slug).key() != key.github;
            prop_assert!(moved || matches!(holder.state, TeamState::Gone { .. }), "{key} went without proof");
            prop_assert!(!world.troubled.contains_key(&holder.facts.id), "{key} of a team that was not read");
        }
        prop_assert!(world.owned.is_empty() || world.connections.is_empty() || !after.connections.is_empty());
    }
}
