//! The documents of entity integrations, kept by the worker: from nothing, by events, by passes, beside others who write
//! the same document, and never shrunk by an answer that failed.

mod by_hand;
mod declared;
mod entries;
mod large;
mod linked;
mod person;
mod suspect;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    documents::{ORG, approve_held, become_, config, names, put, puts, repo, repositories, repository, set},
    world::{World, text},
};

#[tokio::test]
async fn repositories_are_followed_by_events_and_what_a_person_added_survives() {
    let mut world = repositories(&["app"], &[]).await;
    world.start().await;
    world.pass().await;
    become_(&world, &["app"]).await;
    let mut by_hand = repository("by-hand");
    by_hand["since"] = json!("yesterday");
    let theirs = json!({"enabled_repos": [by_hand, repository("app")], "beside": {"any": 1.5}});
    put(&world, "github", &theirs).await;

    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "new"})).await;
    become_(&world, &["app", "by-hand", "new"]).await;
    repo(&world, "new", json!({"name": "newer"})).await;
    become_(&world, &["app", "by-hand", "newer"]).await;
    repo(&world, "app", json!({"archived": true})).await;
    become_(&world, &["by-hand", "newer"]).await;
    repo(&world, "app", json!({"archived": false})).await;
    become_(&world, &["app", "by-hand", "newer"]).await;
    // Gone: at two looks.
    world.github(Method::DELETE, "/repos/acme/newer", Value::Null).await;
    become_(&world, &["app", "by-hand"]).await;
    let now = config(&world, "github").await;
    assert_eq!((&now["enabled_repos"][0], &now["beside"]), (&by_hand, &json!({"any": 1.5})));
    world.stop().await;
}

#[tokio::test]
async fn a_pass_makes_the_first_document_repairs_drift_and_leaves_alone_what_is_right() {
    let world = repositories(&["app", "lib"], &[]).await;
    world.pass().await;
    assert_eq!(
        config(&world, "github").await,
        json!({"enabled_repos": [repository("app"), repository("lib")]})
    );
    put(&world, "github", &json!({"enabled_repos": [repository("lib"), repository("by-hand")]})).await;
    world.pass().await;
    let repaired = json!({"enabled_repos": [repository("lib"), repository("by-hand"), repository("app")]});
    assert_eq!(config(&world, "github").await, repaired);
    world.pass().await;
    assert_eq!(puts(&world).await.len(), 2, "a third pass had nothing to do");
    let audit = text(&world.teamlink(&["audit"]).await);
    assert!(
        audit.contains("integration:github  add_entry 127.0.0.1/acme/app = integration:github: done"),
        "{audit}"
    );
}

#[tokio::test]
async fn a_transferred_repository_goes_with_proof_by_its_id() {
    let world = repositories(&["app", "lib"], &[]).await;
    world.seed(json!({"orgs": [{"login": "other"}]})).await;
    world.pass().await;
    world.github(Method::POST, "/repos/acme/lib/transfer", json!({"new_owner": "other"})).await;
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app"]));
    let audit = text(&world.teamlink(&["audit"]).await);
    assert!(audit.contains("the repository is other/lib now"), "{audit}");
}

#[tokio::test]
async fn an_answer_that_failed_or_is_short_takes_nothing_away() {
    let world = repositories(&["app", "lib"], &[]).await;
    world.pass().await;
    let before = names(&world).await;
    for (fault, ends) in [
        (json!({"path": "/orgs/acme/repos", "status": 404}), 2),
        (json!({"path": "/orgs/acme/repos", "status": 403}), 2),
        // These pass by themselves, and the pass waits for it.
        (json!({"path": "/orgs/acme/repos", "times": 3, "empty": true}), 0),
        (json!({"path": "/orgs/acme/repos", "times": 3, "truncate": true}), 0),
        (json!({"path": "/orgs/acme/repos", "times": 3, "status": 500}), 0),
        (json!({"path": "/api/v2/idp/*", "status": 403}), 2),
    ] {
        world.faults(json!([fault])).await;
        let sync = world.teamlink(&["sync"]).await;
        assert_eq!(sync.status.code(), Some(ends), "{fault}: {}", text(&sync));
        world.faults(json!([])).await;
        assert_eq!(names(&world).await, before, "{fault}");
        world.pass().await;
    }
    assert_eq!(puts(&world).await.len(), 1);
}

#[tokio::test]
async fn a_list_is_not_emptied_without_a_person() {
    let mut world = repositories(&["app"], &[]).await;
    world.pass().await;
    world.set(&[("TEAMLINK_INTEGRATIONS__GITHUB__EXCLUDE", "acme/*")]);
    let held = world.teamlink(&["sync"]).await;
    assert_eq!(held.status.code(), Some(2), "{}", text(&held));
    let said = text(&held);
    assert!(said.contains("it would leave the list empty, which may mean all"), "{said}");
    assert_eq!(names(&world).await, set(&["app"]));
    let hash = said.split("teamlink approve ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let approved = world.teamlink(&["approve", &hash, "--reason", "meant so"]).await;
    assert!(approved.status.success(), "{}", text(&approved));
    world.pass().await;
    assert_eq!(config(&world, "github").await, json!({"enabled_repos": []}));
    world.pass().await;
    assert_eq!(puts(&world).await.len(), 2);
}

#[tokio::test]
async fn observe_writes_nothing_and_upsert_removes_nothing() {
    let mut world = repositories(&["app"], &[("TEAMLINK_POLICY__MODE", "observe")]).await;
    world.pass().await;
    assert_eq!(puts(&world).await.len(), 0);
    let diff = world.teamlink(&["integrations", "diff", "github"]).await;
    assert_eq!(diff.status.code(), Some(2), "what it would do can be seen: {}", text(&diff));
    world.set(&[("TEAMLINK_POLICY__MODE", "upsert")]);
    approve_held(&world, &[]).await;
    world.pass().await;
    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "new"})).await;
    repo(&world, "app", json!({"archived": true})).await;
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app", "new"]));
    world.set(&[("TEAMLINK_POLICY__MODE", "sync")]);
    world.pass().await;
    assert_eq!(names(&world).await, set(&["new"]));
}

#[tokio::test]
async fn a_field_that_is_missing_in_githubs_answer_decides_nothing() {
    missing_fields_decide_nothing("additive").await;
}

#[tokio::test]
async fn a_field_that_is_missing_in_githubs_answer_decides_nothing_in_exclusive_either() {
    missing_fields_decide_nothing("exclusive").await;
}

/// Each repository of a list lacks another field. Nothing of theirs goes, and what is known of another goes ahead.
async fn missing_fields_decide_nothing(mode: &str) {
    let settings = [
        ("TEAMLINK_INTEGRATIONS__GITHUB__TOPICS", "backend"),
        ("TEAMLINK_INTEGRATIONS__GITHUB__VISIBILITY", "private"),
        ("TEAMLINK_INTEGRATIONS__GITHUB__MODE", mode),
    ];
    let fields = ["archived", "topics", "visibility"];
    let world = World::new(0, &[&[ORG], &settings[..]].concat()).await;
    world.seed(json!({"orgs": [{"login": "acme"}]})).await;
    let private = async |name: &str| {
        world.github(Method::POST, "/orgs/acme/repos", json!({"name": name, "private": true})).await;
        world.github(Method::PUT, &format!("/repos/acme/{name}/topics"), json!({"names": ["backend"]})).await;
    };
    for field in fields {
        private(&format!("no-{field}")).await;
    }
    approve_held(&world, &[]).await;
    world.pass().await;
    let ours = ["no-archived", "no-topics", "no-visibility"];
    assert_eq!(names(&world).await, set(&ours));

    private("new").await;
    let mut list = world.github(Method::GET, "/orgs/acme/repos", Value::Null).await;
    for repository in list.as_array_mut().unwrap() {
        let name = repository["name"].as_str().unwrap().to_owned();
        if let Some(field) = name.strip_prefix("no-") {
            repository.as_object_mut().unwrap().remove(field);
        }
    }
    world.faults(json!([{"method": "GET", "path": "/orgs/acme/repos", "body": list}])).await;
    let diff = world.teamlink(&["integrations", "diff", "github"]).await;
    assert_eq!(diff.status.code(), Some(1), "{}", text(&diff));
    let names_one = |field: &&str| text(&diff).contains(&format!("about acme/no-{field} lacks `{field}`"));
    assert!(fields.iter().any(names_one), "{}", text(&diff));
    let sync = world.teamlink(&["sync"]).await;
    assert_ne!(sync.status.code(), Some(0), "{}", text(&sync));
    assert_eq!(names(&world).await, set(&[&ours[..], &["new"]].concat()));
}

#[tokio::test]
async fn a_document_is_paused_alone_and_looked_at_when_it_is_resumed() {
    let mut world = repositories(&["app"], &[]).await;
    world.pass().await;
    world.start().await;
    let paused = world.teamlink(&["pause", "integration:github", "--reason", "CHANGE-1"]).await;
    assert!(paused.status.success(), "{}", text(&paused));
    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "new"})).await;
    let sync = world.teamlink(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(2), "{}", text(&sync));
    assert!(text(&sync).contains("pause of integration:github"), "{}", text(&sync));
    assert_eq!(names(&world).await, set(&["app"]));
    world.teamlink(&["resume", "integration:github"]).await;
    become_(&world, &["app", "new"]).await;
    // One of everything holds it too, and its end is noticed.
    world.teamlink(&["pause", "all"]).await;
    world.github(Method::POST, "/orgs/acme/repos", json!({"name": "newer"})).await;
    world.teamlink(&["sync"]).await;
    assert_eq!(puts(&world).await.len(), 2);
    world.teamlink(&["resume", "all"]).await;
    become_(&world, &["app", "new", "newer"]).await;
    world.stop().await;
    let wrong = world.teamlink(&["pause", "integration:slack"]).await;
    assert!(text(&wrong).contains("is no document that teamlink writes"), "{}", text(&wrong));
}

#[tokio::test]
async fn a_key_of_another_datadog_organisation_writes_nothing() {
    let world = repositories(&["app"], &[]).await;
    world.pass().await;
    // Learnt when the document was there to be read.
    world.pass().await;
    repo(&world, "app", json!({"archived": true})).await;
    let other = json!({"data": {"id": "x", "type": "entity_integration_configs", "attributes": {
        "integration_id": "github", "org_id": 7, "config": {"enabled_repos": [repository("app"), repository("x")]},
    }}});
    world.faults(json!([{"method": "GET", "path": "/api/v2/idp/*", "body": other}])).await;
    let refused = world.teamlink(&["sync"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("the keys belong to Datadog organisation 7"), "{}", text(&refused));
    assert_eq!(puts(&world).await.len(), 1);
}

#[tokio::test]
async fn a_put_whose_end_is_unknown_is_looked_up_and_what_it_added_is_ours() {
    let world = repositories(&["app", "lib"], &[("TEAMLINK_DATADOG__TIMEOUT", "1s")]).await;
    world.faults(json!([{"method": "PUT", "path": "/api/v2/idp/*", "times": 1, "reset": true}])).await;
    world.pass().await;
    assert_eq!((puts(&world).await.len(), names(&world).await), (1, set(&["app", "lib"])));
    world.faults(json!([{"method": "PUT", "path": "/api/v2/idp/*", "times": 1, "status": 400}])).await;
    repo(&world, "lib", json!({"archived": true})).await;
    let parked = world.teamlink(&["sync"]).await;
    assert_eq!(parked.status.code(), Some(2), "{}", text(&parked));
    assert_eq!(names(&world).await, set(&["app", "lib"]));
    // The next pass tries what was refused again, and the entry of the first PUT is ours to take back.
    world.pass().await;
    assert_eq!(names(&world).await, set(&["app"]));
}

#[tokio::test]
async fn an_entry_that_is_made_again_and_removed_again_takes_another_slot() {
    let world = repositories(&["app", "lib"], &[("TEAMLINK_GUARD__MAX_PER_WINDOW", "1")]).await;
    world.pass().await;
    for (archived, expected) in
        [(true, set(&["lib"])), (false, set(&["app", "lib"])), (true, set(&["app", "lib"]))]
    {
        repo(&world, "app", json!({"archived": archived})).await;
        world.pass().await;
        assert_eq!(names(&world).await, expected);
    }
}

#[tokio::test]
async fn removals_of_entries_take_slots_of_the_guards_window() {
    let names_of: Vec<String> = (1..=6).map(|n| format!("repo-{n}")).collect();
    let all: Vec<&str> = names_of.iter().map(String::as_str).collect();
    let world = repositories(&all, &[("TEAMLINK_GUARD__MAX_PER_WINDOW", "2")]).await;
    world.pass().await;
    for name in &all[..4] {
        repo(&world, name, json!({"archived": true})).await;
    }
    let held = world.teamlink(&["sync"]).await;
    assert_eq!(held.status.code(), Some(2), "{}", text(&held));
    assert!(
        text(&held).contains("the removals of `guard.window` reach `guard.max_per_window`"),
        "{}",
        text(&held)
    );
    assert_eq!(names(&world).await.len(), 4, "two had a slot");
    // What waits is not let go one by one, and the one that comes now finds the window full too.
    repo(&world, all[4], json!({"archived": true})).await;
    let held = world.teamlink(&["sync"]).await;
    assert_eq!((held.status.code(), names(&world).await.len()), (Some(2), 4), "{}", text(&held));
    let hash = text(&held).split("teamlink approve ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let approved = world.teamlink(&["approve", &hash, "--reason", "meant so"]).await;
    assert!(approved.status.success(), "{}", text(&approved));
    world.pass().await;
    assert_eq!(names(&world).await, set(&["repo-6"]), "what is approved needs no slot");
    repo(&world, "repo-6", json!({"name": "renamed"})).await;
    world.pass().await;
    assert_eq!(names(&world).await, set(&["renamed"]), "nor does what is replaced");
}

#[tokio::test]
async fn what_exclusive_takes_from_others_takes_slots_too_and_another_such_writer_is_reported() {
    let settings = [
        ("TEAMLINK_INTEGRATIONS__GITHUB__MODE", "exclusive"),
        ("TEAMLINK_GUARD__MAX_PER_WINDOW", "5"),
        ("TEAMLINK_GUARD__MAX_SHARE", "1"),
    ];
    let world = repositories(&["app"], &settings).await;
    world.pass().await;
    let theirs = |count: usize| {
        let others = (0..count).map(|number| repository(&format!("theirs-{number}")));
        let entries: Vec<Value> = [repository("app")].into_iter().chain(others).collect();
        json!({"enabled_repos": entries})
    };
    for _ in 0..2 {
        put(&world, "github", &theirs(2)).await;
        world.pass().await;
        assert_eq!(names(&world).await, set(&["app"]));
    }
    let audit = text(&world.teamlink(&["audit"]).await);
    assert!(audit.contains("somebody put it back"), "{audit}");
    put(&world, "github", &theirs(44)).await;
    let held = world.teamlink(&["sync"]).await;
    assert_eq!(held.status.code(), Some(2), "{}", text(&held));
    assert_eq!(names(&world).await.len(), 44, "one slot was left");
}

#[tokio::test]
async fn of_two_exclusive_teamlinks_one_waits_for_a_person_and_says_so() {
    let exclusive = ("TEAMLINK_INTEGRATIONS__GITHUB__MODE", "exclusive");
    let include = "TEAMLINK_INTEGRATIONS__GITHUB__INCLUDE";
    let settings = [exclusive, (include, "acme/one-*"), ("TEAMLINK_GUARD__MAX_SHARE", "1")];
    let mut world = repositories(&["one-a", "one-b", "two-a", "two-b"], &settings).await;
    world.pass().await;
    assert_eq!(names(&world).await, set(&["one-a", "one-b"]));
    let first = world.env["TEAMLINK_LEDGER__URL"].clone();
    let second = world.file("second.db", "");
    std::fs::remove_file(&second).unwrap();
    let sides = [(format!("sqlite:{second}"), "acme/two-*"), (first, "acme/one-*")];
    let mut said = [String::new(), String::new()];
    for round in 0..12 {
        let (ledger, of) = &sides[round % 2];
        world.set(&[("TEAMLINK_LEDGER__URL", ledger), (include, of)]);
        said[round % 2] = text(&world.teamlink(&["sync"]).await);
    }
    let sent = puts(&world).await.len();
    assert!(sent <= 4, "{sent} PUTs");
    let waits = said.iter().filter(|said| said.contains("two reads lack all entries of ours")).count();
    assert_eq!(waits, 1, "{said:?}");
}

#[tokio::test]
async fn the_limits_count_the_entries_that_were_removed_within_the_window() {
    let names_of: Vec<String> = (1..=6).map(|n| format!("repo-{n}")).collect();
    let all: Vec<&str> = names_of.iter().map(String::as_str).collect();
    let world = repositories(&all, &[("TEAMLINK_GUARD__MAX_REMOVALS", "2")]).await;
    world.pass().await;
    for (name, left) in [(all[0], 5), (all[1], 4), (all[2], 4)] {
        repo(&world, name, json!({"archived": true})).await;
        world.pass().await;
        assert_eq!(names(&world).await.len(), left, "{name}");
    }
    let held = text(&world.teamlink(&["sync"]).await);
    assert!(held.contains("3 removals exceed `guard.max_removals` (2)"), "{held}");
    let hash = held.split("teamlink approve ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    world.teamlink(&["approve", &hash, "--reason", "meant so"]).await;
    world.pass().await;
    assert_eq!(names(&world).await.len(), 3);
}

#[tokio::test]
async fn an_outage_of_puts_parks_nothing() {
    let settings = [("TEAMLINK_RECONCILE__MAX_ATTEMPTS", "2"), ("TEAMLINK_DATADOG__TIMEOUT", "1s")];
    let mut world = repositories(&["app"], &settings).await;
    world.faults(json!([{"method": "PUT", "path": "/api/v2/idp/*", "times": 3, "status": 500}])).await;
    world.start().await;
    world.pass().await;
    become_(&world, &["app"]).await;
    assert_eq!(text(&world.teamlink(&["parked", "list"]).await), "nothing is parked that matches\n");
    world.stop().await;
}
