//! The sandbox is the judge of teamlink; this is the judge of the sandbox. Every Datadog operation is asked for each
//! of its answers, and each answer is judged by the official contract, its listed differences, and the recordings.

mod contract;
mod pages;
mod recorded;
mod walk;

use std::collections::BTreeSet;

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

fn sync(attributes: Value) -> Value {
    json!({"data": {"type": "team_sync_bulk", "attributes": attributes}})
}

/// Returns a body of `tests/recorded`, with these ids in the places that it names. The newline at the end of the file
/// isn't part of it.
fn recorded(name: &str, ids: &[(&str, &str)]) -> String {
    let text = std::fs::read_to_string(format!("tests/recorded/{name}.json")).unwrap();
    let body = text.strip_suffix('\n').unwrap().to_owned();
    ids.iter().fold(body, |body, (place, id)| body.replace(place, id))
}
