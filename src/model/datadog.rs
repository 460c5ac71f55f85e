//! Datadog's side: teams, connections, and which of them are ours.

use std::{collections::HashMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ConnectionId, DatadogTeamId, TeamId, Time};

/// A Datadog organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatadogOrg {
    /// Its id among organisations, a UUID.
    pub id: String,
    /// What it is called, where Datadog says so.
    pub name: Option<String>,
}

impl fmt::Display for DatadogOrg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} ({name})", self.id),
            None => f.write_str(&self.id),
        }
    }
}

/// A Datadog team, as far as mapping needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatadogTeam {
    /// Its id.
    pub id: DatadogTeamId,
    /// Its handle, unique in the Datadog organisation (409 otherwise).
    pub handle: String,
    /// Its display name.
    pub name: String,
}

/// How Datadog names a GitHub team: `@Org/slug`. There is no numeric id in it, so a rename of either part
/// makes another key. Kept in the case it was written in; [`GithubHandle::key`] is what is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GithubHandle(String);

impl GithubHandle {
    /// The handle of the team with this slug in the organisation with this login.
    pub fn new(login: &str, slug: &str) -> Self {
        Self(format!("@{login}/{slug}"))
    }

    /// A handle as Datadog sent it.
    pub fn from_datadog(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The handle as it is written to Datadog.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which handles are compared and kept as keys.
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }

    /// The organisation's login and the team's slug, when the text has that form.
    pub fn parts(&self) -> Option<(&str, &str)> {
        self.0.strip_prefix('@')?.split_once('/')
    }
}

impl fmt::Display for GithubHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What makes a connection the one it is: the Datadog team and the GitHub team's handle, lower-cased.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionKey {
    /// The Datadog team.
    pub datadog_team: DatadogTeamId,
    /// `@org/slug`, lower-cased.
    pub github: String,
}

impl ConnectionKey {
    /// The key of the connection between these two.
    pub fn new(datadog_team: DatadogTeamId, github: &GithubHandle) -> Self {
        Self { datadog_team, github: github.key() }
    }

    /// Whether it names a team of the organisation with this login.
    pub fn is_of(&self, login: &str) -> bool {
        let handle = GithubHandle::from_datadog(self.github.clone());
        handle.parts().is_some_and(|(of, _)| of.eq_ignore_ascii_case(login))
    }
}

impl fmt::Display for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.github, self.datadog_team)
    }
}

/// A connection as Datadog lists it, whoever made it. Every attribute and relationship is optional in
/// Datadog's contract; a connection that lacks one is foreign, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// The Datadog team it belongs to.
    pub datadog_team: Option<DatadogTeamId>,
    /// The GitHub team it names, in the case it was written in.
    pub github: Option<String>,
    /// Who says to manage it: a free string that the writer chose.
    pub managed_by: Option<String>,
    /// `github`, or another system that Datadog connects teams to.
    pub source: Option<String>,
}

impl Connection {
    /// Its key, when it has both ends.
    pub fn key(&self) -> Option<ConnectionKey> {
        Some(ConnectionKey {
            datadog_team: self.datadog_team.clone()?,
            github: self.github.as_ref()?.to_lowercase(),
        })
    }
}

/// Connections by their keys. Those whose GitHub teams Datadog writes in different case share a key, because teamlink
/// compares names without case. A connection that lacks an end has no key and is left out.
#[derive(Clone, Debug, Default)]
pub struct Connections(HashMap<ConnectionKey, Vec<Connection>>);

impl Connections {
    /// Returns every connection with this key.
    pub fn at(&self, key: &ConnectionKey) -> &[Connection] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Returns the connection with this key and this id.
    pub fn with_id(&self, key: &ConnectionKey, id: &ConnectionId) -> Option<&Connection> {
        self.at(key).iter().find(|connection| connection.id == *id)
    }

    /// Whether any connection has this key.
    pub fn has(&self, key: &ConnectionKey) -> bool {
        self.0.contains_key(key)
    }

    /// Returns all of them with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&ConnectionKey, &Connection)> {
        self.0.iter().flat_map(|(key, all)| all.iter().map(move |connection| (key, connection)))
    }
}

impl FromIterator<Connection> for Connections {
    fn from_iter<I: IntoIterator<Item = Connection>>(connections: I) -> Self {
        let mut all = Self::default();
        all.extend(connections);
        all
    }
}

impl Extend<Connection> for Connections {
    fn extend<I: IntoIterator<Item = Connection>>(&mut self, connections: I) {
        for connection in connections {
            let Some(key) = connection.key() else { continue };
            // Mostly there is one: room for more would take more than all else here.
            let at = self.0.entry(key).or_insert_with(|| Vec::with_capacity(1));
            if at.iter().all(|known| known.id != connection.id) {
                at.push(connection);
            }
        }
    }
}

/// How long Datadog's lists may lag behind a write: they were seen to lag for seconds. Each list may lag on its own, so
/// that a later one may lack what an earlier one has shown.
pub const LISTS_LAG: Duration = Duration::from_secs(12);

/// A connection that this ledger knows it made (or adopted).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// Its key.
    pub key: ConnectionKey,
    /// Its id in Datadog.
    pub id: ConnectionId,
    /// The GitHub team it is for. The slug in the key may have moved on to another team since.
    pub team: TeamId,
    /// The mark that it was made under; `None` for a row of version 0.1.0. It stays ours whatever mark the settings
    /// name today.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
}

/// Datadog answered a write with success. Its lists may lag behind that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The connection that was created or deleted.
    pub id: ConnectionId,
    /// When.
    pub at: Time,
    /// The first look that read a created connection by its id and did not find it.
    pub missed_at: Option<Time>,
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnedBy {
    /// Our `managed_by`, and a row in this ledger.
    Us,
    /// Our `managed_by`, but unknown to this ledger.
    Orphan,
    /// Somebody else's.
    Foreign,
}

impl OwnedBy {
    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Us => "ours",
            Self::Orphan => "orphan",
            Self::Foreign => "foreign",
        }
    }
}
