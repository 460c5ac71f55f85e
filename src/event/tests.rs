//! Every event of the table, the published examples, and bodies that GitHub's schema allows but rarely sends.

use std::{fs, path::Path};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{About, Event, decode, marks};
use crate::model::{Delivery, OrgId, TeamId, Time};

fn delivery(event: &str, body: impl Into<Bytes>) -> Delivery {
    let event = event.to_owned();
    Delivery {
        guid: "guid".into(),
        event,
        host: None,
        signature: None,
        received_at: Time(0),
        body: body.into(),
    }
}

fn event(name: &str, body: &Value) -> Event {
    decode(&delivery(name, body.to_string())).unwrap()
}

/// The marks as text, `!` where the event says that the target is gone.
fn marked(name: &str, body: &Value) -> Vec<String> {
    marks(&event(name, body))
        .iter()
        .map(|mark| format!("{}{}", mark.target, if mark.deleted { "!" } else { "" }))
        .collect()
}

/// `(event, file name, body)` of the published examples.
fn examples() -> Vec<(String, String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/payloads");
    let mut found = Vec::new();
    for event in ["membership", "ping", "team"] {
        for entry in fs::read_dir(root.join(event)).unwrap() {
            let path = entry.unwrap().path();
            let body = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            found.push((event.to_owned(), path.file_name().unwrap().to_str().unwrap().to_owned(), body));
        }
    }
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    found
}

#[test]
fn each_published_example_gives_the_marks_of_the_table() {
    let lines: Vec<String> = examples()
        .iter()
        .map(|(name, file, body)| format!("{name}/{file}: {}", marked(name, body).join(" ")))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    membership/added.payload.json: 
    membership/removed.payload.json: 
    membership/removed.with-deleted-team.payload.json: team:38302899/3253328!
    membership/removed.with-installation.payload.json: 
    ping/npm-only.1.payload.json: 
    ping/payload.json: 
    ping/with-app_id.payload.json: 
    ping/with-organization.payload.json: 
    team/added_to_repository.payload.json: team:38302899/3253328 integration:github
    team/created.payload.json: team:38302899/3253328
    team/deleted.payload.json: team:38302899/3253328!
    team/edited.payload.json: team:38302899/3253328
    team/npm-only.1.payload.json: team:38302899/3253328 integration:github
    team/removed_from_repository.payload.json: team:38302899/3253328 integration:github
    ");
}

#[test]
fn a_rename_marks_the_team_and_tells_the_login() {
    let body = json!({
        "action": "edited",
        "changes": {"name": {"from": "Platform"}},
        "team": {"id": 7, "name": "Platform Eng", "slug": "platform-eng"},
        "organization": {"id": 1, "login": "Acme"},
    });
    let event = event("team", &body);
    assert_eq!(event.action.as_deref(), Some("edited"));
    let marks = marks(&event);
    assert_eq!(marks.len(), 1);
    assert_eq!(marks[0].target.to_string(), "team:1/7");
    assert_eq!(event.org.unwrap().login.as_deref(), Some("Acme"));
}

#[test]
fn changes_may_be_empty_null_missing_or_odd() {
    for changes in [json!({}), Value::Null, json!([1]), json!("x")] {
        let body =
            json!({"action": "edited", "changes": changes, "team": {"id": 7}, "organization": {"id": 1}});
        assert_eq!(marked("team", &body), ["team:1/7"]);
    }
    let body = json!({"action": "edited", "team": {"id": 7}, "organization": {"id": 1}});
    assert_eq!(marked("team", &body), ["team:1/7"]);
}

#[test]
fn a_team_without_an_organisation_is_recorded_and_marks_nothing_of_its_own() {
    for organization in [Value::Null, json!({}), json!({"login": "acme"}), json!(3)] {
        let body = json!({"action": "created", "team": {"id": 7, "name": "x"}, "organization": organization});
        assert_eq!(event("team", &body).org, None);
        assert!(marked("team", &body).is_empty());
    }
    let body = json!({"action": "added_to_repository", "team": {"id": 7, "name": "x"}});
    assert_eq!(marked("team", &body), ["integration:github"]);
}

#[test]
fn events_about_an_organisation_mark_it_and_the_repositories() {
    let renamed = json!({
        "action": "renamed",
        "changes": {"login": {"from": "acme"}},
        "organization": {"id": 1, "login": "acme-inc"},
    });
    assert_eq!(marked("organization", &renamed), ["org:1", "integration:github"]);
    assert_eq!(event("organization", &renamed).org.unwrap().login.as_deref(), Some("acme-inc"));
    let deleted = json!({"action": "deleted", "organization": {"id": 1, "login": "acme"}});
    assert_eq!(marked("organization", &deleted), ["org:1!", "integration:github"]);
    for action in ["member_added", "member_removed", "member_invited"] {
        assert!(marked("organization", &json!({"action": action, "organization": {"id": 1}})).is_empty());
    }
}

#[test]
fn a_repository_transferred_from_an_organisation_marks_the_repositories() {
    let body = json!({
        "action": "transferred",
        "changes": {"owner": {"from": {"organization": {"id": 2, "login": "other"}}}},
        "repository": {"id": 3, "name": "api", "owner": {"id": 1, "login": "acme"}},
        "organization": {"id": 1, "login": "acme"},
    });
    assert_eq!(marked("repository", &body), ["integration:github"]);
    for action in
        ["created", "deleted", "archived", "unarchived", "renamed", "publicized", "privatized", "edited"]
    {
        assert_eq!(marked("repository", &json!({"action": action})), ["integration:github"]);
    }
}

#[test]
fn team_add_has_no_action_and_marks_the_team_and_the_repositories() {
    let body = json!({"team": {"id": 7, "name": "x"}, "repository": {"id": 3}, "organization": {"id": 1}});
    assert_eq!(marked("team_add", &body), ["team:1/7", "integration:github"]);
}

#[test]
fn installations_mark_the_organisation_that_they_are_on() {
    let account = json!({"id": 1, "login": "acme", "type": "Organization"});
    for action in ["created", "deleted", "suspend", "unsuspend", "new_permissions_accepted"] {
        let body = json!({"action": action, "installation": {"id": 9, "account": account}});
        assert_eq!(marked("installation", &body), ["org:1", "integration:github"]);
    }
    let repositories = json!({"action": "added", "installation": {"id": 9, "account": account}});
    assert_eq!(marked("installation_repositories", &repositories), ["org:1", "integration:github"]);
    let renamed = json!({
        "action": "renamed",
        "account": {"id": 1, "login": "acme-inc"},
        "changes": {"login": {"from": "acme"}},
        "target_type": "Organization",
        "installation": {"id": 9},
    });
    assert_eq!(marked("installation_target", &renamed), ["org:1", "integration:github"]);
}

#[test]
fn installations_on_nothing_users_and_enterprises_mark_nothing() {
    let user = json!({"id": 5, "login": "someone", "type": "User"});
    let enterprise = json!({"id": 6, "slug": "big", "name": "Big"});
    for account in [Value::Null, user.clone(), enterprise] {
        let body = json!({"action": "suspend", "installation": {"id": 9, "account": account}});
        assert!(marked("installation", &body).is_empty(), "{body}");
    }
    assert!(marked("installation", &json!({"action": "deleted", "installation": null})).is_empty());
    let renamed = json!({"action": "renamed", "account": user, "target_type": "User"});
    assert!(marked("installation_target", &renamed).is_empty());
}

#[test]
fn unknown_events_and_actions_are_no_errors() {
    for (name, body) in [
        ("team", json!({"action": "painted"})),
        ("team", json!({})),
        ("organization", json!({"action": "merged", "organization": []})),
        ("star", json!({"action": "created", "organization": {"id": 1}})),
        ("star", json!([1, 2])),
        ("", json!(null)),
    ] {
        assert_eq!(event(name, &body).about, About::Unknown, "{name} {body}");
        assert!(marked(name, &body).is_empty());
    }
    let star = json!({"action": "created", "organization": {"id": 1, "login": "acme"}});
    assert_eq!(event("star", &star).org.unwrap().id, OrgId(1));
}

#[test]
fn nul_in_a_text_becomes_the_replacement_character() {
    let body = r#"{"action": "edited", "team": {"id": 7, "name": "a\u0000b"}, "organization": {"id": 1, "login": "ac\u0000me"}}"#;
    let event = decode(&delivery("team", body)).unwrap();
    assert_eq!(event.org.unwrap().login.unwrap(), "ac\u{fffd}me");
}

#[test]
fn what_a_mark_cannot_do_without_makes_a_body_undecodable() {
    let why = |name, body: &'static [u8]| decode(&delivery(name, body)).unwrap_err().to_string();
    let lines = [
        why("team", br#"{"action": "created", "team": {"id": 7"#),
        why("star", b"{"),
        why("team", b""),
        why("team", b"\xff"),
        why("star", b"{\"action\": \"\xff\"}"),
        why("team_add", b"[1]"),
        why("team", br#"{"action": "created", "team": {"name": "x"}}"#),
        why("team", br#"{"action": "created", "team": {"id": "7"}}"#),
        why("organization", br#"{"action": "renamed"}"#),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    failed to decode a `team` event: not JSON: EOF while parsing an object at line 1 column 38
    failed to decode a `star` event: not JSON: EOF while parsing an object at line 1 column 1
    failed to decode a `team` event: not JSON: EOF while parsing a value at line 1 column 0
    failed to decode a `team` event: not JSON: expected value at line 1 column 1
    failed to decode a `star` event: not JSON: invalid unicode code point at line 1 column 13
    failed to decode a `team_add` event: the body is not a JSON object
    failed to decode a `team` event: `team.id` is missing, or no positive number
    failed to decode a `team` event: `team.id` is missing, or no positive number
    failed to decode a `organization` event: `organization.id` is missing, or no positive number
    ");
}

/// An id that stands for something else in the ledger, or that no ledger can hold.
#[test]
fn an_id_that_is_no_positive_number_makes_a_body_undecodable() {
    let fits = i64::MAX.to_string();
    for id in ["0", "-1", "-4", "9223372036854775808", "1e3", "7.5", "\"7\"", "[7]", "true"] {
        let event = |team: &str, org: &str| {
            format!(
                r#"{{"action": "deleted", "team": {{"id": {team}}}, "organization": {{"id": {org}, "login": "acme"}}}}"#
            )
        };
        for (name, body, of) in [
            ("team", event(id, "1"), "team"),
            (
                "membership",
                event(id, "1").replace("deleted\", \"team\": {", "removed\", \"team\": {\"deleted\": true, "),
                "team",
            ),
            ("team", event("7", id), "organization"),
            ("organization", event("7", id), "organization"),
            ("repository", event("7", id), "organization"),
        ] {
            let error = decode(&delivery(name, body.clone())).expect_err(&body).to_string();
            assert!(
                error.contains(&format!("`{of}.id` is missing, or no positive number")),
                "{body}: {error}"
            );
        }
        assert_eq!(decode(&delivery("star", event(id, id))).unwrap().org, None, "nothing follows from it");
    }
    let largest = decode(&delivery("team", format!(r#"{{"action": "created", "team": {{"id": {fits}}}}}"#)));
    assert!(matches!(largest.unwrap().about, About::Team { team: TeamId(i64::MAX), .. }));
}

/// Every path in a JSON document.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let path = format!("{at}/{key}");
        paths(child, &path, found);
        found.push(path);
    }
}

#[test]
fn no_field_but_the_teams_id_is_needed_in_any_example() {
    for (name, file, body) in examples() {
        let mut all = Vec::new();
        paths(&body, "", &mut all);
        for path in all.iter().filter(|path| !["/team", "/team/id"].contains(&path.as_str())) {
            for odd in [Value::Null, json!("odd"), json!({"odd": 1}), json!([])] {
                let mut changed = body.clone();
                let is_odd_id =
                    !odd.is_null() && (path == "/organization/id" || path.ends_with("account/id"));
                *changed.pointer_mut(path).unwrap() = odd;
                let decoded = decode(&delivery(&name, changed.to_string()));
                assert!(decoded.is_ok() || is_odd_id, "{file}: {path}");
            }
            let (parent, key) = path.rsplit_once('/').unwrap();
            let mut removed = body.clone();
            if let Some(Value::Object(parent)) = removed.pointer_mut(parent) {
                parent.remove(key);
            }
            assert!(decode(&delivery(&name, removed.to_string())).is_ok(), "{file}: without {path}");
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("team".to_owned()),
        Just("organization".to_owned()),
        Just("installation".to_owned()),
        Just("account".to_owned()),
        Just("id".to_owned()),
        Just("action".to_owned()),
        Just("deleted".to_owned()),
        ".*",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop_oneof!["created", "deleted", "renamed", ".*"].prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn decoding_never_panics(name in "(team|team_add|membership|organization|installation|installation_target|.*)", body in any_json()) {
        if let Ok(event) = decode(&delivery(&name, body.to_string())) {
            marks(&event);
        }
    }

    #[test]
    fn bytes_that_are_no_json_never_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        drop(decode(&delivery("team", body)));
    }
}
