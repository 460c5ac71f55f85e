//! Datadog's JSON:API documents, as tolerant as the recordings demand: only `data` and the items' ids must be
//! there. Whatever else is missing, null or of another type than expected is treated as absent.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::{
    Configuration, Connection, ConnectionId, DatadogOrg, DatadogTeam, DatadogTeamId, Document, GithubHandle,
};

/// A list. An answer without `data` is invalid, never empty.
#[derive(Deserialize)]
pub(super) struct List {
    pub(super) data: Vec<Item>,
    #[serde(default)]
    meta: Value,
}

impl List {
    /// How many items there are on all pages. Connections say it in `meta.page`, teams in `meta.pagination`,
    /// answers to writes not at all.
    pub(super) fn total(&self) -> Option<usize> {
        let total = ["/page/total", "/pagination/total"].iter().find_map(|path| self.meta.pointer(path))?;
        usize::try_from(total.as_u64()?).ok()
    }
}

/// A single thing.
#[derive(Deserialize)]
pub(super) struct One {
    pub(super) data: Item,
}

/// Anything with an id.
#[derive(Deserialize)]
pub(super) struct Item {
    id: String,
    #[serde(default)]
    attributes: Value,
    #[serde(default)]
    relationships: Value,
}

impl Item {
    fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.get(name)?.as_str().map(str::to_owned)
    }

    fn related(&self, name: &str) -> Option<String> {
        self.relationships.get(name)?.get("data")?.get("id")?.as_str().map(str::to_owned)
    }
}

impl From<Item> for Connection {
    fn from(item: Item) -> Self {
        Self {
            datadog_team: item.related("team").map(DatadogTeamId::from),
            github: item.related("connected_team"),
            managed_by: item.attribute("managed_by"),
            source: item.attribute("source"),
            id: ConnectionId::from(item.id),
        }
    }
}

impl From<Item> for DatadogTeam {
    fn from(item: Item) -> Self {
        Self {
            handle: item.attribute("handle").unwrap_or_default(),
            name: item.attribute("name").unwrap_or_default(),
            id: DatadogTeamId::from(item.id),
        }
    }
}

/// The user whose keys they are.
#[derive(Deserialize)]
pub(super) struct CurrentUser {
    data: Item,
    #[serde(default)]
    included: Vec<Item>,
}

impl CurrentUser {
    /// Its organisation, where the answer names one.
    pub(super) fn org(self) -> Option<DatadogOrg> {
        let id = self.data.related("org")?;
        let org = self.included.iter().find(|item| item.id == id);
        Some(DatadogOrg { name: org.and_then(|org| org.attribute("name")), id })
    }
}

/// Datadog's own synchronisation of teams, of which there is one per source. Its words are open: newer ones
/// than the contract knows are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamSync {
    /// `link` (connect what matches), `provision` (create teams too).
    pub kind: String,
    /// `once`, `continuously`, `paused`. Datadog: `once` when not said.
    pub frequency: String,
    /// Whether memberships are copied too.
    pub sync_membership: bool,
}

impl TeamSync {
    /// Whether Datadog writes connections by itself again and again: a second writer beside us.
    pub fn continuous(&self) -> bool {
        self.frequency == "continuously"
    }
}

impl From<Item> for TeamSync {
    fn from(item: Item) -> Self {
        Self {
            kind: item.attribute("type").unwrap_or_else(|| "unknown".to_owned()),
            frequency: item.attribute("frequency").unwrap_or_else(|| "once".to_owned()),
            sync_membership: item.attributes.get("sync_membership").and_then(Value::as_bool).unwrap_or(false),
        }
    }
}

/// The document of an entity integration. An answer without its configuration is invalid, never empty.
#[derive(Deserialize)]
pub(super) struct Integration {
    data: IntegrationData,
}

#[derive(Deserialize)]
struct IntegrationData {
    attributes: IntegrationAttributes,
}

#[derive(Deserialize)]
struct IntegrationAttributes {
    org_id: Option<i64>,
    config: Configuration,
}

impl From<Integration> for Document {
    fn from(Integration { data: IntegrationData { attributes } }: Integration) -> Self {
        let IntegrationAttributes { org_id, config } = attributes;
        Self { org_id, config }
    }
}

/// A document to be put. Written from what it is made of: as a value, a long list would be held once more.
#[derive(Serialize)]
pub(super) struct NewIntegration<'a> {
    data: NewIntegrationData<'a>,
}

#[derive(Serialize)]
struct NewIntegrationData<'a> {
    r#type: &'static str,
    attributes: NewIntegrationAttributes<'a>,
}

#[derive(Serialize)]
struct NewIntegrationAttributes<'a> {
    config: &'a Configuration,
}

impl<'a> From<&'a Configuration> for NewIntegration<'a> {
    fn from(config: &'a Configuration) -> Self {
        let attributes = NewIntegrationAttributes { config };
        Self { data: NewIntegrationData { r#type: "entity_integration_config_requests", attributes } }
    }
}

/// A connection to be made.
pub(super) fn new_connection(team: &DatadogTeamId, github: &GithubHandle, managed_by: &str) -> Value {
    json!({
        "type": "team_connection",
        // Datadog: 400 without a source, since May 2026.
        "attributes": {"source": "github", "managed_by": managed_by},
        "relationships": {
            "team": {"data": {"type": "team", "id": team}},
            "connected_team": {"data": {"type": "github_team", "id": github}},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_connection_is_read() {
        let list: List = serde_json::from_str(
            r#"{"data":[{"id":"51323b02-29be-11f1-ad4d-da7ad0900002","type":"team_connection",
                "attributes":{"managed_by":"datadog","source":"github"},
                "relationships":{"connected_team":{"data":{"id":"@MyGitHubAccount/my-team-name","type":"github_team"}},
                                 "team":{"data":{"id":"50ba7a6e-29be-11f1-8b4a-da7ad0900002","type":"team"}}}}],
                "meta":{"page":{"type":"number_size","number":0,"size":10,"total":6,"prev_number":null}}}"#,
        )
        .unwrap();
        assert_eq!(list.total(), Some(6));
        insta::assert_debug_snapshot!(list.data.into_iter().map(Connection::from).collect::<Vec<_>>(), @r#"
        [
            Connection {
                id: ConnectionId(
                    "51323b02-29be-11f1-ad4d-da7ad0900002",
                ),
                datadog_team: Some(
                    DatadogTeamId(
                        "50ba7a6e-29be-11f1-8b4a-da7ad0900002",
                    ),
                ),
                github: Some(
                    "@MyGitHubAccount/my-team-name",
                ),
                managed_by: Some(
                    "datadog",
                ),
                source: Some(
                    "github",
                ),
            },
        ]
        "#);
    }

    #[test]
    fn a_connection_that_lacks_anything_but_its_id_has_no_key() {
        for odd in [
            r#"{"id":"c"}"#,
            r#"{"id":"c","attributes":null,"relationships":null}"#,
            r#"{"id":"c","attributes":{},"relationships":{"team":{"data":null},"connected_team":{}}}"#,
            r#"{"id":"c","attributes":{"managed_by":7,"source":["github"]},"relationships":"none"}"#,
        ] {
            let connection = Connection::from(serde_json::from_str::<Item>(odd).unwrap());
            assert_eq!(connection.key(), None, "{odd}");
            assert_eq!((connection.managed_by, connection.source), (None, None), "{odd}");
        }
    }

    #[test]
    fn every_recorded_shape_of_meta_is_read_and_none_is_needed() {
        let total =
            |meta: &str| serde_json::from_str::<List>(&format!(r#"{{"data":[]{meta}}}"#)).unwrap().total();
        assert_eq!(
            total(r#","meta":{"page":{"type":"offset_limit","offset":0,"limit":100,"total":1}}"#),
            Some(1)
        );
        assert_eq!(
            total(r#","meta":{"pagination":{"type":"offset_limit","limit":100,"total":42}}"#),
            Some(42)
        );
        assert_eq!(total(r#","meta":{"page":{"total":"many"}}"#), None);
        assert_eq!(total(r#","meta":null"#), None);
        assert_eq!(total(""), None);
    }

    #[test]
    fn an_answer_without_a_list_is_not_an_empty_list() {
        assert!(serde_json::from_str::<List>("{}").is_err());
        assert!(serde_json::from_str::<List>(r#"{"data":null}"#).is_err());
    }

    #[test]
    fn words_of_the_team_sync_that_are_newer_than_the_contract_are_kept() {
        let item = r#"{"id":"s","type":"team_sync_bulk","attributes":{"frequency":"hourly","source":"servicenow","type":"mirror"}}"#;
        let sync = TeamSync::from(serde_json::from_str::<Item>(item).unwrap());
        assert_eq!(
            sync,
            TeamSync { kind: "mirror".into(), frequency: "hourly".into(), sync_membership: false }
        );
    }
}
