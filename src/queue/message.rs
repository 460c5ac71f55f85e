//! What a message says: a pure reading of properties, headers and body into a [`Delivery`], and back.
//!
//! Our own publisher puts GitHub's headers on the message. Other gateways feed the queue too, so the event's
//! name and the delivery's id are looked for in several places, first found:
//!
//! - event: `X-GitHub-Event`, CloudEvents `type`, AMQP `type`, the routing key;
//! - id: `X-GitHub-Delivery`, CloudEvents `id`, AMQP `message_id`, the SHA-256 of the body.
//!
//! CloudEvents come in two forms: *binary* (attributes as headers, `cloudEvents:type` or the like) and
//! *structured* (`application/cloudevents+json`, the body within an envelope). A body that cannot be read is
//! passed on as it is; the intake parks it. Signatures (`X-Hub-Signature-256`) go along; the intake checks them.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, LongString, ShortString, ShortStringError},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::model::{Delivery, Time};

const EVENT: &str = "X-GitHub-Event";
const GUID: &str = "X-GitHub-Delivery";
const HOST: &str = "X-GitHub-Enterprise-Host";
const SIGNATURE: &str = "X-Hub-Signature-256";
/// When our webhook took the delivery, in microseconds since 1970: AMQP's own timestamp has whole seconds only.
const RECEIVED_AT: &str = "X-Teamlink-Received-At";
/// No queue keeps a message for longer. What a message says beyond that, or of a time to come, is wrong.
const OLDEST: Duration = Duration::from_secs(366 * 86_400);
/// Written to disk by the broker, whatever the queue's type.
const PERSISTENT: u8 = 2;
/// How CloudEvents attributes may be spelt as headers: the AMQP binding's two forms, then HTTP's.
const CLOUD_EVENT_PREFIXES: [&str; 4] = ["cloudEvents:", "cloudEvents_", "ce-", "ce_"];

/// The delivery that a message carries. `now` is when it was received, unless the message knows better.
pub fn read(routing_key: &str, properties: &BasicProperties, body: Bytes, now: Time) -> Delivery {
    let headers = properties.headers().as_ref();
    let header = |name: &str| headers.and_then(|headers| text_of(find(headers, name)?));
    let cloud = |attribute: &str| {
        CLOUD_EVENT_PREFIXES.iter().find_map(|prefix| header(&format!("{prefix}{attribute}")))
    };
    let (envelope, body) = open_envelope(properties, body);

    let event = header(EVENT)
        .or_else(|| cloud("type").or(envelope.kind).as_deref().map(event_name))
        .or_else(|| short(properties.kind()).map(event_name))
        .unwrap_or_else(|| event_name(routing_key));
    let guid = header(GUID)
        .or_else(|| cloud("id").or(envelope.id))
        .or_else(|| short(properties.message_id()).map(str::to_owned))
        .unwrap_or_else(|| hex::encode(Sha256::digest(&body)));
    let received_at = match headers.and_then(|headers| find(headers, RECEIVED_AT)) {
        Some(AMQPValue::LongLongInt(micros)) => Time(*micros).clamp(now - OLDEST, now),
        _ => now,
    };
    Delivery { guid, event, host: header(HOST), signature: header(SIGNATURE), received_at, body }.bounded()
}

/// Why the broker gave a message up, as far as it says.
pub(super) fn why_dead(properties: &BasicProperties) -> String {
    let headers = properties.headers().as_ref();
    let header = |name: &str| headers.and_then(|headers| text_of(find(headers, name)?));
    let reason = header("x-first-death-reason").unwrap_or_else(|| "no reason given".to_owned());
    let from = header("x-first-death-queue").map(|queue| format!(" from {queue:?}")).unwrap_or_default();
    format!("RabbitMQ gave up delivering it{from}: {reason}")
}

/// The routing key and the properties under which a delivery is published. Errors when the event's name or the
/// GUID is longer than AMQP's short strings can be.
pub(super) fn write(delivery: &Delivery) -> Result<(ShortString, BasicProperties), ShortStringError> {
    let text = |value: &str| AMQPValue::LongString(LongString::from(value));
    let mut headers = FieldTable::default();
    headers.insert(EVENT.into(), text(&delivery.event));
    headers.insert(GUID.into(), text(&delivery.guid));
    for (name, value) in [(HOST, &delivery.host), (SIGNATURE, &delivery.signature)] {
        if let Some(value) = value {
            headers.insert(name.into(), text(value));
        }
    }
    headers.insert(RECEIVED_AT.into(), AMQPValue::LongLongInt(delivery.received_at.0));
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(ShortString::try_new(delivery.guid.as_str())?)
        .with_headers(headers);
    Ok((ShortString::try_new(format!("github.{}", delivery.event))?, properties))
}

/// The event in `github.team`, `com.github.team.created` or `dev.knative.source.github.team`: the word after
/// `github.`; without it, the whole text.
fn event_name(text: &str) -> String {
    let after = text.split_once("github.").map_or(text, |(_, after)| after);
    after.split('.').next().unwrap_or(after).to_owned()
}

fn short(value: &Option<ShortString>) -> Option<&str> {
    value.as_ref().map(ShortString::as_str).filter(|text| !text.is_empty())
}

/// Header names are compared as HTTP's are: gateways spell them in every case.
fn find<'a>(headers: &'a FieldTable, name: &str) -> Option<&'a AMQPValue> {
    headers.into_iter().find(|(key, _)| key.as_str().eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn text_of(value: &AMQPValue) -> Option<String> {
    let text = match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.to_owned(),
        AMQPValue::ShortString(text) => text.as_str().to_owned(),
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

/// What a structured CloudEvent says about its content.
#[derive(Default)]
struct Envelope {
    kind: Option<String>,
    id: Option<String>,
}

/// Takes the body out of a structured CloudEvent; any other message is its body.
fn open_envelope(properties: &BasicProperties, body: Bytes) -> (Envelope, Bytes) {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(rename = "type")]
        kind: Option<String>,
        id: Option<String>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        data_base64: Option<String>,
    }
    let structured = short(properties.content_type())
        .is_some_and(|content| content.to_ascii_lowercase().starts_with("application/cloudevents"));
    if !structured {
        return (Envelope::default(), body);
    }
    let Ok(wire) = serde_json::from_slice::<Wire<'_>>(&body) else {
        return (Envelope::default(), body);
    };
    let data = match (wire.data.filter(|data| data.get() != "null"), wire.data_base64) {
        (Some(data), _) => match serde_json::from_str::<String>(data.get()) {
            // JSON within a string, as gateways send it that do not know what they carry.
            Ok(text) => Bytes::from(text),
            Err(_) => body.slice_ref(data.get().as_bytes()),
        },
        (None, Some(encoded)) => match BASE64_STANDARD.decode(encoded) {
            Ok(data) => Bytes::from(data),
            Err(_) => body.clone(),
        },
        (None, None) => body.clone(),
    };
    (Envelope { kind: wire.kind, id: wire.id }, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_700_000_000_000_000);

    fn with_headers(headers: &[(&str, &str)]) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        BasicProperties::default().with_headers(table)
    }

    fn read_key(key: &str, properties: &BasicProperties) -> (String, String) {
        let delivery = read(key, properties, Bytes::from_static(b"{}"), NOW);
        (delivery.event, delivery.guid)
    }

    #[test]
    fn what_is_published_is_read_back_unchanged() {
        let delivery = Delivery {
            guid: "72d3162e-cc78-11e3-81ab-4c9367dc0958".into(),
            event: "team".into(),
            host: Some("github.example.com".into()),
            signature: Some("sha256=00".into()),
            received_at: NOW - Duration::from_micros(123_456),
            body: Bytes::from_static(b"{\"action\":\"created\"}"),
        };
        let (key, properties) = write(&delivery).unwrap();
        assert_eq!(key.as_str(), "github.team");
        assert_eq!(properties.delivery_mode(), &Some(2));
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), delivery.guid);
        assert_eq!(read(key.as_str(), &properties, delivery.body.clone(), NOW), delivery);
    }

    #[test]
    fn a_message_was_received_neither_in_the_future_nor_years_ago() {
        for (said, is) in [
            (i64::MAX, NOW),
            (NOW.0 + 1, NOW),
            (NOW.0 - 1, Time(NOW.0 - 1)),
            (0, NOW - OLDEST),
            (i64::MIN, NOW - OLDEST),
        ] {
            let mut table = FieldTable::default();
            table.insert(RECEIVED_AT.into(), AMQPValue::LongLongInt(said));
            let properties = BasicProperties::default().with_headers(table);
            assert_eq!(read("x", &properties, Bytes::new(), NOW).received_at, is, "{said}");
        }
    }

    #[test]
    fn a_name_too_long_for_amqp_is_an_error() {
        let delivery = Delivery {
            guid: "g".repeat(256),
            event: "team".into(),
            host: None,
            signature: None,
            received_at: NOW,
            body: Bytes::new(),
        };
        assert!(write(&delivery).is_err());
    }

    #[test]
    fn the_first_place_that_names_the_event_wins() {
        let github = with_headers(&[("x-github-event", "team"), ("ce-type", "github.member")]);
        let cloud = with_headers(&[("cloudEvents:type", "com.github.member.added")]);
        assert_eq!(read_key("github.push", &github.with_type("repository".into())).0, "team");
        assert_eq!(read_key("github.push", &cloud.with_type("repository".into())).0, "member");
        let typed = BasicProperties::default().with_type("repository".into());
        assert_eq!(read_key("github.push", &typed).0, "repository");
        assert_eq!(read_key("github.push", &BasicProperties::default()).0, "push");
        assert_eq!(read_key("push", &BasicProperties::default()).0, "push");
        assert_eq!(read_key("", &BasicProperties::default()).0, "");
    }

    #[test]
    fn every_spelling_of_a_binary_cloud_event_is_read() {
        for prefix in CLOUD_EVENT_PREFIXES {
            let names = [format!("{prefix}type"), format!("{prefix}id")];
            let properties =
                with_headers(&[(&names[0], "dev.knative.source.github.team"), (&names[1], "17")]);
            assert_eq!(read_key("x", &properties), ("team".into(), "17".into()), "{prefix}");
        }
    }

    #[test]
    fn the_first_place_that_names_the_delivery_wins() {
        let github = with_headers(&[(GUID, "from-github"), ("ce-id", "from-cloud")]);
        let cloud = with_headers(&[("ce-id", "from-cloud")]);
        let plain = BasicProperties::default();
        assert_eq!(read_key("x", &github.with_message_id("from-amqp".into())).1, "from-github");
        assert_eq!(read_key("x", &cloud.with_message_id("from-amqp".into())).1, "from-cloud");
        assert_eq!(read_key("x", &plain.clone().with_message_id("from-amqp".into())).1, "from-amqp");
        let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(read_key("x", &plain).1, hash);
    }

    #[test]
    fn a_structured_cloud_event_gives_up_its_body_in_each_form() {
        let properties = BasicProperties::default()
            .with_content_type("application/cloudevents+json; charset=utf-8".into());
        for envelope in [
            r#"{"specversion":"1.0","type":"com.github.team.created","id":"9","data":{"a": 1}}"#,
            r#"{"type":"github.team","id":"9","data":"{\"a\": 1}"}"#,
            r#"{"type":"github.team","id":"9","data_base64":"eyJhIjogMX0="}"#,
            r#"{"type":"github.team","id":"9","data":null,"data_base64":"eyJhIjogMX0="}"#,
        ] {
            let delivery = read("x", &properties, Bytes::from(envelope), NOW);
            assert_eq!((delivery.event.as_str(), delivery.guid.as_str()), ("team", "9"), "{envelope}");
            assert_eq!(delivery.body, &br#"{"a": 1}"#[..], "{envelope}");
        }
    }

    #[test]
    fn a_broken_envelope_is_passed_on_as_it_is() {
        let properties = BasicProperties::default().with_content_type("application/cloudevents+json".into());
        for broken in [&b"{\"type\": \"github.te"[..], b"\xff\xfe", b""] {
            let delivery = read("github.team", &properties, Bytes::copy_from_slice(broken), NOW);
            assert_eq!((delivery.event.as_str(), &delivery.body[..]), ("team", broken));
        }
    }

    #[test]
    fn why_a_message_is_dead_is_told_as_far_as_the_broker_says() {
        let dead = with_headers(&[("x-first-death-reason", "delivery_limit"), ("x-first-death-queue", "q")]);
        assert_eq!(why_dead(&dead), "RabbitMQ gave up delivering it from \"q\": delivery_limit");
        let silent = BasicProperties::default();
        assert_eq!(why_dead(&silent), "RabbitMQ gave up delivering it: no reason given");
    }

    #[test]
    fn headers_of_other_types_are_not_names() {
        let mut table = FieldTable::default();
        table.insert(EVENT.into(), AMQPValue::Boolean(true));
        table.insert(GUID.into(), AMQPValue::LongString(LongString::from(vec![0xff])));
        let properties = BasicProperties::default().with_headers(table).with_message_id("m".into());
        assert_eq!(read_key("github.team", &properties), ("team".into(), "m".into()));
    }
}
