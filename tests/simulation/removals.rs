//! Sequences after which a connection was once removed, or disowned, that should have stayed; each once.

use std::time::Duration;

use super::{
    Setup,
    grace::{pass, setup},
    sequences::{linked, run},
    world::{THEIRS, World},
};

/// Hears what GitHub sent since the last time.
async fn hear(world: &mut World) {
    let sent = std::iter::from_fn(|| world.webhooks.try_recv().ok()).collect();
    world.deliver(sent).await;
}

#[test]
fn a_protected_team_keeps_its_connection_after_its_organisation_was_renamed() {
    run(async |dir| {
        let protected = Setup { protected: vec!["acme/team-*".to_owned()], ..setup() };
        let mut world = World::new(1, 4, protected, dir.path()).await;
        pass(&world, 1).await;
        world.rename_org("acme2").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(30)).await;
        world.delete("team-2").await;
        hear(&mut world).await;
        world.work(Duration::from_secs(600)).await;
        let all = ["@acme2/team-1", "@acme2/team-2", "@acme2/team-3", "@acme2/team-4"];
        assert_eq!(linked(&world).await, all);
    });
}

#[test]
fn a_foreign_connection_whose_key_differs_in_case_only_does_not_hide_ours() {
    run(async |dir| {
        let world = World::new(1, 2, setup(), dir.path()).await;
        pass(&world, 1).await;
        let owned = world.owned().await;
        let handles = world.datadog_teams().await;
        for slug in ["Team-1", "TEAM-1", "tEAM-1"] {
            world.connect(&handles["team-1"], slug, THEIRS).await.unwrap();
        }
        assert_eq!(world.connections().await.len(), 5);
        pass(&world, 100).await;
        assert_eq!(world.owned().await, owned);
        world.delete("team-1").await;
        pass(&world, 100).await;
        let left = world.connections().await;
        assert_eq!(left.values().filter(|it| it.managed_by == THEIRS).count(), 3, "others' stay");
        assert_eq!(left.len(), 4, "ours went");
    });
}
