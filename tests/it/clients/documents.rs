//! What documents are made of and from: repositories, and the documents themselves.

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::model::{Answer, Class, Configuration, Entry};

use super::{World, failed, forbidden, present};

fn configuration(config: &Value) -> Configuration {
    serde_json::from_str(&config.to_string()).unwrap()
}

#[tokio::test]
async fn repositories_are_read_by_organisation_by_team_and_by_id() {
    let world = World::start().await;
    let repos: Vec<Value> = (0..120)
        .map(|n| json!({"name": format!("repo-{n}"), "archived": n == 7, "private": n == 8}))
        .collect();
    world.seed(json!({"orgs": [{"login": "acme", "teams": [{"name": "core"}], "repos": repos}]})).await;
    let path = "/orgs/acme/teams/core/repos/acme/repo-7";
    world.remote.send(Method::PUT, path, json!({})).await.unwrap();
    let github = world.github();

    let Answer::Present(all) = github.org_repositories("acme").await else { panic!("not read") };
    assert_eq!(all.len(), 120);
    let named = |name: &str| all.iter().find(|repository| repository.name == name).unwrap();
    assert_eq!((named("repo-7").archived, named("repo-8").archived), (Some(true), Some(false)));
    assert_eq!(
        (named("repo-8").visibility.as_deref(), named("repo-7").owner.as_str()),
        (Some("private"), "acme")
    );
    let org = present(github.org_by_login("acme").await).id;
    let Answer::Present(of_team) = github.team_repositories("acme", "core").await else { panic!("not read") };
    assert_eq!(of_team, [named("repo-7").clone()]);
    assert_eq!(github.repository(org, of_team[0].id).await, Answer::Present(of_team[0].clone()));

    world.remote.send(Method::DELETE, "/repos/acme/repo-7", Value::Null).await.unwrap();
    assert_eq!(github.repository(org, of_team[0].id).await, Answer::Absent);
    let hidden = github.team_repositories("acme", "nobody").await;
    assert!(matches!(hidden, Answer::Forbidden(_)), "a list that is not granted says nothing: {hidden:?}");
}

#[tokio::test]
async fn a_document_is_absent_until_its_first_put_and_keeps_what_nobody_knows() {
    let world = World::start().await;
    let (reader, writer) = world.datadog();
    for (id, list, entry) in [
        (
            "github",
            "enabled_repos",
            Entry::Repository {
                hostname: "github.com".into(),
                github_org_name: "Acme".into(),
                repo_name: "App".into(),
            },
        ),
        (
            "jira",
            "enabled_projects",
            Entry::Project {
                hostname: "acme.atlassian.net".into(),
                account_id: "1".into(),
                project_key: "ENG".into(),
            },
        ),
        ("pagerduty", "accounts", Entry::Account { enabled: true, subdomain: None }),
    ] {
        assert_eq!(reader.integration(id).await, Answer::Absent, "{id}");
        let mut fields = entry.fields();
        fields.insert("since".into(), json!({"version": [1.5, null]}));
        let config = configuration(&json!({list: [fields], "beside": {"any": "thing"}}));
        let put = writer.put_integration(id, &config, None).await.unwrap();
        assert_eq!((&put.config, put.org_id), (&config, Some(321_813)), "{id}");
        assert_eq!(present(reader.integration(id).await), put, "{id}");
    }
    let wrong = writer.put_integration("jira", &Configuration::new(), None).await.unwrap_err();
    assert_eq!((wrong.class, wrong.status), (Class::Permanent, Some(400)));
    assert!(wrong.message.contains("config.enabled_projects"), "{wrong}");
    let unknown = failed(reader.integration("gitlab").await);
    assert_eq!(unknown.class, Class::Permanent, "{unknown}");
}

#[tokio::test]
async fn a_preview_that_is_not_granted_is_said_as_such() {
    let world = World::start().await;
    let (reader, writer) = world.datadog();
    world.faults(json!([{"path": "/api/v2/idp/*", "status": 403}])).await;
    let refused = forbidden(reader.integration("github").await);
    assert!(refused.message.contains("are a preview"), "{refused}");
    let config = configuration(&json!({"enabled_repos": []}));
    assert_eq!(writer.put_integration("github", &config, None).await.unwrap_err().class, Class::Auth);
    // A PUT creates what is not there, so its 404 is that of the door.
    world.faults(json!([{"path": "/api/v2/idp/*", "status": 404}])).await;
    let (reader, writer) = world.datadog();
    assert_eq!(writer.put_integration("github", &config, None).await.unwrap_err().class, Class::Auth);
    assert_eq!(reader.integration("github").await, Answer::Absent);
}
