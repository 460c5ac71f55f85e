//! Signed in as a GitHub App: each organisation by its own installation, tokens that end, and installations that are
//! suspended or gone, which is never "no teams".

use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{
    app::upstreams,
    github,
    model::{Answer, Class, Trouble},
    operate::check::{self, Verdict},
    sandbox,
};

use crate::support::world::{APP, World, linked, text};

const SOON: Duration = Duration::from_secs(20);
const TOKENS: &str = "/app/installations/*/access_tokens";

fn reader(world: &World) -> github::Reader {
    github::Reader::new(upstreams::github(&world.settings).unwrap()).unwrap()
}

fn present<T: std::fmt::Debug>(answer: Answer<T>) -> T {
    match answer {
        Answer::Present(value) => value,
        other => panic!("not present: {other:?}"),
    }
}

fn forbidden<T: std::fmt::Debug>(answer: Answer<T>) -> Trouble {
    match answer {
        Answer::Forbidden(trouble) => trouble,
        other => panic!("not forbidden: {other:?}"),
    }
}

/// How many tokens were asked for since, successfully or not.
async fn tokens(world: &World, since: u64) -> usize {
    let requests = world.requests(since).await;
    requests.iter().filter(|request| request["path"].as_str().unwrap().ends_with("/access_tokens")).count()
}

/// The path of the App's installation on `acme`.
async fn installation(world: &World) -> String {
    let installation = world.github(Method::GET, "/orgs/acme/installation", Value::Null).await;
    format!("/app/installations/{}", installation["id"])
}

async fn writes(world: &World, since: u64) -> Vec<Value> {
    let mut requests = world.requests(since).await;
    requests.retain(|request| {
        request["method"] != "GET" && request["path"].as_str().unwrap().starts_with("/api/")
    });
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn each_organisation_is_read_with_one_token_of_its_own_installation() {
    let world = World::new(3, &APP).await;
    world.seed(json!({"orgs": [{"login": "other", "teams": [{"name": "Theirs"}]}]})).await;
    let github = reader(&world);
    for login in ["acme", "other", "ACME"] {
        // By id too: the sandbox refuses a token of another installation.
        let org = present(github.org_by_login(login).await);
        let teams = present(github.teams(login, None).await);
        assert_eq!(present(github.team(org.id, teams[0].id).await), teams[0]);
        assert!(present(github.owner(login).await), "an app that may read members sees secret teams");
    }
    assert_eq!(tokens(&world, 0).await, 2);
    let stranger = forbidden(github.org_by_login("nobody").await);
    assert_eq!((stranger.class, stranger.status), (Class::Auth, None));
    assert!(stranger.message.contains("is not installed on organisation nobody; install it"), "{stranger}");
    assert_eq!(present(github.app().await).id, 1);
    forbidden(github.whoami().await);

    let orgs: Vec<String> =
        present(github.installations().await).into_iter().map(|it| it.org.login).collect();
    assert_eq!(orgs, ["acme", "other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_once_however_many_need_it_and_again_before_it_ends_and_when_it_is_refused() {
    let world = World::new(3, &APP).await;
    let github = reader(&world);
    let org = present(github.org_by_login("acme").await).id;
    let many = (0..8).map(|id| github.team(org, teamlink::model::TeamId(id)));
    assert!(futures_util::future::join_all(many).await.iter().all(|answer| *answer == Answer::Absent));
    assert_eq!(tokens(&world, 0).await, 1);

    // Refused though it is not over: one more token, and the read goes on.
    world.faults(json!([{"path": "/orgs/acme/teams", "status": 401, "times": 1}])).await;
    present(github.teams("acme", None).await);
    assert_eq!(tokens(&world, 0).await, 2);
    // Refused again and again: not a token for each try.
    world.faults(json!([{"path": "/orgs/acme/teams", "status": 401}])).await;
    assert_eq!(forbidden(github.teams("acme", None).await).status, Some(401));
    assert_eq!(tokens(&world, 0).await, 3);

    // One that is about to end serves for this read only.
    let mut token = world
        .github(Method::POST, &format!("{}/access_tokens", installation(&world).await), Value::Null)
        .await;
    let soon = SystemTime::now() + Duration::from_secs(30);
    token["expires_at"] = json!(humantime::format_rfc3339_seconds(soon).to_string());
    world.faults(json!([{"path": TOKENS, "status": 201, "body": token, "times": 1}])).await;
    let (github, since) = (reader(&world), world.seq().await);
    for expected in [1, 2, 2] {
        present(github.teams("acme", None).await);
        assert_eq!(tokens(&world, since).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_signs_by_githubs_clock_where_this_machines_is_an_hour_wrong() {
    for clock_ahead_s in [-3600, 3600] {
        let options = sandbox::Options { teams: 3, clock_ahead_s, ..Default::default() };
        let world = World::with(options, &APP).await;
        let github = reader(&world);
        let org = present(github.org_by_login("acme").await);
        let requests = world.requests(0).await;
        let refused = requests.iter().filter(|request| request["status"] == 401).count();
        assert_eq!(refused, 1, "{clock_ahead_s}: the refusal shows what time it is");
        for _ in 0..3 {
            present(github.app().await);
            present(github.installations().await);
            present(github.teams("acme", None).await);
            present(github.org(org.id).await);
        }
        let requests = world.requests(0).await;
        let refused = requests.iter().filter(|request| request["status"] == 401).count();
        assert_eq!(refused, 1, "{clock_ahead_s}: it is known from then on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_github_refuses_is_tried_twice_and_then_rests() {
    let world = World::new(1, &APP).await;
    world.faults(json!([{"path": "/app/installations", "status": 401}])).await;
    let github = reader(&world);
    for _ in 0..5 {
        assert_eq!(forbidden(github.org_by_login("acme").await).class, Class::Auth);
    }
    assert_eq!(world.requests(0).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_the_app_is_never_absence() {
    let world = World::new(3, &APP).await;
    let org = present(reader(&world).org_by_login("acme").await).id;
    let team = present(reader(&world).teams("acme", None).await)[0].id;
    for (fault, class) in [
        (
            json!({"path": TOKENS, "status": 403, "body": {"message": "This installation has been suspended"}}),
            Class::Auth,
        ),
        (json!({"path": TOKENS, "status": 404}), Class::Auth),
        (json!({"path": TOKENS, "status": 401}), Class::Auth),
        (json!({"path": TOKENS, "status": 422}), Class::Permanent),
        (json!({"path": TOKENS, "status": 500}), Class::Transient),
        (json!({"path": TOKENS, "status": 201, "body": {"token": 7, "secret": "ghs_x"}}), Class::Invalid),
        (json!({"path": TOKENS, "status": 403, "headers": {"retry-after": "7"}}), Class::Throttled),
        (json!({"path": "/app/installations", "status": 404}), Class::Auth),
        (json!({"path": "/app/installations", "empty": true}), Class::Auth),
        (json!({"path": "/app/installations", "status": 502}), Class::Transient),
    ] {
        world.faults(json!([fault])).await;
        let github = reader(&world);
        for trouble in [trouble(github.org(org).await), trouble(github.team(org, team).await)] {
            assert_eq!((trouble.class, trouble.status == Some(404)), (class, false), "{fault}: {trouble}");
            assert!(!trouble.message.contains("ghs_"), "{trouble}");
        }
        assert_eq!(trouble(github.teams("acme", None).await).class, class, "{fault}");
        assert_eq!(trouble(github.owner("acme").await).class, class, "{fault}");
    }
}

fn trouble<T: std::fmt::Debug>(answer: Answer<T>) -> Trouble {
    match answer {
        Answer::Forbidden(trouble) | Answer::Failed(trouble) => trouble,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_links_teams_and_without_the_installation_removes_nothing_and_says_why() {
    for (method, end, why) in [
        (Method::PUT, "/suspended", "an owner of acme has to lift the suspension"),
        (Method::DELETE, "", "GitHub App 1 is not installed on organisation 1000001; install it there"),
    ] {
        let world = World::new(8, &APP).await;
        world.pass().await;
        let expected = linked(world.datadog_teams().await.keys());
        assert_eq!(world.connections().await, expected);
        let (path, since) = (installation(&world).await, world.seq().await);
        world.github(method, &format!("{path}{end}"), Value::Null).await;
        let output = world.teamlink(&["sync"]).await;
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let reasons: Vec<&str> =
            said.lines().filter(|line| line.contains("nothing was removed, because")).collect();
        assert!(reasons.len() == 1 && reasons[0].contains(why), "{said}");
        assert_eq!(writes(&world, since).await, Vec::<Value>::new());
        if !end.is_empty() {
            // The suspension is lifted: a team that went meanwhile goes.
            world.github(Method::DELETE, &format!("{path}{end}"), Value::Null).await;
            let gone = expected.first().unwrap().split(' ').next().unwrap().to_owned();
            world.github(Method::DELETE, &format!("/orgs/acme/teams/{gone}"), Value::Null).await;
            let expected = expected.iter().skip(1).cloned().collect();
            let deadline = std::time::Instant::now() + SOON;
            // A refused credential is not tried again at once.
            while world.connections().await != expected {
                assert!(std::time::Instant::now() < deadline, "{gone} is still connected");
                world.pass().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_of_organisations_those_that_installed_the_app_are_served() {
    let mut world = World::new(3, &APP).await;
    world.set(&[("TEAMLINK_GITHUB__ORGS", "")]);
    world.pass().await;
    world.becomes(&linked(world.datadog_teams().await.keys()), SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_which_app_it_is_where_it_is_installed_and_what_it_lacks() {
    let world = World::new(1, &APP).await;
    world.seed(json!({"orgs": [{"login": "other"}]})).await;
    let check = async |orgs: &[&str]| {
        let orgs: Vec<String> = orgs.iter().map(|org| (*org).to_owned()).collect();
        check::github(upstreams::github(&world.settings).unwrap(), &orgs).await.unwrap()
    };
    let good = check(&[]).await;
    assert!(good.iter().all(|finding| finding.verdict == Verdict::Ok), "{good:#?}");
    assert!(good[0].detail.starts_with("teamlink sandbox (id 1) at http"), "{good:#?}");
    assert_eq!((good[1].detail.as_str(), good.len()), ("acme, other", 2 + 2 * 3));

    let bad = |findings: Vec<check::Finding>| {
        let mut bad = findings;
        bad.retain(|finding| finding.verdict == Verdict::Failed);
        assert_eq!(bad.len(), 1, "{bad:#?}");
        format!("{}: {} → {}", bad[0].what, bad[0].detail, bad[0].remedy.clone().unwrap())
    };
    insta::assert_snapshot!(bad(check(&["acme", "nobody"]).await), @"the GitHub App may read nobody: it is not installed there; a renamed organisation's old login is gone → check the spelling in github.orgs, or an owner installs it: https://github.com/apps/teamlink-sandbox");
    let mut installations = world.github(Method::GET, "/app/installations", Value::Null).await;
    installations[0]["permissions"] = json!({"metadata": "read"});
    world.faults(json!([{"path": "/app/installations", "status": 200, "body": installations}])).await;
    insta::assert_snapshot!(bad(check(&["acme"]).await), @"the GitHub App may read acme: its installation lacks the permission Members: read → add the permission in the app's settings, then an owner of acme accepts it");
    world.faults(json!([])).await;
    world.github(Method::PUT, &format!("{}/suspended", installation(&world).await), Value::Null).await;
    insta::assert_snapshot!(bad(check(&[]).await), @"the GitHub App may read acme: its installation is suspended: nothing is read and nothing is removed there → an owner of acme unsuspends it: organisation settings, GitHub Apps");
    world.faults(json!([{"path": "/app", "status": 401, "body": {"message": "A JSON web token could not be decoded"}}])).await;
    assert!(bad(check(&[]).await).contains("that github.private_key is a key of that app"));
}
