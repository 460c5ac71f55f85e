//! GitHub's document from the repositories of linked teams.

use reqwest::Method;
use serde_json::{Value, json};

use super::{become_, world::World};

#[tokio::test]
async fn the_repositories_of_linked_teams_follow_their_connections() {
    let mut world = World::new(2, &[("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "linked-teams")]).await;
    world.seed(json!({"orgs": [{"login": "acme", "repos": [{"name": "app"}, {"name": "lib"}, {"name": "web"}]}]})).await;
    for (team, repo) in [("team-1", "app"), ("team-2", "lib")] {
        world.github(Method::PUT, &format!("/orgs/acme/teams/{team}/repos/acme/{repo}"), json!({})).await;
    }
    world.start().await;
    world.pass().await;
    become_(&world, &["app", "lib"]).await;
    world.github(Method::PUT, "/orgs/acme/teams/team-1/repos/acme/web", json!({})).await;
    become_(&world, &["app", "lib", "web"]).await;
    // Its connection goes, and with it the reason for its repositories.
    world.github(Method::DELETE, "/orgs/acme/teams/team-2", Value::Null).await;
    become_(&world, &["app", "web"]).await;
    world.stop().await;
}
