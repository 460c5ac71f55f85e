//! Nothing is removed that should not be: failed, empty and short reads, mistaken settings, a lost ledger, and
//! too many removals at once.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::world::{World, linked, text};

const SOON: Duration = Duration::from_secs(20);

/// Requests since `since` that delete connections.
async fn deletes(world: &World, since: u64) -> usize {
    let requests = world.requests(since).await;
    requests
        .iter()
        .filter(|request| request["path"] == "/api/v2/team/connections" && request["method"] == "DELETE")
        .map(|request| request["body"]["data"].as_array().map_or(1, Vec::len))
        .sum()
}

async fn everything(world: &World) -> BTreeSet<String> {
    linked(world.datadog_teams().await.keys())
}

/// A `sync` under this fault removes nothing, says why on one line, and exits with 2.
async fn holds_under(teams: usize, fault: Value) {
    let world = World::new(teams, &[]).await;
    world.pass().await;
    let (expected, since) = (everything(&world).await, world.seq().await);
    world.faults(json!([fault])).await;
    let output = world.teamlink(&["sync"]).await;
    let said = text(&output);
    println!("{teams} teams, {fault}:\n{said}");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(deletes(&world, since).await, 0, "{said}");
    assert_eq!(
        said.lines().filter(|line| line.contains("nothing was removed, because")).count(),
        1,
        "{said}"
    );
    world.faults(json!([])).await;
    world.becomes(&expected, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_teams_that_is_empty_refused_missing_or_short_removes_nothing() {
    for teams in [200, 8] {
        let list = "/orgs/*/teams";
        holds_under(teams, json!({"method": "GET", "path": list, "empty": true})).await;
        holds_under(
            teams,
            json!({"method": "GET", "path": list, "status": 403, "body": "{\"message\":\"Forbidden\"}"}),
        )
        .await;
        holds_under(
            teams,
            json!({"method": "GET", "path": list, "status": 404, "body": "{\"message\":\"Not Found\"}"}),
        )
        .await;
        holds_under(teams, json!({"method": "GET", "path": list, "truncate": true})).await;
        holds_under(teams, json!({"method": "GET", "path": "/api/v2/team", "empty": true})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lacks_one_team_removes_nothing() {
    let world = World::new(8, &[]).await;
    world.pass().await;
    let (expected, since) = (everything(&world).await, world.seq().await);
    let list = world.github(Method::GET, "/orgs/acme/teams?per_page=100", Value::Null).await;
    let short = serde_json::to_string(&list.as_array().unwrap()[1..]).unwrap();
    world.faults(json!([{"method": "GET", "path": "/orgs/*/teams", "status": 200, "body": short}])).await;
    let output = world.teamlink(&["sync"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!(deletes(&world, since).await, 0);
    world.faults(json!([])).await;
    world.becomes(&expected, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_suddenly_unmaps_everything_or_maps_it_to_one_team_removes_nothing() {
    for rules in ["github = \"acmee/*\"\ndatadog = \"{slug}\"", "github = \"*/*\"\ndatadog = \"one\""] {
        for teams in [200, 8] {
            let world = World::new(teams, &[]).await;
            world.pass().await;
            world.seed(json!({"datadog_teams": [{"handle": "one", "name": "One"}]})).await;
            let since = world.seq().await;
            let file = world.file("typo.toml", &format!("[[mapping]]\n{rules}\n"));
            let output = world.teamlink(&["--config", &file, "sync"]).await;
            let said = text(&output);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert_eq!(deletes(&world, since).await, 0, "{said}");
            let reasons = said.lines().filter(|line| line.starts_with("held: delete")).count();
            assert_eq!(reasons, teams, "{said}");
            assert!(said.contains("teamlink approve "), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_removes_nothing_and_reports_orphans() {
    for teams in [200, 8] {
        let mut world = World::new(teams, &[]).await;
        world.pass().await;
        let (expected, since) = (everything(&world).await, world.seq().await);
        let ledger = world.file("anew.db", "");
        std::fs::remove_file(&ledger).unwrap();
        world.set(&[("TEAMLINK_LEDGER__URL", &format!("sqlite:{ledger}"))]);
        let output = world.teamlink(&["sync", "--format", "json"]).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&said[0]["progress"]["owned"], &said[0]["progress"]["orphans"]),
            (&json!(0), &json!(teams))
        );
        assert_eq!(deletes(&world, since).await, 0);
        world.becomes(&expected, SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixty_single_deletions_twenty_fit_the_window_and_one_approval_lets_the_others_go_once() {
    let mut world = World::new(
        300,
        &[
            ("TEAMLINK_GUARD__MAX_PER_WINDOW", "20"),
            ("TEAMLINK_GUARD__MAX_REMOVALS", "100"),
            ("TEAMLINK_GUARD__MAX_SHARE", "0.3"),
            ("TEAMLINK_GUARD__FIRST_CREATES", "1000"),
        ],
    )
    .await;
    world.pass().await;
    world.start().await;
    let mut slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    let kept = slugs.split_off(60);
    for slug in &slugs {
        world.github(Method::DELETE, &format!("/orgs/acme/teams/{slug}"), Value::Null).await;
    }
    let held = loop {
        let held = held_set(&world).await;
        if held.as_ref().is_some_and(|(_, count)| *count == 40) {
            break held.unwrap().0;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(world.connections().await.len(), 280, "20 went, 40 are held");

    // The hash stays while other teams of the organisation come and go.
    world.seed(json!({"datadog_teams": [{"handle": "newcomer", "name": "Newcomer"}]})).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "Newcomer"})).await;
    world.seed(json!({"datadog_teams": [{"handle": "renamed", "name": "Renamed"}]})).await;
    world.github(Method::PATCH, &format!("/orgs/acme/teams/{}", kept[0]), json!({"name": "Renamed"})).await;
    let mut rest: BTreeSet<String> = linked(&kept[1..]);
    rest.extend(linked(["newcomer", "renamed"]));
    let deadline = std::time::Instant::now() + SOON;
    while !rest.is_subset(&world.connections().await) {
        assert!(std::time::Instant::now() < deadline, "the newcomer and the renamed team are not connected");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(held_set(&world).await, Some((held.clone(), 40)));

    let approved = world.teamlink(&["approve", &held, "--reason", "clean-up"]).await;
    assert_eq!(approved.status.code(), Some(0), "{}", text(&approved));
    world.becomes(&rest, SOON).await;
    let again = world.teamlink(&["approve", &held, "--reason", "clean-up"]).await;
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert_eq!(held_set(&world).await, None);
    world.stop().await;
}

/// The hash of what is held, and how much that is.
async fn held_set(world: &World) -> Option<(String, usize)> {
    let ledger = teamlink::app::ledger(&world.settings).await.unwrap();
    let org = ledger.orgs().await.unwrap().first()?.facts.id;
    let now = teamlink::model::Time::from(std::time::SystemTime::now());
    let set = ledger.held_set(teamlink::model::Lane::Org(org), now).await.unwrap()?;
    Some((set.hash, set.items.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_creates_of_a_large_first_pass_wait_until_a_person_syncs() {
    let mut world = World::new(30, &[("TEAMLINK_GUARD__FIRST_CREATES", "10")]).await;
    world.start().await;
    // The first event of the organisation has the daemon look at all of it.
    world.seed(json!({"datadog_teams": [{"handle": "first", "name": "First"}]})).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "First"})).await;
    let deadline = std::time::Instant::now() + SOON;
    while held_set(&world).await.is_none_or(|(_, count)| count != 31) {
        assert!(std::time::Instant::now() < deadline, "{:?}", held_set(&world).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(world.connections().await.is_empty());
    let output = world.teamlink(&["sync"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    world.becomes(&everything(&world).await, SOON).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_changed_rule_removes_goes_once_it_is_approved() {
    let world = World::new(8, &[]).await;
    world.pass().await;
    let mut expected = everything(&world).await;
    let ignored = expected.pop_first().unwrap();
    let slug = ignored.split(' ').next().unwrap();
    let rules = format!(
        "[[mapping]]\ngithub = \"acme/{slug}\"\nignore = true\n[[mapping]]\ngithub = \"*/*\"\ndatadog = \"{{slug}}\"\n"
    );
    let file = world.file("ignoring.toml", &rules);
    let output = world.teamlink(&["--config", &file, "sync"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let (hash, count) = held_set(&world).await.unwrap();
    assert_eq!(count, 1);
    let approved = world.teamlink(&["approve", &hash, "--reason", "left alone from now on"]).await;
    assert_eq!(approved.status.code(), Some(0), "{}", text(&approved));
    let output = world.teamlink(&["--config", &file, "sync"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(world.connections().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_ends_with_the_removal_that_it_was_given_for() {
    let world = World::new(8, &[]).await;
    world.pass().await;
    let all = everything(&world).await;
    let ignored = all.iter().take(3).map(|line| line.split(' ').next().unwrap());
    let ignored = ignored.map(|slug| format!("[[mapping]]\ngithub = \"acme/{slug}\"\nignore = true\n"));
    let rest = "[[mapping]]\ngithub = \"*/*\"\ndatadog = \"{slug}\"\n".to_owned();
    let wrong = world.file("wrong.toml", &ignored.chain([rest.clone()]).collect::<String>());
    let right = world.file("right.toml", &rest);
    let under = async |rules: &str| world.teamlink(&["--config", rules, "sync"]).await.status.code();
    assert_eq!(under(&wrong).await, Some(2));
    let (hash, count) = held_set(&world).await.unwrap();
    assert_eq!(count, 3);
    let approved = world.teamlink(&["approve", &hash, "--reason", "meant so", "--expires", "30d"]).await;
    assert_eq!(approved.status.code(), Some(0), "{}", text(&approved));
    // The mistake is found before they go.
    assert_eq!(under(&right).await, Some(0));
    assert_eq!(under(&wrong).await, Some(2));
    assert_eq!(world.connections().await, all);
    assert_eq!(held_set(&world).await.map(|(_, count)| count), Some(3), "they wait for a person again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_one_organisation_is_none_for_the_next_that_has_its_login() {
    let world = World::new(2, &[("TEAMLINK_GITHUB__ORGS", "acme,initech")]).await;
    world.seed(json!({"orgs": [{"login": "initech", "teams": [{"name": "team-1"}]}]})).await;
    let rest = "[[mapping]]\ngithub = \"*/*\"\ndatadog = \"{slug}\"\n";
    let ignoring = |glob: &str| format!("[[mapping]]\ngithub = \"{glob}\"\nignore = true\n");
    let right = world.file("right.toml", &(ignoring("initech/*") + rest));
    let wrong = world.file("wrong.toml", &(ignoring("*/team-1") + rest));
    let first = world.teamlink(&["--config", &right, "sync"]).await;
    assert_eq!(first.status.code(), Some(0), "{}", text(&first));
    // The hash with which one removal is approved.
    let held = async || {
        let sync = world.teamlink(&["--config", &wrong, "sync"]).await;
        let said = text(&sync);
        assert!(said.contains("held: delete @acme/team-1") && said.contains("1 held"), "{said}");
        let command = said.lines().find_map(|line| line.trim().strip_prefix("teamlink approve ")).unwrap();
        command.split(' ').next().unwrap().to_owned()
    };
    let approve =
        async |hash: &str| world.teamlink(&["approve", hash, "--reason", "meant so"]).await.status.code();
    let of_the_first = held().await;

    world.github(Method::PATCH, "/orgs/acme", json!({"login": "acme-legacy"})).await;
    world.github(Method::PATCH, "/orgs/initech", json!({"login": "acme"})).await;
    // The same removal waits at the organisation that has the login now.
    let of_the_second = held().await;
    assert_ne!(of_the_first, of_the_second);
    assert_eq!(approve(&of_the_first).await, Some(0), "that set was shown");
    assert_eq!(held().await, of_the_second);
    assert_eq!(approve(&of_the_second).await, Some(0));
    let last = world.teamlink(&["--config", &wrong, "sync"]).await;
    assert_eq!(last.status.code(), Some(0), "{}", text(&last));
    let renamed = BTreeSet::from(["team-2 = @acme-legacy/team-2".to_owned()]);
    assert_eq!(world.connections().await, renamed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_outlives_a_look_that_could_not_carry_it_out() {
    let world = World::new(8, &[("TEAMLINK_RECONCILE__BACKOFF_MIN", "100ms")]).await;
    world.pass().await;
    let mut expected = everything(&world).await;
    let slug = expected.pop_first().unwrap().split(' ').next().unwrap().to_owned();
    let rules = format!(
        "[[mapping]]\ngithub = \"acme/{slug}\"\nignore = true\n[[mapping]]\ngithub = \"*/*\"\ndatadog = \"{{slug}}\"\n"
    );
    let file = world.file("ignoring.toml", &rules);
    world.teamlink(&["--config", &file, "sync"]).await;
    let (hash, _) = held_set(&world).await.unwrap();
    world.teamlink(&["approve", &hash, "--reason", "meant so"]).await;
    let fails = json!([{"method": "DELETE", "path": "/api/v2/team/connections", "status": 503, "times": 2}]);
    world.faults(fails).await;
    let output = world.teamlink(&["--config", &file, "sync"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(world.connections().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_refused_batch_only_the_culprit_is_parked() {
    let world = World::new(7, &[]).await;
    let slugs: Vec<String> = world.datadog_teams().await.into_keys().collect();
    // One rule names a Datadog team that does not exist: Datadog refuses every batch that holds it.
    let rules = format!(
        "[reconcile]\nbackoff_min = \"100ms\"\n[[mapping]]\ngithub = \"acme/{}\"\nteam_id = \"{}\"\n[[mapping]]\ngithub = \"*/*\"\ndatadog = \"{{slug}}\"\n",
        slugs[3], "00000000-0000-4000-8000-00000000dead",
    );
    let file = world.file("rules.toml", &rules);
    let output = world.teamlink(&["--config", &file, "sync"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    world.becomes(&linked(slugs.iter().filter(|slug| **slug != slugs[3])), SOON).await;
    let parked = world.teamlink(&["parked", "list", "--format", "json"]).await;
    let parked: Value = serde_json::from_slice(&parked.stdout).unwrap();
    assert_eq!(parked.as_array().unwrap().len(), 1, "{parked:#}");
    assert!(
        parked[0]["subject"].as_str().unwrap().starts_with(&format!("create @acme/{}", slugs[3])),
        "{parked:#}"
    );
    // A full pass tries it again and parks it again, and writes for nobody else.
    let since = world.seq().await;
    world.teamlink(&["--config", &file, "sync"]).await;
    let creates = world.requests(since).await.into_iter().filter(|request| request["method"] == "POST");
    assert!(creates.into_iter().all(|request| request["body"]["data"].as_array().unwrap().len() == 1));
}
