//! A connection is ours by the id in our row, or by the mark that the row was made under.

use super::*;

/// Team 1's connection was made again by somebody, under this mark.
fn made_again(managed_by: &str) -> (World, ConnectionKey) {
    let mut world = World::agreeing(&["a", "b"]);
    let key = ConnectionKey::new(dd("a"), &GithubHandle::new("Acme", "a"));
    let connection = world.connections.get_mut(&key).unwrap();
    (connection.id, connection.managed_by) = (ConnectionId::from("again"), Some(managed_by.into()));
    (world, key)
}

#[test]
fn a_connection_with_the_mark_of_our_row_is_ours_whatever_its_id() {
    let (mut world, key) = made_again("teamlink");
    insta::assert_snapshot!(world.planned(), @"1: record @acme/a = dd-a");
    world.apply();
    assert_eq!((world.owned[&key].id.clone(), world.planned()), (ConnectionId::from("again"), String::new()));

    // A mark that the settings name no more is as good.
    let (mut world, key) = made_again("former");
    world.owned.get_mut(&key).unwrap().managed_by = Some("former".into());
    insta::assert_snapshot!(world.planned(), @"1: record @acme/a = dd-a");
}

#[test]
fn under_another_mark_and_for_a_row_without_one_the_id_decides() {
    let (world, key) = made_again("former");
    insta::assert_snapshot!(world.planned(), @r"
    1: forget @acme/a = dd-a
    left 1: Satisfied
    ");
    let (mut world, _) = made_again("teamlink");
    world.owned.get_mut(&key).unwrap().managed_by = None;
    insta::assert_snapshot!(world.planned(), @r"
    1: forget @acme/a = dd-a
    left 1: Satisfied
    ");
}

#[test]
fn what_was_made_again_under_our_mark_follows_renames_and_removals() {
    let (mut world, _) = made_again("teamlink");
    world.state(1, GONE);
    insta::assert_snapshot!(world.planned(), @"1: record @acme/a = dd-a");
    world.apply();
    insta::assert_snapshot!(world.planned(), @"1: delete @acme/a = dd-a");

    let (mut world, _) = made_again("teamlink");
    world.datadog_team("new");
    world.rename(1, "new");
    insta::assert_snapshot!(world.planned(), @r"
    1: record @acme/a = dd-a
    1: create @acme/new = dd-new
    ");
    world.apply();
    insta::assert_snapshot!(world.planned(), @"1: delete @acme/a = dd-a");
}

#[test]
fn a_connection_whose_delete_may_still_arrive_passes_to_nobody_and_keeps_what_it_would_replace() {
    // Team 1 has its old name back; a delete of what it had under that name was not answered.
    let mut world = World::agreeing(&["a", "b"]);
    let key = ConnectionKey::new(dd("a"), &GithubHandle::new("Acme", "a"));
    world.connect(1, "new", "new", "teamlink");
    world.unanswered.insert(key.clone(), Time(90_000_000));
    insta::assert_snapshot!(world.planned(), @"left 1: NotVisible");
    // Or a new team has that name.
    world.datadog_team("new");
    world.rename(1, "new");
    world.teams.insert(TeamId(3), team(3, "a"));
    insta::assert_snapshot!(world.planned(), @r"
    left 1: NotVisible
    left 3: NotVisible
    ");
    world.unanswered.clear();
    insta::assert_snapshot!(world.planned(), @"3: pass on @acme/a = dd-a to 3");
}

#[test]
fn what_a_row_of_another_organisation_would_replace_stays_until_the_row_has_passed() {
    let mut world = World::agreeing(&["a", "b"]);
    world.datadog_team("new");
    world.rename(1, "new");
    world.connect(7, "new", "new", "teamlink");
    let key = ConnectionKey::new(dd("new"), &GithubHandle::new("Acme", "new"));
    let row = world.owned.remove(&key).unwrap();
    world.elsewhere.insert(key, (OrgId(2), row));
    insta::assert_snapshot!(world.planned(), @"1: pass on @acme/new = dd-new to 1");
}
