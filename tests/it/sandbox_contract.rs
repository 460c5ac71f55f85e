//! The sandbox is the judge of teamlink; this is the judge of the sandbox. Every Datadog operation is asked for each
//! of its answers, and each answer is judged by the official contract, its listed differences, and the recordings.

mod contract;

use std::collections::{BTreeMap, BTreeSet};

use contract::Contract;
use serde_json::{Value, json};
use teamlink::sandbox::{Options, Sandbox, start};

/// A sandbox whose every answer is judged.
struct Judged {
    sandbox: Sandbox,
    client: reqwest::Client,
    contract: Contract,
}

struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    fn id(&self) -> String {
        let json = self.json();
        json.pointer("/data/id").or(json.pointer("/data/0/id")).unwrap().as_str().unwrap().to_owned()
    }
}

const KEYS: [(&str, &str); 2] = [("DD-API-KEY", "k"), ("DD-APPLICATION-KEY", "a")];

impl Judged {
    async fn start() -> Self {
        let options = Options { org: Some("acme".into()), teams: 7, seed: 3, ..Options::default() };
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { sandbox: start(options).await.unwrap(), client, contract: Contract::load() }
    }

    async fn ask_as(&self, headers: &[(&str, &str)], method: &str, path: &str, body: Value) -> Answer {
        let url = self.sandbox.url() + path;
        let mut request = self.client.request(method.parse().unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let content_type =
            response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        for name in ["limit", "period", "remaining", "reset", "name"] {
            assert!(response.headers().contains_key(format!("x-ratelimit-{name}")), "{path} lacks {name}");
        }
        let answer = Answer { status, text: response.text().await.unwrap() };
        let route = path.split('?').next().unwrap();
        self.contract.judge(method, route, status, content_type.as_deref(), &answer.json());
        answer
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        self.ask_as(&KEYS, method, path, body).await
    }

    /// Asks and expects this status.
    async fn expect(&self, status: u16, method: &str, path: &str, body: Value) -> Answer {
        let answer = self.ask(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        answer
    }

    async fn get(&self, path: &str) -> Value {
        self.expect(200, "GET", path, Value::Null).await.json()
    }

    async fn new_team(&self, handle: &str) -> String {
        self.expect(201, "POST", "/api/v2/team", team(handle, handle)).await.id()
    }

    async fn connect(&self, team: &str, connected: &str) -> String {
        self.expect(201, "POST", CONNECTIONS, json!({"data": [connection(team, connected)]})).await.id()
    }

    async fn connection_ids(&self, query: &str) -> BTreeSet<String> {
        let list = self.get(&format!("{CONNECTIONS}?{query}")).await;
        list["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }
}

const CONNECTIONS: &str = "/api/v2/team/connections";
const NOBODY: &str = "00000000-0000-dead-beef-000000000000";

fn team(handle: &str, name: &str) -> Value {
    json!({"data": {"type": "team", "attributes": {"handle": handle, "name": name}}})
}

fn connection(team: &str, connected: &str) -> Value {
    json!({
        "type": "team_connection",
        "attributes": {"managed_by": "datadog", "source": "github"},
        "relationships": {
            "connected_team": {"data": {"id": connected, "type": "github_team"}},
            "team": {"data": {"id": team, "type": "team"}},
        },
    })
}

fn by_id(id: &str) -> Value {
    json!({"data": [{"id": id, "type": "team_connection"}]})
}

fn membership(user: &str, role: Value) -> Value {
    json!({"data": {
        "type": "team_memberships",
        "attributes": {"role": role},
        "relationships": {"user": {"data": {"id": user, "type": "users"}}},
    }})
}

fn link(parent: &str, sub: &str) -> Value {
    let to = |id| json!({"data": {"id": id, "type": "team"}});
    json!({"data": {"type": "team_hierarchy_links", "relationships": {"parent_team": to(parent), "sub_team": to(sub)}}})
}

fn sync(attributes: Value) -> Value {
    json!({"data": {"type": "team_sync_bulk", "attributes": attributes}})
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

#[tokio::test]
async fn recorded_bodies_are_reproduced_byte_for_byte() {
    let judged = Judged::start().await;
    let team_id = judged.new_team("quoted").await;
    let same = |answer: Answer, expected: &str| assert_eq!(answer.text, expected);

    let empty = judged.expect(400, "POST", CONNECTIONS, json!({"data": []})).await;
    same(
        empty,
        r#"{"errors":[{"status":"400","title":"Bad Request","detail":"attribute \"data\" at least one team connection must be provided"}]}"#,
    );
    let created = judged
        .expect(201, "POST", CONNECTIONS, json!({"data": [connection(&team_id, "@acme/team-1")]}))
        .await;
    let id = created.id();
    same(
        created,
        &format!(
            r#"{{"data":[{{"id":"{id}","type":"team_connection","attributes":{{"managed_by":"datadog","source":"github"}},"relationships":{{"connected_team":{{"data":{{"id":"@acme/team-1","type":"github_team"}}}},"team":{{"data":{{"id":"{team_id}","type":"team"}}}}}}}}]}}"#
        ),
    );
    let again = judged
        .expect(409, "POST", CONNECTIONS, json!({"data": [connection(&team_id, "@acme/team-1")]}))
        .await;
    same(
        again,
        r#"{"errors":[{"status":"409","title":"Conflict","detail":"failed to add team connections: one or more team attributes already exist"}]}"#,
    );
    let mut sourceless = connection(&team_id, "@acme/team-2");
    sourceless["attributes"] = json!({});
    let refused = judged.expect(400, "POST", CONNECTIONS, json!({"data": [sourceless]})).await;
    same(
        refused,
        r#"{"errors":[{"status":"400","title":"Bad Request","detail":"attribute \"source\" \"\" is not a supported external team type, must be one of [github scim servicenow]"}]}"#,
    );
    let blank = judged.expect(400, "DELETE", CONNECTIONS, by_id("")).await;
    same(
        blank,
        r#"{"errors":[{"status":"400","title":"Bad Request","detail":"attribute \"id\" one or more team connection ids are not present"}]}"#,
    );

    let duplicate = judged.expect(409, "POST", "/api/v2/team", team("quoted", "quoted")).await;
    same(duplicate, r#"{"errors":["Team name and handle must be unique"]}"#);
    let no_uuid = judged.expect(404, "GET", "/api/v2/team/REPLACE.ME", Value::Null).await;
    same(no_uuid, r#"{"errors":["REPLACE.ME is not a valid UUID not found"]}"#);
    let gone = judged.expect(404, "DELETE", &format!("/api/v2/team/{NOBODY}"), Value::Null).await;
    same(gone, &format!(r#"{{"errors":["Team for ID {NOBODY} not found"]}}"#));

    let members = format!("/api/v2/team/{team_id}/memberships");
    judged.expect(200, "POST", &members, membership(NOBODY, Value::Null)).await;
    let present = judged.expect(409, "POST", &members, membership(NOBODY, Value::Null)).await;
    same(
        present,
        &format!(
            r#"{{"errors":[{{"status":"409","title":"Conflict","detail":"users already present on the team [{NOBODY}]"}}]}}"#
        ),
    );

    judged
        .expect(
            204,
            "POST",
            "/api/v2/team/sync",
            sync(json!({"source": "github", "type": "provision", "frequency": "paused"})),
        )
        .await;
    let first = judged.ask("GET", "/api/v2/team/sync?filter[source]=github", Value::Null).await.id();
    judged
        .expect(
            204,
            "POST",
            "/api/v2/team/sync",
            sync(json!({"source": "github", "type": "link", "frequency": "paused"})),
        )
        .await;
    let synced = judged.ask("GET", "/api/v2/team/sync?filter[source]=github", Value::Null).await;
    same(
        synced,
        &format!(
            r#"{{"data":[{{"id":"{first}","type":"team_sync_bulk","attributes":{{"frequency":"paused","source":"github","sync_membership":false,"type":"link"}}}}]}}"#
        ),
    );
}

#[tokio::test]
async fn pages_are_described_as_recorded() {
    let judged = Judged::start().await;
    let team = judged.new_team("paged").await;
    let mut ids = BTreeSet::new();
    for number in 0..6 {
        ids.insert(judged.connect(&team, &format!("@acme/t{number}")).await);
    }
    let page = |answer: &Answer| answer.text.split(r#""meta":"#).nth(1).unwrap().to_owned();
    let sized = judged.ask("GET", &format!("{CONNECTIONS}?page[size]=10"), Value::Null).await;
    assert_eq!(
        page(&sized),
        r#"{"page":{"type":"number_size","number":0,"size":10,"total":6,"first_number":0,"prev_number":null,"next_number":null,"last_number":0}}}"#
    );
    let plain = judged
        .ask("GET", &format!("{CONNECTIONS}?filter[connection_ids]={}", ids.first().unwrap()), Value::Null)
        .await;
    assert_eq!(
        page(&plain),
        r#"{"page":{"type":"offset_limit","offset":0,"limit":100,"total":1,"first_offset":0,"prev_offset":null,"next_offset":null,"last_offset":0}}}"#
    );
    let mut seen = BTreeSet::new();
    for number in 0..2 {
        seen.append(&mut judged.connection_ids(&format!("page[size]=4&page[number]={number}")).await);
    }
    assert_eq!(seen, ids);

    let all = judged.get("/api/v2/team").await;
    assert_eq!(
        all["meta"]["pagination"],
        json!({"type": "offset_limit", "offset": 0, "limit": 100, "total": 8, "first_offset": 0, "prev_offset": 0, "next_offset": 100, "last_offset": 0})
    );
    let last = judged.get("/api/v2/team?page[size]=4&page[number]=1").await;
    assert_eq!(
        last["meta"]["pagination"],
        json!({"type": "number_size", "number": 1, "size": 4, "total": 8, "first_number": 0, "prev_number": 0, "next_number": 2, "last_number": 1})
    );
    assert!(last["links"]["next"].as_str().unwrap().ends_with("/api/v2/team?page[number]=2&page[size]=4"));
    let trimmed = judged.get("/api/v2/team?fields[team]=id,name,handle&page[size]=1").await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (keys(&trimmed["data"][0]), keys(&trimmed["data"][0]["attributes"])),
        (vec!["attributes".into(), "id".into(), "type".into()], vec!["handle".into(), "name".into()])
    );
}

#[tokio::test]
async fn connections_are_filtered_and_go_with_their_team() {
    let judged = Judged::start().await;
    let (one, two) = (judged.new_team("one").await, judged.new_team("two").await);
    // One GitHub team on two Datadog teams, one Datadog team with two GitHub teams.
    let shared = judged.connect(&one, "@acme/shared").await;
    let other = judged.connect(&two, "@acme/shared").await;
    let only = judged.connect(&two, "@acme/only").await;
    let set = |ids: &[&String]| ids.iter().map(|id| (*id).clone()).collect::<BTreeSet<_>>();
    let expected: BTreeMap<String, BTreeSet<String>> = [
        (String::new(), set(&[&shared, &other, &only])),
        ("filter[sources]=github".into(), set(&[&shared, &other, &only])),
        ("filter[sources]=scim,servicenow".into(), set(&[])),
        (format!("filter[team_ids]={one}"), set(&[&shared])),
        (format!("filter[team_ids]={one},{two}"), set(&[&shared, &other, &only])),
        ("filter[connected_team_ids]=@acme/shared".into(), set(&[&shared, &other])),
        ("filter[connected_team_ids]=%40acme%2Fonly,@acme/shared".into(), set(&[&shared, &other, &only])),
        ("filter[connected_team_ids]=@ACME/shared".into(), set(&[])),
        (format!("filter[connected_team_ids]=@acme/shared&filter[team_ids]={two}"), set(&[&other])),
        (format!("filter[connection_ids]={only},{shared},{NOBODY}"), set(&[&only, &shared])),
    ]
    .into();
    for (query, ids) in expected {
        assert_eq!(judged.connection_ids(&query).await, ids, "{query}");
    }
    // All or nothing, both ways.
    let half_known = json!({"data": [connection(&one, "@acme/new"), connection(&two, "@acme/only")]});
    judged.expect(409, "POST", CONNECTIONS, half_known).await;
    let half_known =
        json!({"data": [{"id": only, "type": "team_connection"}, {"id": NOBODY, "type": "team_connection"}]});
    judged.expect(404, "DELETE", CONNECTIONS, half_known).await;
    assert_eq!(judged.connection_ids("").await.len(), 3);

    judged.expect(204, "DELETE", &format!("/api/v2/team/{two}"), Value::Null).await;
    assert_eq!(judged.connection_ids("").await, set(&[&shared]));
    judged.expect(404, "DELETE", CONNECTIONS, by_id(&only)).await;
}

#[tokio::test]
async fn an_absent_mark_is_filled_with_the_callers_id() {
    let judged = Judged::start().await;
    let team = judged.new_team("unmarked").await;
    let mut item = connection(&team, "@acme/x");
    item["attributes"] = json!({"source": "github"});
    let created = judged.expect(201, "POST", CONNECTIONS, json!({"data": [item]})).await.json();
    assert_eq!(created["data"][0]["attributes"]["managed_by"].as_str().unwrap().len(), 36);
    assert_eq!(created.get("meta"), None);
}
