//! Jira's and PagerDuty's documents: declared in settings.

use serde_json::json;
use teamlink::settings::Settings;

use crate::support::{
    documents::{approve_held, config, put, puts},
    world::{World, text},
};

#[tokio::test]
async fn jira_and_pagerduty_are_made_changed_and_repaired() {
    let mut world = World::new(0, &[]).await;
    let declare = |world: &mut World, text: &str| {
        let file = world.file("teamlink.toml", text);
        world.settings = Settings::load(&[file.clone().into()], &world.env).unwrap().settings;
        file
    };
    let project =
        |key: &str| json!({"hostname": "acme.atlassian.net", "account_id": "1", "project_key": key});
    let file = declare(
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
    approve_held(&world, &["--config", &file]).await;
    assert_eq!(puts(&world).await.len(), 0, "a document that is absent may mean all");
    world.pass().await;
    assert_eq!(config(&world, "jira").await, json!({"enabled_projects": [project("ENG")]}));
    assert_eq!(
        config(&world, "pagerduty").await,
        json!({"accounts": [{"subdomain": "acme", "enabled": true}]})
    );

    put(&world, "jira", &json!({"enabled_projects": [project("OPS")]})).await;
    put(&world, "pagerduty", &json!({"accounts": [{"subdomain": "Acme", "enabled": false, "note": 1}]}))
        .await;
    // All entries of ours are gone from one of them: a person decides.
    approve_held(&world, &["--config", &file]).await;
    world.pass().await;
    assert_eq!(config(&world, "jira").await, json!({"enabled_projects": [project("OPS"), project("ENG")]}));
    let account = json!({"subdomain": "Acme", "enabled": true, "note": 1});
    assert_eq!(config(&world, "pagerduty").await, json!({"accounts": [account]}));

    world.pass().await;
    assert_eq!(puts(&world).await.len(), 4, "two made, two repaired, and nothing for the pass after that");

    declare(&mut world, "[integrations.jira]\nenabled_projects = []");
    world.pass().await;
    assert_eq!(config(&world, "jira").await, json!({"enabled_projects": [project("OPS")]}));
    assert_eq!(config(&world, "pagerduty").await, json!({"accounts": [account]}), "it is left alone");
}

#[tokio::test]
async fn a_wrong_shape_is_an_error_that_names_the_key_before_anything_is_asked() {
    let world = World::new(0, &[]).await;
    for (settings, key) in [
        ("[integrations.github]\nrepositories = \"teams\"", "integrations.github.repositories = \"teams\""),
        (
            "[[integrations.jira.enabled_projects]]\nhostname = \"h\"\naccount_id = \"1\"",
            "integrations.jira.enabled_projects[1].project_key",
        ),
        (
            "[[integrations.pagerduty.accounts]]\nsubdomain = \"acme\"",
            "integrations.pagerduty.accounts[1].enabled",
        ),
    ] {
        let file = world.file("wrong.toml", settings);
        for command in ["run", "sync"] {
            let refused = world.teamlink(&[command, "--config", &file]).await;
            println!("{}", text(&refused));
            assert_eq!(refused.status.code(), Some(78), "{command}");
            assert!(text(&refused).contains(key), "{key}: {}", text(&refused));
        }
    }
    assert_eq!(world.requests(0).await.len(), 0);
}
