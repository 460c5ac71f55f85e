//! Documents of integrations, as tests make them, read them and change them by hand.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    eventually,
    world::{World, text},
};

pub const ORG: (&str, &str) = ("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "org");

pub fn path(id: &str) -> String {
    format!("/api/v2/idp/entity_integrations/{id}")
}

/// `acme` with these repositories. The next look writes the first entries of its document.
pub async fn repositories(names: &[&str], env: &[(&str, &str)]) -> World {
    let world = World::new(0, &[&[ORG], env].concat()).await;
    let repos: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
    world.seed(json!({"orgs": [{"login": "acme", "repos": repos}]})).await;
    approve_held(&world, &[]).await;
    world
}

/// Looks at everything and approves what is held, such as the first entries of a document.
pub async fn approve_held(world: &World, settings: &[&str]) {
    let said = text(&world.teamlink(&[&["sync"], settings].concat()).await);
    let hashes = said.split("teamlink approve ").skip(1).map(|rest| rest.split(' ').next().unwrap());
    for hash in hashes.collect::<BTreeSet<_>>() {
        let approved = world.teamlink(&["approve", hash, "--reason", "meant so"]).await;
        assert!(approved.status.success(), "{}", text(&approved));
    }
}

/// An entry of GitHub's document.
pub fn repository(name: &str) -> Value {
    json!({"hostname": "127.0.0.1", "github_org_name": "acme", "repo_name": name})
}

pub async fn put(world: &World, id: &str, config: &Value) {
    let body =
        json!({"data": {"type": "entity_integration_config_requests", "attributes": {"config": config}}});
    world.datadog(Method::PUT, &path(id), body).await;
}

pub async fn config(world: &World, id: &str) -> Value {
    world.datadog(Method::GET, &path(id), Value::Null).await["data"]["attributes"]["config"].clone()
}

/// The names in GitHub's document.
pub async fn names(world: &World) -> BTreeSet<String> {
    let url = format!("{}{}", world.sandbox.url(), path("github"));
    let request = world.http.get(url).header("DD-API-KEY", "api").header("DD-APPLICATION-KEY", "app");
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let entries = answer["data"]["attributes"]["config"]["enabled_repos"].as_array().cloned();
    let name = |entry: &Value| entry["repo_name"].as_str().unwrap().to_owned();
    entries.unwrap_or_default().iter().map(name).collect()
}

pub fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub async fn become_(world: &World, expected: &[&str]) {
    eventually("the names in the document", set(expected), async || names(world).await).await;
}

/// The PUTs that teamlink sent.
pub async fn puts(world: &World) -> Vec<Value> {
    let requests = world.requests(0).await;
    requests.into_iter().filter(|it| it["method"] == "PUT" && !it["fence"].is_null()).collect()
}

pub async fn repo(world: &World, name: &str, change: Value) {
    world.github(Method::PATCH, &format!("/repos/acme/{name}"), change).await;
}
