//! What one change costs where there is much of everything: counted in requests and in looks, not in seconds.

use std::sync::Arc;

use serde_json::{Value, json};
use teamlink::{
    ledger::Ledger,
    model::{Asks, Cause, Lane},
    reconcile::Worker,
};

use crate::support::{eventually, world::World};

/// Requests that one change may take.
const FEW: usize = 8;

async fn worker(world: &World) -> (Worker, Ledger) {
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    let worker = teamlink::app::worker(&world.settings, ledger.clone(), "command", Arc::default()).unwrap();
    (worker, ledger)
}

async fn due(ledger: &Ledger, lane: Lane) -> i64 {
    ledger.progress(lane, ledger.clock().now()).await.unwrap().due
}

#[tokio::test(flavor = "multi_thread")]
async fn of_thousands_of_teams_that_wait_a_new_handle_wakes_the_one_that_wants_it() {
    const WAITING: usize = 2_000;
    let world = World::new(2, &[("TEAMLINK_DATADOG__TEAMS_TTL", "1s")]).await;
    let teams: Vec<Value> = (0..WAITING).map(|n| json!({"name": format!("Wait {n}")})).collect();
    world.seed(json!({"orgs": [{"login": "acme", "teams": teams}]})).await;
    let (worker, ledger) = worker(&world).await;
    let lanes = worker.begin_pass(&["acme".into()], Cause::Person, Asks::PERSON).await.unwrap();
    let progress = worker.work_off(&lanes).await.unwrap();
    assert_eq!(progress[&lanes[0]].waiting, WAITING as i64);
    for _ in 0..3 {
        worker.refresh_directory().await.unwrap();
        assert_eq!(due(&ledger, lanes[0]).await, 0, "no handle appeared");
    }
    let since = world.seq().await;
    // Names are compared without case.
    world.seed(json!({"datadog_teams": [{"handle": "Wait-77", "name": "Wait 77"}]})).await;
    eventually("teams that are due", 1, async || {
        worker.refresh_directory().await.unwrap();
        due(&ledger, lanes[0]).await
    })
    .await;
    worker.work_off(&lanes).await.unwrap();
    let requests = world.requests(since).await;
    let paths: Vec<&str> = requests.iter().filter_map(|request| request["path"].as_str()).collect();
    assert!(paths.len() <= FEW, "{} requests: {paths:?}", paths.len());
    assert_eq!(world.connections().await.into_iter().filter(|it| it.contains("wait")).count(), 1);
    assert_eq!(ledger.progress(lanes[0], ledger.clock().now()).await.unwrap().waiting, WAITING as i64 - 1);
}
