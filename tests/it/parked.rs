//! What is given up on is kept with all that is known of it, tried again when there is a reason to, and thrown away only
//! by a person.

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use teamlink::{
    app,
    ledger::Parked,
    model::{Delivery, Time},
    signature,
};

use crate::support::{
    eventually,
    world::{SECRET, World, linked, text},
};

async fn parked(world: &World) -> Vec<Parked> {
    app::ledger(&world.settings).await.unwrap().parked().await.unwrap()
}

/// Sends the daemon a delivery as GitHub would.
async fn deliver(world: &World, guid: &str, body: &str) -> u16 {
    let secret: SecretString = SECRET.into();
    let url = format!("http://{}/webhooks/github", world.daemon.as_ref().unwrap().addr);
    let request = world.http.post(url).header("content-type", "application/json");
    let request = request.header("x-github-event", "team").header("x-github-delivery", guid);
    let signature = signature::sign(body.as_bytes(), &[secret]).unwrap();
    let answer = request.header("x-hub-signature-256", signature).body(body.to_owned()).send().await;
    answer.unwrap().status().as_u16()
}

/// The exit code, and what was printed.
async fn teamlink(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = world.teamlink(args).await;
    (output.status.code(), text(&output))
}

/// What became of each replay and discard, oldest first.
async fn audited(world: &World) -> Vec<(String, String)> {
    let lines = app::ledger(&world.settings).await.unwrap().audit(None, Time(0)).await.unwrap();
    let by_hand = lines.into_iter().filter(|line| line.cause == "person" && line.connected_team.is_empty());
    by_hand.map(|line| (line.action, line.outcome)).collect()
}

#[tokio::test]
async fn what_cannot_be_read_is_shown_whole_replayed_in_vain_and_discarded_with_a_reason() {
    let mut world = World::new(1, &[]).await;
    world.start().await;
    for guid in ["a", "b", "c"] {
        assert_eq!(deliver(&world, guid, "{\"action\": \u{1b}[31m").await, 202);
    }
    let ids: Vec<String> = parked(&world).await.iter().map(|parked| parked.id.to_string()).collect();

    let (code, list) = teamlink(&world, &["parked", "list", "--class", "invalid"]).await;
    assert_eq!(code, Some(0), "{list}");
    assert!(list.starts_with("invalid, decode (3)\n"), "{list}");
    let (_, list) = teamlink(&world, &["parked", "list", "--kind", "action"]).await;
    assert_eq!(list, "nothing is parked that matches\n");
    let (_, story) = teamlink(&world, &["parked", "show", &ids[0]]).await;
    for part in ["delivery a", "at decode", "not JSON", "sha256=", "16 bytes\n{\"action\": \\u{1b}[31m"] {
        assert!(story.contains(part), "{part:?} is not in:\n{story}");
    }
    let (_, json) = teamlink(&world, &["parked", "show", &ids[0], "--format", "json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["guids"], &json["parked"]["attempts"]), (&json!(["a"]), &json!(1)));

    // Nobody can be asked here, so that nothing is done without --yes, nor without saying which.
    let (code, said) = teamlink(&world, &["parked", "replay", &ids[0], "--reason", "r"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("give --yes to replay 1"), "{said}");
    let (code, said) = teamlink(&world, &["parked", "discard", "--reason", "r", "--yes"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("say which of them"), "{said}");
    assert_eq!(audited(&world).await, []);

    let replay =
        ["parked", "replay", "--place", "decode", "--limit", "2", "--rate", "50", "--reason", "r", "--yes"];
    let (code, said) = teamlink(&world, &replay).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("1 more match"), "{said}");
    let attempts: Vec<i64> = parked(&world).await.iter().map(|parked| parked.attempts).collect();
    assert_eq!(attempts, [2, 2, 1]);
    let (code, said) = teamlink(&world, &["parked", "discard", &ids[2], "--reason", "noise", "--yes"]).await;
    assert_eq!((code, said.lines().last()), (Some(0), Some("1 of 1 discarded")));
    assert_eq!(parked(&world).await.len(), 2);
    let expected = [("replay", "parked"), ("replay", "parked"), ("discard", "done")];
    assert_eq!(
        audited(&world).await,
        expected.map(|(action, outcome)| (action.to_owned(), outcome.to_owned()))
    );
}

#[tokio::test]
async fn a_delivery_that_was_not_believed_is_accepted_again_only_once_the_secret_is_right() {
    let queue = [("AMQP_URL", "amqps://nowhere.invalid"), ("TEAMLINK_QUEUE__VERIFY", "always")];
    let mut world = World::new(1, &queue).await;
    let right = world.env["GITHUB_WEBHOOK_SECRET"].clone();
    world.set(&[("GITHUB_WEBHOOK_SECRET", "not yet the right one")]);
    let ledger = app::ledger(&world.settings).await.unwrap();
    let intake = app::intake_alone(&world.settings, &ledger).await.unwrap();
    let body = br#"{"action":"created","team":{"id":11},"organization":{"id":1,"login":"acme"}}"#;
    let delivery = Delivery {
        guid: "g".into(),
        event: "team".into(),
        host: None,
        signature: signature::sign(body, &[SECRET.into()]),
        received_at: Time(7),
        body: body[..].into(),
    };
    intake.accept_all(vec![delivery]).await.unwrap();
    let found = parked(&world).await;
    assert_eq!((found[0].place.as_str(), found[0].class.as_str()), ("signature", "invalid"));
    assert!(ledger.orgs().await.unwrap().is_empty(), "nothing that it says was believed");

    let replay = ["parked", "replay", "--all", "--reason", "secret corrected", "--yes"];
    assert_eq!(teamlink(&world, &replay).await.0, Some(2), "a replay believes no more than the queue does");
    world.set(&[("GITHUB_WEBHOOK_SECRET", &right)]);
    let (code, said) = teamlink(&world, &replay).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(parked(&world).await, []);
    let heard = ledger.due_strangers(Time::from(std::time::SystemTime::now())).await.unwrap();
    assert_eq!(
        heard.iter().map(|it| it.login.as_str()).collect::<Vec<_>>(),
        ["acme"],
        "GitHub is asked about it"
    );
}

#[tokio::test]
async fn a_delivery_whose_payload_was_not_kept_says_so_and_is_not_tried() {
    let world = World::new(1, &[]).await;
    let ledger = app::ledger(&world.settings).await.unwrap();
    let intake = app::intake_alone(&world.settings, &ledger).await.unwrap();
    let delivery = |guid: &str, body: Vec<u8>| Delivery {
        guid: guid.into(),
        event: "team".into(),
        host: None,
        signature: None,
        received_at: Time(7),
        body: body.into(),
    };
    // Two of 24 MiB fit into a day's 64 MiB.
    for (number, guid) in ["a", "b", "c"].into_iter().enumerate() {
        intake.accept_all(vec![delivery(guid, vec![b'x'; (24 << 20) + number])]).await.unwrap();
    }
    let lost = parked(&world).await.pop().unwrap();
    assert_eq!((lost.subject.as_str(), lost.body_bytes), ("c", None));
    let id = lost.id.to_string();
    let (code, said) = teamlink(&world, &["parked", "show", &id]).await;
    assert!(code == Some(0) && said.contains("payload      not kept"), "{said}");
    assert!(said.contains("parked payloads may take 64 MiB a day and 256 MiB together"), "{said}");
    let (code, said) = teamlink(&world, &["parked", "replay", &id, "--reason", "why", "--yes"]).await;
    assert!(code == Some(2) && said.contains("its payload was not kept"), "{said}");
    let (code, said) = teamlink(&world, &["parked", "discard", "--all", "--reason", "why", "--yes"]).await;
    assert!(code == Some(0) && said.contains("3 of 3 discarded"), "{said}");
}

/// POSTs of connections that Datadog has been sent since then.
async fn creates(world: &World, since: u64) -> usize {
    let sent =
        |request: &&Value| request["method"] == "POST" && request["path"] == "/api/v2/team/connections";
    world.requests(since).await.iter().filter(sent).count()
}

#[tokio::test]
async fn a_refused_write_is_tried_once_by_each_event_pass_and_replay_and_success_clears_it() {
    let mut world = World::new(2, &[]).await;
    world.faults(json!([{"method": "POST", "path": "/api/v2/team/connections", "status": 400}])).await;
    world.start().await;
    world.pass().await;
    let found = parked(&world).await;
    assert_eq!(found.len(), 2, "{found:#?}");
    let Parked { place, class, attempts, first_error, first_at, .. } = &found[0];
    assert_eq!((place.as_str(), class.as_str(), *attempts), ("create", "permanent", 2));

    let teams = world.github(Method::GET, "/orgs/acme/teams", Value::Null).await;
    let slug = |index: usize| teams[index]["slug"].as_str().unwrap().to_owned();
    let edit = async |text: &str| {
        let path = format!("/orgs/acme/teams/{}", slug(0));
        world.github(Method::PATCH, &path, json!({"description": text})).await;
    };
    // An event: once more, and given up on at once.
    let seq = world.seq().await;
    edit("still wanted").await;
    let tried = async || parked(&world).await.iter().map(|parked| parked.attempts).max().unwrap();
    eventually("the event has it tried once more", 3, tried).await;
    assert_eq!(creates(&world, seq).await, 1);
    let again = parked(&world).await;
    let one = again.iter().find(|parked| parked.attempts == 3).unwrap();
    assert_eq!((&one.first_error, &one.first_at), (first_error, first_at));
    assert!(one.parked_at > one.first_at);

    // A full pass: both, each once, in one batch and its halves.
    let seq = world.seq().await;
    world.pass().await;
    let made = creates(&world, seq).await;
    assert!((1..=3).contains(&made), "{made}");
    assert_eq!(parked(&world).await.len(), 2);

    // The cause is mended, and a person asks for one of them: that one goes.
    world.faults(json!([])).await;
    let (id, subject) = (again[0].id.to_string(), again[0].subject.clone());
    let (code, said) = teamlink(&world, &["parked", "replay", &id, "--reason", "mended", "--yes"]).await;
    assert_eq!(code, Some(0), "{said}");
    let left = async || parked(&world).await.iter().map(|parked| parked.subject.clone()).collect::<Vec<_>>();
    eventually("what was replayed is parked no more", vec![again[1].subject.clone()], left).await;
    assert_ne!(subject, again[1].subject);
    // The next pass clears the other.
    world.pass().await;
    assert_eq!(parked(&world).await, []);
    assert_eq!(world.connections().await, linked([slug(0), slug(1)]));
    world.stop().await;
}
