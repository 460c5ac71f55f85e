//! Somebody else removes what teamlink makes: the commands and the metric say so. When it is made again, and when no more,
//! is in `tests/simulation/second_writer.rs`.

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::model::LISTS_LAG;

use crate::support::world::{World, linked, metrics, text};

/// Somebody removes the connection of this team, once no list may lag behind its create any more.
async fn somebody_removes(world: &World, slug: &str) {
    tokio::time::sleep(LISTS_LAG).await;
    let list = world.datadog(Method::GET, "/api/v2/team/connections?page[size]=100", Value::Null).await;
    let github = format!("@acme/{slug}");
    let of_team = |it: &&Value| it["relationships"]["connected_team"]["data"]["id"] == github;
    let id = list["data"].as_array().unwrap().iter().find(of_team).unwrap()["id"].clone();
    let body = json!({"data": [{"id": id, "type": "team_connection"}]});
    world.datadog(Method::DELETE, "/api/v2/team/connections", body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_explain_audit_plan_and_the_metric_tell_of_a_second_writer() {
    let world = World::new(3, &[]).await;
    world.pass().await;
    let slug = world.datadog_teams().await.into_keys().next().unwrap();
    for removal in 1..=3 {
        somebody_removes(&world, &slug).await;
        world.pass().await;
        assert_eq!(world.connections().await.len(), if removal < 3 { 3 } else { 2 });
    }
    let sync = world.teamlink(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(2), "{}", text(&sync));
    let line = format!("somebody removes @acme/{slug} = ");
    assert!(text(&sync).contains(&line) && text(&sync).contains(": 3 times within a day"), "{}", text(&sync));
    let explained = text(&world.teamlink(&["explain", &format!("acme/{slug}")]).await);
    assert!(explained.contains("second_writer: somebody removes"), "{explained}");
    assert!(explained.contains("second_writer: teamlink makes the connection again at "), "{explained}");
    let plan = text(&world.teamlink(&["plan"]).await);
    assert!(plan.contains("somebody removed it 3 times within a day; made again at "), "{plan}");
    let audit = text(&world.teamlink(&["audit", "--team", &format!("acme/{slug}")]).await);
    for removal in 1..=3 {
        let line = format!("somebody removed it from Datadog: {removal} within a day");
        assert!(audit.contains(&line), "{audit}");
    }
    let exposition = metrics().render();
    let of_org = |line: &&str| line.starts_with("teamlink_removed_by_others_total{target=\"org:");
    let counts = exposition.lines().filter(of_org).map(|line| line.split(' ').next_back().unwrap().parse());
    assert!(counts.map(Result::<u64, _>::unwrap).sum::<u64>() >= 3, "{exposition}");
    assert!(linked([&slug]).is_disjoint(&world.connections().await));
}
