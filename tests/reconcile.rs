//! The worker against the sandbox, with webhooks straight into the ledger and full passes off: what events do.

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use world::{World, linked};

const SOON: Duration = Duration::from_secs(10);

async fn slugs(world: &World) -> Vec<String> {
    let teams = world.github(Method::GET, "/orgs/acme/teams?per_page=100", Value::Null).await;
    teams.as_array().unwrap().iter().map(|team| team["slug"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_create_rename_and_delete_connections() {
    let mut world = World::new(5, &[]).await;
    world.pass().await;
    let mut expected = linked(slugs(&world).await);
    world.becomes(&expected, SOON).await;
    world.start().await;

    world.seed(json!({"datadog_teams": [{"handle": "observability", "name": "Observability"}]})).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "Observability"})).await;
    expected.extend(linked(["observability"]));
    world.becomes(&expected, SOON).await;

    world.seed(json!({"datadog_teams": [{"handle": "telemetry", "name": "Telemetry"}]})).await;
    world.github(Method::PATCH, "/orgs/acme/teams/observability", json!({"name": "Telemetry"})).await;
    expected.remove("observability = @acme/observability");
    expected.extend(linked(["telemetry"]));
    world.becomes(&expected, SOON).await;

    world.github(Method::DELETE, "/orgs/acme/teams/telemetry", Value::Null).await;
    expected.remove("telemetry = @acme/telemetry");
    world.becomes(&expected, SOON).await;
    world.stop().await;
}
