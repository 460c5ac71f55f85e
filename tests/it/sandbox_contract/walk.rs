//! Each Datadog operation, asked for each of its answers.

use serde_json::{Value, json};

use super::{CONNECTIONS, Judged, KEYS, NOBODY, by_id, connection, membership, sync, team};

fn link(parent: &str, sub: &str) -> Value {
    let to = |id| json!({"data": {"id": id, "type": "team"}});
    json!({"data": {"type": "team_hierarchy_links", "relationships": {"parent_team": to(parent), "sub_team": to(sub)}}})
}

fn config(config: Value) -> Value {
    json!({"data": {"type": "entity_integration_config_requests", "attributes": {"config": config}}})
}

#[tokio::test]
async fn every_answer_of_datadog_is_valid_against_the_contract() {
    let judged = Judged::start().await;
    connections(&judged).await;
    teams(&judged).await;
    memberships_and_links(&judged).await;
    sync_and_integrations(&judged).await;
    without_credentials(&judged).await;
    judged.contract.all_seen();
}

async fn connections(judged: &Judged) {
    let team = judged.new_team("connected").await;
    let id = judged.connect(&team, "@acme/one").await;
    judged.connect(&team, "@acme/two").await;
    judged.get(CONNECTIONS).await;
    judged.get(&format!("{CONNECTIONS}?page[size]=1&page[number]=1")).await;
    for wrong in ["page[size]=101", "page[size]=0", "page[size]=x", "page[number]=-1", "page[limit]=101"] {
        judged.expect(400, "GET", &format!("{CONNECTIONS}?{wrong}"), Value::Null).await;
    }
    judged.expect(409, "POST", CONNECTIONS, json!({"data": [connection(&team, "@acme/one")]})).await;
    for wrong in [
        json!({}),
        json!({"data": []}),
        json!({"data": [connection(NOBODY, "@acme/x")]}),
        json!({"data": [connection(&team, "")]}),
    ] {
        judged.expect(400, "POST", CONNECTIONS, wrong).await;
    }
    judged.expect(400, "DELETE", CONNECTIONS, by_id("")).await;
    judged.expect(404, "DELETE", CONNECTIONS, by_id(NOBODY)).await;
    judged.expect(204, "DELETE", CONNECTIONS, by_id(&id)).await;
}

async fn teams(judged: &Judged) {
    for query in [
        "",
        "?page[size]=2&page[number]=1",
        "?sort=-name",
        "?fields[team]=id,name,handle",
        "?filter[keyword]=TEAM",
        "?filter[me]=true",
    ] {
        judged.get(&format!("/api/v2/team{query}")).await;
    }
    judged.expect(400, "GET", "/api/v2/team?page[size]=101", Value::Null).await;
    let full = json!({"data": {"type": "team", "attributes": {
        "handle": "full", "name": "Full", "description": "d", "avatar": "🥑", "banner": 7,
        "visible_modules": ["m1"], "hidden_modules": ["m2"],
    }}});
    let id = judged.expect(201, "POST", "/api/v2/team", full).await.id();
    let path = format!("/api/v2/team/{id}");
    judged.expect(409, "POST", "/api/v2/team", team("full", "another")).await;
    judged.expect(400, "POST", "/api/v2/team", team("", "nameless")).await;
    judged.get(&path).await;
    judged.expect(200, "PATCH", &path, team("full", "Renamed")).await;
    judged.expect(400, "PATCH", &path, json!({"data": {"attributes": {"handle": "full"}}})).await;
    judged.expect(409, "PATCH", &path, team("team-1", "Renamed")).await;
    judged.get(&format!("{path}/permission-settings")).await;
    let value = |value| json!({"data": {"type": "team_permission_settings", "attributes": {"value": value}}});
    judged.expect(200, "PUT", &format!("{path}/permission-settings/edit"), value("admins")).await;
    judged.expect(400, "PUT", &format!("{path}/permission-settings/edit"), value("everybody")).await;
    judged.expect(404, "PUT", &format!("{path}/permission-settings/REPLACE.ME"), value("admins")).await;
    judged.expect(204, "DELETE", &path, Value::Null).await;
    for (method, path, body) in [
        ("GET", path.clone(), Value::Null),
        ("PATCH", path.clone(), team("full", "Renamed")),
        ("DELETE", path.clone(), Value::Null),
        ("GET", format!("{path}/permission-settings"), Value::Null),
        ("GET", "/api/v2/team/REPLACE.ME".to_owned(), Value::Null),
    ] {
        judged.expect(404, method, &path, body).await;
    }
}

async fn memberships_and_links(judged: &Judged) {
    let (team, sub) = (judged.new_team("parent").await, judged.new_team("child").await);
    let path = format!("/api/v2/team/{team}/memberships");
    judged.expect(200, "POST", &path, membership(NOBODY, json!("admin"))).await;
    judged.expect(409, "POST", &path, membership(NOBODY, Value::Null)).await;
    judged.expect(400, "POST", &path, membership(NOBODY, json!("member"))).await;
    judged.expect(404, "POST", "/api/v2/team/x/memberships", membership(NOBODY, Value::Null)).await;
    judged.get(&path).await;
    judged.get(&format!("{path}?page[size]=1")).await;
    judged.expect(400, "GET", &format!("{path}?page[size]=0"), Value::Null).await;
    judged.expect(404, "GET", "/api/v2/team/x/memberships", Value::Null).await;
    assert_eq!(
        judged.get(&format!("/api/v2/users/{NOBODY}/memberships")).await["data"].as_array().unwrap().len(),
        1
    );
    judged.expect(404, "GET", "/api/v2/users/x/memberships", Value::Null).await;
    let one = format!("{path}/{NOBODY}");
    judged.expect(200, "PATCH", &one, membership(NOBODY, Value::Null)).await;
    judged.expect(400, "PATCH", &one, membership(NOBODY, json!("member"))).await;
    judged.expect(204, "DELETE", &one, Value::Null).await;
    judged.expect(404, "PATCH", &one, membership(NOBODY, Value::Null)).await;
    judged.expect(404, "DELETE", &one, Value::Null).await;

    let links = "/api/v2/team-hierarchy-links";
    let id = judged.expect(200, "POST", links, link(&team, &sub)).await.id();
    judged.expect(409, "POST", links, link(&team, &sub)).await;
    judged.expect(404, "POST", links, link(&team, NOBODY)).await;
    judged.expect(400, "POST", links, json!({"data": {}})).await;
    judged.get(links).await;
    let filtered =
        judged.get(&format!("{links}?filter[parent_team]={team}&page[size]=100&page[number]=0")).await;
    assert_eq!(filtered["data"][0]["id"], id);
    assert_eq!(judged.get(&format!("{links}?filter[sub_team]={team}")).await["data"], json!([]));
    let one = format!("{links}/{id}");
    judged.get(&one).await;
    judged.expect(204, "DELETE", &one, Value::Null).await;
    judged.expect(404, "GET", &one, Value::Null).await;
    judged.expect(404, "DELETE", &one, Value::Null).await;
}

async fn sync_and_integrations(judged: &Judged) {
    let path = "/api/v2/team/sync";
    judged.get(&format!("{path}?filter[source]=github")).await;
    judged.expect(400, "GET", path, Value::Null).await;
    judged.expect(400, "POST", path, sync(json!({"source": "gitlab", "type": "link"}))).await;
    let organization = json!({"external_id": {"type": "organization", "value": "1"}, "operation": "include", "scope": "subtree"});
    let attributes = json!({"source": "github", "type": "provision", "frequency": "continuously", "selection_state": [organization]});
    judged.expect(204, "POST", path, sync(attributes)).await;
    let set = judged.get(&format!("{path}?filter[source]=github")).await;
    assert_eq!(set["data"][0]["attributes"]["selection_state"], json!([organization]));

    let path = "/api/v2/idp/entity_integrations/github";
    let repos =
        json!({"enabled_repos": [{"hostname": "github.com", "github_org_name": "acme", "repo_name": "app"}]});
    judged.expect(404, "GET", path, Value::Null).await;
    judged.expect(404, "DELETE", path, Value::Null).await;
    judged.expect(200, "PUT", path, config(repos.clone())).await;
    assert_eq!(judged.get(path).await["data"]["attributes"]["config"], repos);
    judged.expect(200, "PUT", path, config(json!({"enabled_repos": []}))).await;
    assert_eq!(judged.get(path).await["data"]["attributes"]["config"], json!({"enabled_repos": []}));
    judged.expect(400, "PUT", path, json!({"data": {"attributes": {}}})).await;
    judged.expect(204, "DELETE", path, Value::Null).await;
    let at = |id: &str| format!("/api/v2/idp/entity_integrations/{id}");
    let odd = json!({"hostname": "github.com", "github_org_name": "acme", "repo_name": "app", "new": [1]});
    let odd = json!({"enabled_repos": [odd], "since": 1.5});
    assert_eq!(
        judged.expect(200, "PUT", path, config(odd.clone())).await.json()["data"]["attributes"],
        json!({"integration_id": "github", "org_id": 321_813, "config": odd})
    );
    let projects = json!([{"hostname": "acme.atlassian.net", "account_id": "1", "project_key": "ENG"}]);
    judged.expect(200, "PUT", &at("jira"), config(json!({"enabled_projects": projects}))).await;
    judged.expect(200, "PUT", &at("pagerduty"), config(json!({"accounts": [{"enabled": true}]}))).await;
    for (id, shape) in [
        ("github", json!({})),
        ("github", json!({"enabled_repos": ["acme/app"]})),
        ("github", json!({"enabled_repos": [{"hostname": "github.com", "github_org_name": "acme"}]})),
        ("jira", json!({"enabled_projects": [{"hostname": "h", "account_id": 1, "project_key": "ENG"}]})),
        ("pagerduty", json!({"accounts": [{"subdomain": "acme"}]})),
        ("pagerduty", json!({"accounts": {}})),
    ] {
        judged.expect(400, "PUT", &at(id), config(shape)).await;
    }
    for method in ["GET", "DELETE"] {
        judged.expect(400, method, "/api/v2/idp/entity_integrations/gitlab", Value::Null).await;
    }
}

async fn without_credentials(judged: &Judged) {
    let paths = judged.contract.document["paths"].as_object().unwrap();
    for (path, item) in paths {
        for method in item.as_object().unwrap().keys() {
            let path = path.replace(['{', '}'], "");
            let answer = judged.ask_as(&KEYS[..1], &method.to_uppercase(), &path, Value::Null).await;
            assert_eq!((answer.status, answer.text.as_str()), (403, r#"{"errors":["Forbidden"]}"#), "{path}");
            if method == "get" || path.contains("/idp/") {
                let bearer = [("Authorization", "Bearer t")];
                let answer = judged.ask_as(&bearer, &method.to_uppercase(), &path, Value::Null).await;
                assert_eq!(answer.status == 403, path.contains("/idp/"), "{path} with a bearer");
            }
        }
    }
}
