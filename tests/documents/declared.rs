//! Jira's and PagerDuty's documents: declared in settings.

use serde_json::json;
use teamlink::settings::Settings;

use super::{config, put, world::World};

#[tokio::test]
async fn jira_and_pagerduty_are_made_changed_and_repaired() {
    let mut world = World::new(0, &[]).await;
    let declare = |world: &mut World, text: &str| {
        let file = world.file("teamlink.toml", text);
        world.settings = Settings::load(&[file.into()], &world.env).unwrap().settings;
    };
    let project =
        |key: &str| json!({"hostname": "acme.atlassian.net", "account_id": "1", "project_key": key});
    declare(
        &mut world,
        r#"
        [[integrations.jira.enabled_projects]]
        hostname = "acme.atlassian.net"
        account_id = "1"
        project_key = "ENG"
        [[integrations.pagerduty.accounts]]
        subdomain = "acme"
        enabled = true
        "#,
    );
    world.pass().await;
    assert_eq!(config(&world, "jira").await, json!({"enabled_projects": [project("ENG")]}));
    assert_eq!(
        config(&world, "pagerduty").await,
        json!({"accounts": [{"subdomain": "acme", "enabled": true}]})
    );

    put(&world, "jira", &json!({"enabled_projects": [project("OPS")]})).await;
    put(&world, "pagerduty", &json!({"accounts": [{"subdomain": "Acme", "enabled": false, "note": 1}]}))
        .await;
    world.pass().await;
    assert_eq!(config(&world, "jira").await, json!({"enabled_projects": [project("OPS"), project("ENG")]}));
    let account = json!({"subdomain": "Acme", "enabled": true, "note": 1});
    assert_eq!(config(&world, "pagerduty").await, json!({"accounts": [account]}));

    declare(&mut world, "[integrations.jira]\nenabled_projects = []");
    world.pass().await;
    assert_eq!(config(&world, "jira").await, json!({"enabled_projects": [project("OPS")]}));
    assert_eq!(config(&world, "pagerduty").await, json!({"accounts": [account]}), "it is left alone");
}
