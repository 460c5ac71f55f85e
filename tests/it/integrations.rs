//! `teamlink integrations`: the documents by hand, and what the settings would make of them.

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{app::upstreams, datadog, operate::integrations};

use crate::support::world::{World, text};

const GITHUB: &str = "/api/v2/idp/entity_integrations/github";

/// Repositories of `acme`, of which two belong to team-1 and one of these to team-2 too.
async fn repositories() -> World {
    let world = World::new(3, &[]).await;
    let repos = json!([{"name": "App"}, {"name": "lib"}, {"name": "old", "archived": true}, {"name": "web"}]);
    world.seed(json!({"orgs": [{"login": "acme", "repos": repos}]})).await;
    for (team, repo) in [("team-1", "App"), ("team-1", "old"), ("team-2", "App"), ("team-3", "lib")] {
        world.github(Method::PUT, &format!("/orgs/acme/teams/{team}/repos/acme/{repo}"), json!({})).await;
    }
    world
}

/// A document whose repositories have these names.
fn document(names: &[&str]) -> Value {
    let entry = |name: &&str| json!({"hostname": "127.0.0.1", "github_org_name": "acme", "repo_name": name});
    json!({"enabled_repos": names.iter().map(entry).collect::<Vec<_>>()})
}

async fn put(world: &World, id: &str, config: Value) {
    let body =
        json!({"data": {"type": "entity_integration_config_requests", "attributes": {"config": config}}});
    world.datadog(Method::PUT, &format!("/api/v2/idp/entity_integrations/{id}"), body).await;
}

/// How often teamlink, or anybody, asked for documents so.
async fn asked(world: &World, method: &str) -> usize {
    let requests = world.requests(0).await;
    let of = |request: &&Value| {
        request["method"] == method && request["path"].as_str().unwrap().contains("entity_integrations")
    };
    requests.iter().filter(of).count()
}

#[tokio::test]
async fn a_document_is_put_from_a_file_after_a_look_and_printed() {
    let world = World::new(0, &[]).await;
    let none = world.teamlink(&["integrations", "get", "github"]).await;
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none).contains("Datadog has no document of github yet"), "{}", text(&none));

    let mut config = document(&["app"]);
    config["beside"] = json!({"any": ["thing", 1.5]});
    let file = world.file("github.json", &config.to_string());
    let asked_for = world.teamlink(&["integrations", "put", "github", "--file", &file]).await;
    assert_eq!(asked_for.status.code(), Some(1));
    assert!(
        text(&asked_for).contains("give --yes to replace the document of github"),
        "{}",
        text(&asked_for)
    );
    assert_eq!(asked(&world, "PUT").await, 0);

    let done = world.teamlink(&["integrations", "put", "github", "--file", &file, "--yes"]).await;
    assert!(done.status.success(), "{}", text(&done));
    let printed = world.teamlink(&["integrations", "get", "github"]).await;
    insta::assert_snapshot!(text(&printed), @r#"
    {
      "beside": {"any":["thing",1.5]},
      "enabled_repos": [
        {"github_org_name":"acme","hostname":"127.0.0.1","repo_name":"app"}
      ]
    }
    "#);
    let again = world.file("again.json", &text(&printed));
    let same = world.teamlink(&["integrations", "put", "github", "--file", &again, "--yes"]).await;
    assert!(text(&same).contains("nothing was written"), "{}", text(&same));
    assert_eq!(asked(&world, "PUT").await, 1);
}

#[tokio::test]
async fn a_wrong_file_names_the_key_before_any_request() {
    let world = World::new(0, &[]).await;
    let wrong = json!({"enabled_projects": [
        {"hostname": "acme.atlassian.net", "account_id": "1", "project_key": "ENG"},
        {"hostname": "https://acme.atlassian.net", "account_id": "1"},
    ]});
    for verb in ["put", "diff"] {
        let file = world.file("jira.json", &wrong.to_string());
        let refused = world.teamlink(&["integrations", verb, "jira", "--file", &file]).await;
        assert_eq!(refused.status.code(), Some(1), "{verb}");
        for key in ["enabled_projects[2].hostname = ", "enabled_projects[2].project_key: it is missing"] {
            assert!(text(&refused).contains(key), "{}", text(&refused));
        }
        let none = world.file("none.json", r#"{"projects": []}"#);
        let refused = world.teamlink(&["integrations", verb, "jira", "--file", &none]).await;
        assert!(text(&refused).contains("enabled_projects: it is no list"), "{}", text(&refused));
    }
    assert_eq!(world.requests(0).await, [] as [Value; 0]);
}

#[tokio::test]
async fn the_repositories_of_the_organisation_are_compared_as_git_compares() {
    let mut world = repositories().await;
    let alone = world.teamlink(&["integrations", "diff", "github"]).await;
    assert_eq!(alone.status.code(), Some(1));
    assert!(text(&alone).contains("see [integrations.github]"), "{}", text(&alone));

    world.set(&[
        ("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "org"),
        ("TEAMLINK_INTEGRATIONS__GITHUB__EXCLUDE", "acme/WEB"),
    ]);
    put(&world, "github", document(&["by-hand", "APP"])).await;
    let diff = world.teamlink(&["integrations", "diff", "github"]).await;
    assert_eq!(diff.status.code(), Some(2));
    insta::assert_snapshot!(text(&diff), @r#"
    --- github in Datadog (organisation 321813)
    +++ github as teamlink would PUT it
    @@ -2,5 +2,6 @@
       "enabled_repos": [
         {"github_org_name":"acme","hostname":"127.0.0.1","repo_name":"by-hand"},
         {"github_org_name":"acme","hostname":"127.0.0.1","repo_name":"APP"},
    +    {"github_org_name":"acme","hostname":"127.0.0.1","repo_name":"lib"},
       ]
     }
    "#);
    put(&world, "github", document(&["by-hand", "APP", "lib"])).await;
    let same = world.teamlink(&["integrations", "diff", "github"]).await;
    assert_eq!((same.status.code(), text(&same).as_str()), (Some(0), ""));

    world.set(&[("TEAMLINK_INTEGRATIONS__GITHUB__MODE", "exclusive")]);
    let gone = world.teamlink(&["integrations", "diff", "github"]).await;
    assert!(
        text(&gone)
            .contains(r#"-    {"github_org_name":"acme","hostname":"127.0.0.1","repo_name":"by-hand"}"#)
    );
    assert_eq!(asked(&world, "PUT").await, 2, "a diff writes nothing");
}

#[tokio::test]
async fn the_repositories_of_linked_teams_are_those_of_teams_that_datadog_connects() {
    let mut world = repositories().await;
    world.pass().await;
    for team in ["team-3"] {
        world.github(Method::DELETE, &format!("/orgs/acme/teams/{team}"), Value::Null).await;
    }
    world.set(&[("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "linked-teams")]);
    // The connection of a team that is gone is no reason to fail.
    let diff = world.teamlink(&["integrations", "diff", "github"]).await;
    assert_eq!(diff.status.code(), Some(2), "{}", text(&diff));
    insta::assert_snapshot!(text(&diff), @r#"
    --- github in Datadog
    +++ github as teamlink would PUT it
    @@ -0,0 +1,5 @@
    +{
    +  "enabled_repos": [
    +    {"github_org_name":"acme","hostname":"127.0.0.1","repo_name":"App"},
    +  ]
    +}
    held: addition of 127.0.0.1/acme/app: the document is absent or its list is empty, which may mean all
    "#);
    world.faults(json!([{"path": "/orgs/acme/teams/team-1/repos", "status": 403}])).await;
    let unread = world.teamlink(&["integrations", "diff", "github"]).await;
    assert_eq!(unread.status.code(), Some(1), "what could not be read is not left out: {}", text(&unread));
}

#[tokio::test]
async fn declared_entries_are_compared_without_a_look_at_github() {
    let world = World::new(0, &[]).await;
    let settings = world.file(
        "teamlink.toml",
        r#"
        [[integrations.pagerduty.accounts]]
        subdomain = "acme"
        enabled = false
        "#,
    );
    put(&world, "pagerduty", json!({"accounts": [{"subdomain": "Acme", "enabled": true, "note": 1}]})).await;
    let diff = world.teamlink(&["integrations", "diff", "pagerduty", "--config", &settings]).await;
    insta::assert_snapshot!(text(&diff), @r#"
    --- pagerduty in Datadog (organisation 321813)
    +++ pagerduty as teamlink would PUT it
    @@ -1,5 +1,5 @@
     {
       "accounts": [
    -    {"enabled":true,"note":1,"subdomain":"Acme"},
    +    {"enabled":false,"note":1,"subdomain":"Acme"},
       ]
     }
    "#);
    let undeclared = world.teamlink(&["integrations", "diff", "jira", "--config", &settings]).await;
    assert!(text(&undeclared).contains("see [integrations.jira]"), "{}", text(&undeclared));
    let of_datadog = |it: &Value| it["path"].as_str().unwrap().starts_with("/api/");
    assert!(world.requests(0).await.iter().all(of_datadog));
}

#[tokio::test]
async fn a_document_that_changed_since_it_was_shown_is_not_replaced() {
    let world = World::new(0, &[]).await;
    put(&world, "github", document(&["app"])).await;
    let options = upstreams::datadog(&world.settings).unwrap();
    let (reader, writer) = (datadog::Reader::new(&options).unwrap(), datadog::Writer::new(&options).unwrap());
    let shown = integrations::read(&reader, "github").await.unwrap();
    put(&world, "github", document(&["app", "another's"])).await;
    let mine = integrations::parse("github", &document(&["mine"]).to_string()).unwrap();
    let refused =
        integrations::put((&reader, &writer), "github", shown.as_ref(), &mine, None).await.unwrap_err();
    assert!(refused.to_string().contains("changed since it was shown; nothing was written"), "{refused}");
    let now = world.datadog(Method::GET, GITHUB, Value::Null).await;
    assert_eq!(now["data"]["attributes"]["config"], document(&["app", "another's"]));
}

#[tokio::test]
async fn an_access_token_and_a_preview_that_is_not_granted_are_said() {
    let mut world = World::new(0, &[]).await;
    world.faults(json!([{"path": "/api/v2/idp/*", "status": 403}])).await;
    let refused = world.teamlink(&["integrations", "get", "github"]).await;
    assert!(text(&refused).contains("entity integrations are a preview"), "{}", text(&refused));
    world.set(&[("DD_API_KEY", ""), ("DD_APP_KEY", ""), ("TEAMLINK_DATADOG__ACCESS_TOKEN", "token")]);
    let refused = world.teamlink(&["integrations", "get", "github"]).await;
    assert!(text(&refused).contains("takes no access token"), "{}", text(&refused));
}
