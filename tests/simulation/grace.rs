//! Grace, on a clock that does not have to be waited for.

use std::time::Duration;

use teamlink::{
    mapping::RuleSpec,
    model::{Asks, Cause, MissingTeam, Mode},
    plan::Limits,
};

use super::{
    Setup, scratch,
    world::{OURS, World, rustls},
};

pub(super) fn setup() -> Setup {
    Setup {
        rules: vec![RuleSpec::ignore("acme/x*"), RuleSpec::handles("acme/*", ["{slug}"])],
        mode: Mode::Sync,
        missing_team: MissingTeam::Report,
        limits: Limits { max_share: 1.0, above: 0, max_removals: 50 },
        max_per_window: 100,
        window: Duration::from_secs(3600),
        grace: Duration::from_secs(60),
        observed: Vec::new(),
        protected: Vec::new(),
        first_creates: 250,
        orgs: Vec::new(),
        managed_by: OURS,
        page: 100,
    }
}

pub(super) async fn pass(world: &World, seconds: u64) {
    world.worker.begin_pass(&["acme".to_owned()], Cause::Pass, Asks::PASS).await.unwrap();
    world.work(Duration::from_secs(seconds)).await;
}

#[test]
fn a_team_that_no_rule_maps_under_its_new_name_keeps_its_connection_for_the_grace() {
    rustls();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = scratch();
        let mut world = World::new(1, 4, setup(), dir.path()).await;
        pass(&world, 1).await;
        assert_eq!(world.connections().await.len(), 4);
        world.rename("team-1", "X one").await;
        pass(&world, 59).await;
        assert_eq!(world.connections().await.len(), 4, "its grace has just begun");
        // It is durable, and the connection's own: neither a restart nor another team's look moves its end.
        world.restart().await;
        world.rename("team-2", "X two").await;
        pass(&world, 5).await;
        let left: Vec<String> = world.connections().await.into_values().map(|it| it.github).collect();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(!left.contains(&"@acme/team-1".to_owned()), "{left:?}");
        // Named as before within its grace, the other keeps what it has.
        world.rename("x-two", "Team 2").await;
        pass(&world, 4000).await;
        assert_eq!(world.connections().await.len(), 3);
        assert_eq!(world.owned().await.len(), 3);
    });
}
