//! Workers on one PostgreSQL that were started with different settings.

use std::{collections::BTreeSet, fs::File};

use reqwest::Method;
use serde_json::{Value, json};

use super::processes::{self, Worker};
use crate::{
    schema::Schema,
    support::{
        eventually,
        world::{SECRET, World, linked},
    },
};

/// What a worker answers at this path.
async fn answer(world: &World, worker: &Worker, path: &str) -> String {
    let url = format!("http://{}{path}", worker.address());
    world.http.get(&url).send().await.unwrap().text().await.unwrap()
}

/// The worker's gauge, and what `/readyz` says of its settings.
async fn outdated(world: &World, worker: &Worker) -> (bool, bool) {
    let metrics = answer(world, worker, "/metrics").await;
    let ready: Value = serde_json::from_str(&answer(world, worker, "/readyz").await).unwrap();
    assert_eq!(ready["ok"], true, "it accepts deliveries: {ready}");
    (metrics.lines().any(|line| line == "teamlink_settings_outdated 1"), ready["worker"]["settings"] != "ok")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_worker_with_the_rules_loaded_last_writes_and_the_other_accepts_until_that_one_is_dead() {
    let schema = Schema::create().await;
    let world = World::new(2, &[("TEAMLINK_LEDGER__URL", &schema.url)]).await;
    world.pass().await;
    let connected = world.connections().await;
    let teams: Vec<Value> =
        ["one", "two", "three", "for-all"].iter().map(|it| json!({"handle": it, "name": it})).collect();
    world.seed(json!({"datadog_teams": teams})).await;
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/postgres_settings.log");
    let log = File::create(path).unwrap();
    let old = Worker::run(&world, &[], &[], &log).await;
    old.ready(&world).await;
    let hook = json!({"config": {
        "url": format!("http://{}/webhooks/github", old.address()),
        "secret": SECRET,
        "content_type": "json",
    }});
    world.github(Method::POST, "/orgs/acme/hooks", hook).await;
    let with = |more: &[&str]| -> BTreeSet<String> {
        connected.iter().cloned().chain(more.iter().map(|it| (*it).to_owned())).collect()
    };
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "one"})).await;
    let one = linked(["one"]).pop_first().unwrap();
    eventually("by the old rules", with(&[&one]), async || world.connections().await).await;
    assert_eq!(outdated(&world, &old).await, (false, false));

    // All teams that are new from now on belong to one Datadog team.
    let known = connected.iter().map(|it| it.split(' ').next().unwrap()).chain(["one"]);
    let mut rules: String =
        known.map(|slug| format!("[[mapping]]\ngithub = \"acme/{slug}\"\ndatadog = \"{slug}\"\n")).collect();
    rules += "[[mapping]]\ngithub = \"acme/*\"\ndatadog = \"for-all\"\n";
    let rules = world.file("new.toml", &rules);
    let new = Worker::run(&world, &["--config", &rules], &[], &log).await;
    new.ready(&world).await;
    let since = world.seq().await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "two"})).await;
    let two = "for-all = @acme/two";
    eventually("by the new rules", with(&[&one, two]), async || world.connections().await).await;
    eventually("the old worker says why", (true, true), async || outdated(&world, &old).await).await;
    assert_eq!(outdated(&world, &new).await, (false, false));
    let hosts = processes::writers(&world, since).await;
    assert_eq!(hosts.len(), 1, "one of them wrote: {hosts:?}");

    new.kill().await;
    // The old rules are what the remaining worker has.
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "three"})).await;
    let three = linked(["three"]).pop_first().unwrap();
    eventually("the old one goes on", true, async || world.connections().await.contains(&three)).await;
    eventually("it says nothing more", (false, false), async || outdated(&world, &old).await).await;
    old.stop().await;
    let said = std::fs::read_to_string(path).unwrap();
    assert_eq!(said.matches("loaded other settings at").count(), 1, "once: {said}");
    assert_eq!(said.matches("takes leases again").count(), 1, "once: {said}");
    assert_eq!(
        processes::column(&schema, "SELECT id FROM processes").await.len(),
        1,
        "the one that was killed"
    );
    schema.remove().await;
}
