//! Whatever comes in from outside brings nothing down: bodies, messages of the queue, signatures, error bodies of the
//! upstreams, settings. Inputs are made by spoiling real ones, the same each time; `TEAMLINK_FUZZ=1000000` tries so many
//! instead of the few thousand that CI has time for. A failure prints the seed and the input, and
//! `TEAMLINK_FUZZ_SEED=N` tries that one alone.

use std::{collections::BTreeMap, fs, ops::Range, panic, path::Path, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, LongString},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use teamlink::{
    event,
    model::{Delivery, Time},
    queue,
    settings::Settings,
    signature,
    upstream::{self, Access, Budget, Capability, Question, Scope, Urgency, Whose},
};

/// Tries `property` on many inputs that are made from these.
fn fuzz(corpus: &[Vec<u8>], fewest: u64, property: impl Fn(&[u8], &mut StdRng)) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds: Range<u64> = match (number("TEAMLINK_FUZZ_SEED"), number("TEAMLINK_FUZZ")) {
        (Some(seed), _) => seed..seed + 1,
        (None, many) => 0..many.unwrap_or(fewest),
    };
    for seed in seeds {
        let mut dice = StdRng::seed_from_u64(seed);
        let input = spoil(corpus, &mut dice);
        let tried = panic::catch_unwind(panic::AssertUnwindSafe(|| property(&input, &mut dice)));
        assert!(tried.is_ok(), "TEAMLINK_FUZZ_SEED={seed}: {:?}", String::from_utf8_lossy(&input));
    }
}

/// What means something to JSON, TOML, CloudEvents or a database, where it is not expected.
const ODD: [&str; 27] = [
    "null",
    "{}",
    "[]",
    "\"\"",
    "1e999",
    "-1",
    "9223372036854775808",
    "0.5",
    "true",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "\"data\":",
    "\"data_base64\":\"!\"",
    "\"team\":null",
    "\"organization\":{\"id\":\"1\"}",
    "[[[[[[[[",
    "{\"a\":",
    "\"",
    "\n",
    "\r\n[",
    "[[mapping]]",
    "=",
    "sha256=",
    "X-GitHub-Event",
];

/// One of the corpus, changed in a few places.
fn spoil(corpus: &[Vec<u8>], dice: &mut StdRng) -> Vec<u8> {
    let mut input = corpus[dice.random_range(0..corpus.len())].clone();
    // Some stay whole: what is right must work too.
    for _ in 0..dice.random_range(0..6) {
        let at = dice.random_range(0..=input.len());
        let end = dice.random_range(at..=input.len().min(at + 64));
        match dice.random_range(0..8) {
            0 if at < input.len() => input[at] ^= 1 << dice.random_range(0..8),
            1 => input.insert(at, dice.random()),
            2 => drop(input.drain(at..end)),
            3 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            4 => input.truncate(at),
            5 => {
                let other = &corpus[dice.random_range(0..corpus.len())];
                let from = dice.random_range(0..=other.len());
                input.splice(at..end, other[from..].iter().take(200).copied());
            }
            6 => {
                // Deeper than any parser should follow.
                let deep = dice.random_range(1..3000);
                input.splice(at..at, std::iter::repeat_n(b'[', deep));
            }
            _ => {
                let odd = ODD[dice.random_range(0..ODD.len())];
                input.splice(at..end, odd.bytes());
            }
        }
    }
    input
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|kind| kind == "json") {
            found.push(fs::read(path).unwrap());
        }
    }
    found.sort();
    found
}

/// Bodies as GitHub sends them.
fn bodies() -> Vec<Vec<u8>> {
    let mut bodies = files(Path::new("tests/payloads"));
    assert!(bodies.len() > 10);
    bodies.extend(
        [
            r#"{"action":"renamed","organization":{"id":1,"login":"acme"},"changes":{"login":{"from":"a"}}}"#,
            r#"{"action":"suspend","installation":{"id":7,"account":{"id":1,"login":"acme","type":"Organization"}}}"#,
            r#"{"action":"renamed","target_type":"Organization","account":{"id":1,"login":"acme"}}"#,
            r#"{"action":"removed","team":{"id":5,"name":"x","deleted":true},"organization":{"id":1,"login":"a"}}"#,
            r#"{"action":"transferred","repository":{"id":3,"full_name":"acme/x"}}"#,
            "[]",
            "",
        ]
        .map(|text| text.as_bytes().to_vec()),
    );
    bodies
}

const EVENTS: [&str; 8] = [
    "team",
    "team_add",
    "membership",
    "organization",
    "repository",
    "installation",
    "installation_target",
    "ping",
];

fn delivery(event: &str, body: &[u8]) -> Delivery {
    Delivery {
        guid: "guid".into(),
        event: event.into(),
        host: None,
        signature: None,
        received_at: Time(0),
        body: Bytes::copy_from_slice(body),
    }
}

#[test]
fn no_delivery_brings_decoding_down() {
    fuzz(&bodies(), 6_000, |body, dice| {
        let delivery = delivery(EVENTS[dice.random_range(0..EVENTS.len())], body);
        match event::decode(&delivery) {
            Ok(event) => {
                assert!(
                    event::marks(&event).len() <= 2,
                    "one event is about a target and a document at most"
                );
                assert_eq!(event::decode(&delivery).as_ref(), Ok(&event));
            }
            Err(error) => assert!(error.to_string().starts_with("failed to decode a `")),
        }
    });
}

#[test]
fn no_message_of_the_queue_brings_its_reading_down() {
    let mut corpus = bodies();
    let mut envelopes: Vec<Vec<u8>> = [
        r#"{"specversion":"1.0","type":"com.github.team.created","id":"9","data":{"action":"created","team":{"id":1}}}"#,
        r#"{"specversion":"1.0","type":"github.team","id":"9","data":"{\"action\":\"created\"}"}"#,
        r#"{"specversion":"1.0","type":"github.team","id":"9","data":null,"data_base64":"eyJhIjogMX0="}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    corpus.append(&mut envelopes);
    let names = [
        "X-GitHub-Event",
        "cloudEvents:type",
        "cloudEvents_id",
        "ce-type",
        "X-Hub-Signature-256",
        "X-Teamlink-Received-At",
    ];
    let kinds = ["application/cloudevents+json", "application/cloudevents", "application/json", ""];
    fuzz(&corpus, 6_000, |body, dice| {
        let mut headers = FieldTable::default();
        for name in names.into_iter().filter(|_| dice.random()).collect::<Vec<_>>() {
            let cut = dice.random_range(0..=body.len().min(40));
            headers.insert(
                name.into(),
                match dice.random_range(0..4) {
                    0 => AMQPValue::LongString(LongString::from(body[..cut].to_vec())),
                    1 => AMQPValue::LongLongInt(dice.random()),
                    2 => AMQPValue::Void,
                    _ => AMQPValue::LongString("com.github.team.created".into()),
                },
            );
        }
        let kind = kinds[dice.random_range(0..kinds.len())];
        let properties = BasicProperties::default().with_headers(headers).with_content_type(kind.into());
        let read = queue::read_message("github.team", &properties, Bytes::copy_from_slice(body), Time(7));
        assert!(!read.guid.is_empty(), "without a name of its own a delivery is called after its body");
        event::decode(&read).ok();
    });
}

#[test]
fn no_signature_but_the_right_one_is_believed() {
    const BODY: &[u8] = b"Hello, World!";
    let secrets = ["It's a Secret to Everybody".into()];
    let right = signature::sign(BODY, &secrets).unwrap();
    fuzz(&[right.clone().into_bytes(), b"sha256=".to_vec(), b"sha1=00".to_vec()], 20_000, |sent, _| {
        let sent = String::from_utf8_lossy(sent);
        let believed = signature::matches(&sent, BODY, &secrets);
        // Digits may be written large.
        assert_eq!(believed, sent.starts_with("sha256=") && sent.eq_ignore_ascii_case(&right), "{sent}");
    });
}

#[test]
fn no_error_body_is_told_at_length_or_with_control_characters() {
    let corpus: Vec<Vec<u8>> = [
        r#"{"errors":["Forbidden","Bad Request"]}"#,
        r#"{"errors":[{"status":"400","title":"Generic Error","detail":"invalid team id"}]}"#,
        r#"{"message":"You have exceeded a secondary rate limit","documentation_url":"https://docs.github.com"}"#,
        "<html><body>502 Bad Gateway</body></html>",
        "",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    fuzz(&corpus, 10_000, |body, dice| {
        let status = StatusCode::from_u16(dice.random_range(300..600)).unwrap();
        let mut headers = HeaderMap::new();
        for name in ["retry-after", "x-ratelimit-reset", "x-ratelimit-remaining"] {
            let value = ["0", "-1", "18446744073709551615", "99999999999999999999", "soon", "60"];
            headers.insert(name, value[dice.random_range(0..value.len())].parse().unwrap());
        }
        let reply = upstream::Reply { status, headers, body: Bytes::copy_from_slice(body) };
        let access = if dice.random() { Access::Write } else { Access::Read };
        let datadog = Scope::datadog(Capability::Teams, access);
        let github = Scope::github(Whose::Credential, Capability::Teams);
        let question = |scope| Question {
            scope,
            operation: "try",
            attempt: "try",
            needs: "look",
            collection: true,
            renewable: false,
            account: 0,
            urgency: Urgency::Pass,
        };
        let now = Time(dice.random());
        let [datadog, github] = [&datadog, &github].map(|scope| {
            drop(Budget::default().heard(&question(scope), &reply, Duration::from_secs(1), now));
            upstream::trouble(&question(scope), &reply, now)
        });
        for trouble in [datadog, github, upstream::invalid("try", &reply, &"odd")] {
            assert!(!trouble.message.chars().any(char::is_control), "{:?}", trouble.message);
            assert!(trouble.message.chars().count() < 700, "{}", trouble.message.len());
            assert!(
                trouble.retry_after.is_none_or(|wait| wait.as_secs() <= 3600),
                "{:?}",
                trouble.retry_after
            );
        }
    });
}

#[test]
fn no_settings_file_brings_its_reading_down() {
    let ours = fs::read("config/default.toml").unwrap();
    let small: &[u8] = b"[github]\norgs = [\"acme\"]\ntoken = \"t\"\n[datadog]\napi_key = \"a\"\napp_key = \"b\"\n\
        [[mapping]]\ngithub = \"acme/platform-*\"\ndatadog = \"plat-{1}\"\n[[mapping]]\ngithub = \"*/*\"\nignore = true\n\
        [policy]\nprotected = [\"acme/*\"]\n[policy.orgs.acme]\nmode = \"observe\"\n\
        [integrations.jira]\nenabled_projects = [{ hostname = \"h\", project_key = \"K\" }]\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    fuzz(&[small.to_vec(), small.to_vec(), ours], 1_500, |text, _| {
        fs::write(&path, text).unwrap();
        if let Err(problems) = Settings::load(std::slice::from_ref(&path), &BTreeMap::new()) {
            assert!(!problems.0.is_empty());
            assert!(problems.0.iter().all(|problem| !problem.why.is_empty() && !problem.remedy.is_empty()));
        }
    });
}
