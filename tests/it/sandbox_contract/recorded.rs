//! The bodies that Datadog was seen to send, in `tests/recorded`, byte for byte.

use serde_json::{Value, json};

use super::{Answer, CONNECTIONS, Judged, NOBODY, by_id, connection, membership, recorded, sync, team};

#[track_caller]
fn same(answer: Answer, name: &str, ids: &[(&str, &str)]) {
    assert_eq!(answer.text, recorded(name, ids));
}

#[tokio::test]
async fn recorded_bodies_are_reproduced_byte_for_byte() {
    let judged = Judged::start().await;
    let team_id = judged.new_team("quoted").await;

    let empty = judged.expect(400, "POST", CONNECTIONS, json!({"data": []})).await;
    same(empty, "nothing-to-connect", &[]);
    let created = judged
        .expect(201, "POST", CONNECTIONS, json!({"data": [connection(&team_id, "@acme/team-1")]}))
        .await;
    let id = created.id();
    same(created, "connected", &[("<id>", &id), ("<team>", &team_id)]);
    let again = judged
        .expect(409, "POST", CONNECTIONS, json!({"data": [connection(&team_id, "@acme/team-1")]}))
        .await;
    same(again, "connected-already", &[]);
    let mut sourceless = connection(&team_id, "@acme/team-2");
    sourceless["attributes"] = json!({});
    let refused = judged.expect(400, "POST", CONNECTIONS, json!({"data": [sourceless]})).await;
    same(refused, "no-source", &[]);
    let blank = judged.expect(400, "DELETE", CONNECTIONS, by_id("")).await;
    same(blank, "no-connection-id", &[]);

    let duplicate = judged.expect(409, "POST", "/api/v2/team", team("quoted", "quoted")).await;
    same(duplicate, "team-exists", &[]);
    let no_uuid = judged.expect(404, "GET", "/api/v2/team/REPLACE.ME", Value::Null).await;
    same(no_uuid, "not-a-uuid", &[]);
    let gone = judged.expect(404, "DELETE", &format!("/api/v2/team/{NOBODY}"), Value::Null).await;
    same(gone, "no-team", &[("<id>", NOBODY)]);

    let members = format!("/api/v2/team/{team_id}/memberships");
    judged.expect(200, "POST", &members, membership(NOBODY, Value::Null)).await;
    let present = judged.expect(409, "POST", &members, membership(NOBODY, Value::Null)).await;
    same(present, "member-already", &[("<user>", NOBODY)]);

    judged
        .expect(
            204,
            "POST",
            "/api/v2/team/sync",
            sync(json!({"source": "github", "type": "provision", "frequency": "paused"})),
        )
        .await;
    let first = judged.ask("GET", "/api/v2/team/sync?filter[source]=github", Value::Null).await.id();
    judged
        .expect(
            204,
            "POST",
            "/api/v2/team/sync",
            sync(json!({"source": "github", "type": "link", "frequency": "paused"})),
        )
        .await;
    let synced = judged.ask("GET", "/api/v2/team/sync?filter[source]=github", Value::Null).await;
    same(synced, "team-sync", &[("<id>", &first)]);
}

#[tokio::test]
async fn an_absent_mark_is_filled_with_the_callers_id() {
    let judged = Judged::start().await;
    let team = judged.new_team("unmarked").await;
    let mut item = connection(&team, "@acme/x");
    item["attributes"] = json!({"source": "github"});
    let created = judged.expect(201, "POST", CONNECTIONS, json!({"data": [item]})).await.json();
    assert_eq!(created["data"][0]["attributes"]["managed_by"].as_str().unwrap().len(), 36);
    assert_eq!(created.get("meta"), None);
}
