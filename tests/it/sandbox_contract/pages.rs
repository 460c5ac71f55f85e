//! Pages and filters.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Answer, CONNECTIONS, Judged, NOBODY, by_id, connection, recorded};

#[tokio::test]
async fn pages_are_described_as_recorded() {
    let judged = Judged::start().await;
    let team = judged.new_team("paged").await;
    let mut ids = BTreeSet::new();
    for number in 0..6 {
        ids.insert(judged.connect(&team, &format!("@acme/t{number}")).await);
    }
    let page = |answer: &Answer| {
        answer.text.split("\"meta\":").nth(1).unwrap().strip_suffix('}').unwrap().to_owned()
    };
    let sized = judged.ask("GET", &format!("{CONNECTIONS}?page[size]=10"), Value::Null).await;
    assert_eq!(page(&sized), recorded("connections-page-by-number", &[]));
    let plain = judged
        .ask("GET", &format!("{CONNECTIONS}?filter[connection_ids]={}", ids.first().unwrap()), Value::Null)
        .await;
    assert_eq!(page(&plain), recorded("connections-page-by-offset", &[]));
    let mut seen = BTreeSet::new();
    for number in 0..2 {
        seen.append(&mut judged.connection_ids(&format!("page[size]=4&page[number]={number}")).await);
    }
    assert_eq!(seen, ids);

    let all = judged.get("/api/v2/team").await;
    assert_eq!(
        all["meta"]["pagination"],
        json!({"type": "offset_limit", "offset": 0, "limit": 100, "total": 8, "first_offset": 0, "prev_offset": 0, "next_offset": 100, "last_offset": 0})
    );
    let last = judged.get("/api/v2/team?page[size]=4&page[number]=1").await;
    assert_eq!(
        last["meta"]["pagination"],
        json!({"type": "number_size", "number": 1, "size": 4, "total": 8, "first_number": 0, "prev_number": 0, "next_number": 2, "last_number": 1})
    );
    assert!(last["links"]["next"].as_str().unwrap().ends_with("/api/v2/team?page[number]=2&page[size]=4"));
    let trimmed = judged.get("/api/v2/team?fields[team]=id,name,handle&page[size]=1").await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (keys(&trimmed["data"][0]), keys(&trimmed["data"][0]["attributes"])),
        (vec!["attributes".into(), "id".into(), "type".into()], vec!["handle".into(), "name".into()])
    );
}

#[tokio::test]
async fn connections_are_filtered_and_go_with_their_team() {
    let judged = Judged::start().await;
    let (one, two) = (judged.new_team("one").await, judged.new_team("two").await);
    // One GitHub team on two Datadog teams, one Datadog team with two GitHub teams.
    let shared = judged.connect(&one, "@acme/shared").await;
    let other = judged.connect(&two, "@acme/shared").await;
    let only = judged.connect(&two, "@acme/only").await;
    let set = |ids: &[&String]| ids.iter().map(|id| (*id).clone()).collect::<BTreeSet<_>>();
    let expected: BTreeMap<String, BTreeSet<String>> = [
        (String::new(), set(&[&shared, &other, &only])),
        ("filter[sources]=github".into(), set(&[&shared, &other, &only])),
        ("filter[sources]=scim,servicenow".into(), set(&[])),
        (format!("filter[team_ids]={one}"), set(&[&shared])),
        (format!("filter[team_ids]={one},{two}"), set(&[&shared, &other, &only])),
        ("filter[connected_team_ids]=@acme/shared".into(), set(&[&shared, &other])),
        ("filter[connected_team_ids]=%40acme%2Fonly,@acme/shared".into(), set(&[&shared, &other, &only])),
        ("filter[connected_team_ids]=@ACME/shared".into(), set(&[])),
        (format!("filter[connected_team_ids]=@acme/shared&filter[team_ids]={two}"), set(&[&other])),
        (format!("filter[connection_ids]={only},{shared},{NOBODY}"), set(&[&only, &shared])),
    ]
    .into();
    for (query, ids) in expected {
        assert_eq!(judged.connection_ids(&query).await, ids, "{query}");
    }
    // All or nothing, both ways.
    let half_known = json!({"data": [connection(&one, "@acme/new"), connection(&two, "@acme/only")]});
    judged.expect(409, "POST", CONNECTIONS, half_known).await;
    let half_known =
        json!({"data": [{"id": only, "type": "team_connection"}, {"id": NOBODY, "type": "team_connection"}]});
    judged.expect(404, "DELETE", CONNECTIONS, half_known).await;
    assert_eq!(judged.connection_ids("").await.len(), 3);

    judged.expect(204, "DELETE", &format!("/api/v2/team/{two}"), Value::Null).await;
    assert_eq!(judged.connection_ids("").await, set(&[&shared]));
    judged.expect(404, "DELETE", CONNECTIONS, by_id(&only)).await;
}
