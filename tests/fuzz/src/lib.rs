//! Properties that must hold for any input bytes. The targets in `targets` run them under coverage-guided fuzzing.
//! `tests/it/fuzz.rs` runs them on corrupted real inputs, the same ones each time. The first bytes of an input select the case.

use std::{collections::BTreeMap, fs, time::Duration};

use arbitrary::Unstructured;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use lapin::{
    BasicProperties,
    types::{AMQPValue, DecimalValue, FieldArray, FieldTable, LongString},
};
use teamlink::{
    event,
    model::{Delivery, Time},
    printable, queue,
    settings::Settings,
    upstream::{self, Access, Budget, Capability, Question, Reply, Scope, Urgency, Whose},
};

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

/// The names of headers that mean something to us, and one that doesn't.
const HEADERS: [&str; 8] = [
    "X-GitHub-Event",
    "X-GitHub-Delivery",
    "X-Hub-Signature-256",
    "X-Teamlink-Received-At",
    "cloudEvents:type",
    "cloudEvents_id",
    "ce-type",
    "x-death",
];

const KINDS: [&str; 4] = ["application/cloudevents+json", "application/cloudevents", "application/json", ""];

/// The body of a webhook: a byte that chooses the event, then the body.
pub fn delivery(input: &[u8]) {
    let Some((&choice, body)) = input.split_first() else { return };
    let delivery = Delivery {
        guid: "guid".into(),
        event: EVENTS[usize::from(choice) % EVENTS.len()].into(),
        host: None,
        signature: None,
        received_at: Time(0),
        body: Bytes::copy_from_slice(body),
    };
    match event::decode(&delivery) {
        Ok(event) => {
            assert!(event::marks(&event).len() <= 2, "one event is about a target and a document at most");
            assert_eq!(event::decode(&delivery).as_ref(), Ok(&event));
        }
        Err(error) => assert!(error.to_string().starts_with("failed to decode a `")),
    }
}

/// A message of the queue: a byte that chooses its kind, one that chooses its headers, then the body.
pub fn message(input: &[u8]) {
    let [kind, chosen, body @ ..] = input else { return };
    let start = &body[..body.len().min(40)];
    let mut headers = FieldTable::default();
    for (at, name) in HEADERS.into_iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1) {
        let value = if at < 4 { start } else { b"com.github.team.created" };
        headers.insert(name.into(), AMQPValue::LongString(LongString::from(value.to_vec())));
    }
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let properties = BasicProperties::default().with_headers(headers).with_content_type(kind.into());
    is_read(&properties, body);
}

/// The properties and headers of a message.
pub fn properties(input: &[u8]) {
    let mut input = Unstructured::new(input);
    if let Ok(properties) = arbitrary_properties(&mut input) {
        is_read(&properties, input.take_rest());
    }
}

fn is_read(properties: &BasicProperties, body: &[u8]) {
    let read = queue::read_message("github.team", properties, Bytes::copy_from_slice(body), Time(7));
    assert!(!read.guid.is_empty(), "without a name of its own a delivery is called after its body");
    event::decode(&read).ok();
}

fn arbitrary_properties(input: &mut Unstructured<'_>) -> arbitrary::Result<BasicProperties> {
    let mut properties = BasicProperties::default().with_headers(table(input, 3)?);
    if input.arbitrary()? {
        properties = properties.with_content_type((*input.choose(&KINDS)?).into());
    }
    if input.arbitrary()? {
        properties = properties.with_message_id(short(input)?.into());
    }
    if input.arbitrary()? {
        properties = properties.with_type(short(input)?.into());
    }
    if input.arbitrary()? {
        properties = properties.with_timestamp(input.arbitrary()?);
    }
    Ok(properties)
}

/// Text as long as AMQP's short strings may be.
fn short(input: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    let text: String = input.arbitrary()?;
    Ok(text.chars().take(60).collect())
}

fn table(input: &mut Unstructured<'_>, depth: u32) -> arbitrary::Result<FieldTable> {
    let mut table = FieldTable::default();
    for _ in 0..input.int_in_range(0..=6)? {
        let name = if input.arbitrary()? { (*input.choose(&HEADERS)?).to_owned() } else { short(input)? };
        table.insert(name.into(), value(input, depth)?);
    }
    Ok(table)
}

fn value(input: &mut Unstructured<'_>, depth: u32) -> arbitrary::Result<AMQPValue> {
    Ok(match input.int_in_range(0..=if depth == 0 { 9 } else { 11 })? {
        0 => AMQPValue::Boolean(input.arbitrary()?),
        1 => AMQPValue::ShortShortInt(input.arbitrary()?),
        2 => AMQPValue::ShortInt(input.arbitrary()?),
        3 => AMQPValue::LongInt(input.arbitrary()?),
        4 => AMQPValue::LongLongInt(input.arbitrary()?),
        5 => AMQPValue::Double(input.arbitrary()?),
        6 => AMQPValue::Timestamp(input.arbitrary()?),
        7 => AMQPValue::DecimalValue(DecimalValue { scale: input.arbitrary()?, value: input.arbitrary()? }),
        8 => AMQPValue::Void,
        9 => AMQPValue::LongString(LongString::from(input.arbitrary::<Vec<u8>>()?)),
        10 => {
            let many = input.int_in_range(0..=3)?;
            let values: arbitrary::Result<Vec<_>> = (0..many).map(|_| value(input, depth - 1)).collect();
            AMQPValue::FieldArray(FieldArray::from(values?))
        }
        _ => AMQPValue::FieldTable(table(input, depth - 1)?),
    })
}

/// A settings file.
pub fn settings(input: &[u8]) {
    let path = std::env::temp_dir().join(format!("teamlink-settings-{}.toml", std::process::id()));
    fs::write(&path, input).expect("a folder for temporary files");
    let loaded = Settings::load(std::slice::from_ref(&path), &BTreeMap::new());
    fs::remove_file(&path).ok();
    if let Err(problems) = loaded {
        assert!(!problems.0.is_empty());
        assert!(problems.0.iter().all(|problem| !problem.why.is_empty() && !problem.remedy.is_empty()));
    }
}

/// What an upstream answers when it refuses: bytes that choose its status and headers, then the body.
pub fn error_body(input: &[u8]) {
    let [high, low, chosen, body @ ..] = input else { return };
    let status = 300 + u16::from_be_bytes([*high, *low]) % 300;
    let mut headers = HeaderMap::new();
    let values = ["0", "-1", "18446744073709551615", "99999999999999999999", "soon", "60"];
    for (at, name) in ["retry-after", "x-ratelimit-reset", "x-ratelimit-remaining"].into_iter().enumerate() {
        let value = values[(usize::from(*chosen) >> at) % values.len()];
        headers.insert(name, value.parse().expect("a header"));
    }
    let status = StatusCode::from_u16(status).expect("between 300 and 599");
    let reply = Reply { status, headers, body: Bytes::copy_from_slice(body) };
    let access = if chosen & 1 == 1 { Access::Write } else { Access::Read };
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
    let now = Time(i64::from(*chosen) << 40);
    let [datadog, github] = [&datadog, &github].map(|scope| {
        drop(Budget::default().heard(&question(scope), &reply, Duration::from_secs(1), now));
        upstream::trouble(&question(scope), &reply, now)
    });
    for trouble in [datadog, github, upstream::invalid("try", &reply, &"odd")] {
        assert!(!trouble.message.chars().any(char::is_control), "{:?}", trouble.message);
        assert!(trouble.message.chars().count() < 700, "{}", trouble.message.len());
        assert!(trouble.retry_after.is_none_or(|wait| wait.as_secs() <= 3600), "{:?}", trouble.retry_after);
    }
}

/// Text of unknown origin, however it is shown: on a terminal, as JSON or TOML, and in a table of Markdown.
pub fn printed(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    assert!(!printable::line(&text).contains(printable::is_live));
    assert!(!printable::lines(&text).contains(|c| printable::is_live(c) && c != '\n' && c != '\t'));
    let shown = serde_json::to_string(&text).expect("text is JSON");
    let shown = printable::json(&shown);
    assert!(!shown.contains(printable::is_live));
    assert_eq!(serde_json::from_str::<String>(&shown).ok().as_deref(), Some(&*text));
    let parsed: toml::Table = format!("a = {}", printable::toml(&text)).parse().expect("a string of TOML");
    assert_eq!(parsed["a"].as_str(), Some(&*text));

    let mut options = comrak::Options::default();
    options.extension.table = true;
    options.extension.autolink = true;
    options.extension.strikethrough = true;
    let table = format!("| a | b |\n|---|---|\n| {} | last |\n", printable::code(&text));
    let html = comrak::markdown_to_html(&table, &options);
    let plain = html.replace("<code>", "").replace("</code>", "");
    let tags = plain.matches('<').count();
    assert_eq!(tags, EMPTY_TABLE, "{table}\n{html}");
    assert!(plain.ends_with("<td>last</td>\n</tr>\n</tbody>\n</table>\n"), "{table}\n{html}");
}

/// How many tags a table of two columns and one row has.
const EMPTY_TABLE: usize = 18;
