//! What a held action, a slot of the guard's window or an audit line is about.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::{ConnectionKey, DatadogTeamId, EntryKey, Integration, OrgId};

/// What an action is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A team connection.
    Connection(ConnectionKey),
    /// An entry of an integration's document.
    Entry(Integration, EntryKey),
    /// A Datadog team that does not exist yet, by its handle.
    DatadogTeam(String),
    /// An organisation whose binding to its login ends.
    Organisation(OrgId),
}

impl Subject {
    /// The connection, unless the subject is something else.
    pub fn connection(&self) -> Option<&ConnectionKey> {
        match self {
            Self::Connection(key) => Some(key),
            Self::Entry(..) | Self::DatadogTeam(_) | Self::Organisation(_) => None,
        }
    }

    /// The two names under which the subject is hashed, stored and printed as JSON: what Datadog has, and what GitHub
    /// has. Those of a connection are its key. The form is fixed, because hashes that were printed must stay valid.
    pub fn names(&self) -> (String, String) {
        match self {
            Self::Connection(ConnectionKey { datadog_team, github }) => {
                (datadog_team.to_string(), github.clone())
            }
            Self::Entry(integration, entry) => {
                (format!("{DOCUMENT}{}", integration.as_str()), entry.to_string())
            }
            Self::DatadogTeam(handle) => (handle.clone(), String::new()),
            Self::Organisation(org) => (String::new(), format!("{ORGANISATION}{org}")),
        }
    }

    /// The subject with these names. Datadog's team ids are UUIDs, so that none of them looks like a document.
    pub fn named(datadog: String, github: String) -> Self {
        if let Some(integration) = datadog.strip_prefix(DOCUMENT).and_then(Integration::from_id) {
            return Self::Entry(integration, EntryKey(github));
        }
        if github.is_empty() {
            return Self::DatadogTeam(datadog);
        }
        if datadog.is_empty()
            && let Some(org) = github.strip_prefix(ORGANISATION).and_then(|id| id.parse().ok())
        {
            return Self::Organisation(OrgId(org));
        }
        Self::Connection(ConnectionKey { datadog_team: DatadogTeamId::from(datadog), github })
    }
}

/// What the name of a document begins with, before the integration's id.
const DOCUMENT: &str = "integration:";

/// What the name of an organisation begins with, before its id.
const ORGANISATION: &str = "org:";

impl From<ConnectionKey> for Subject {
    fn from(key: ConnectionKey) -> Self {
        Self::Connection(key)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(key) => key.fmt(f),
            Self::Entry(integration, entry) => write!(f, "{entry} = {DOCUMENT}{}", integration.as_str()),
            Self::DatadogTeam(handle) => write!(f, "Datadog team {handle}"),
            Self::Organisation(org) => write!(f, "{ORGANISATION}{org}"),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (datadog, github) = self.names();
        let mut fields = serializer.serialize_struct("Subject", 2)?;
        fields.serialize_field("datadog_team", &datadog)?;
        fields.serialize_field("github", &github)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subjects() -> [(Subject, [&'static str; 2], &'static str); 4] {
        let key = ConnectionKey { datadog_team: DatadogTeamId::from("dd"), github: "@acme/a".into() };
        let entry = EntryKey("github.com/acme/app".into());
        [
            (Subject::Connection(key), ["dd", "@acme/a"], "@acme/a = dd"),
            (
                Subject::Entry(Integration::Github, entry),
                ["integration:github", "github.com/acme/app"],
                "github.com/acme/app = integration:github",
            ),
            (Subject::DatadogTeam("core".into()), ["core", ""], "Datadog team core"),
            (Subject::Organisation(OrgId(7)), ["", "org:7"], "org:7"),
        ]
    }

    #[test]
    fn each_subject_is_found_again_by_its_names() {
        for (subject, names, printed) in subjects() {
            let (datadog, github) = subject.names();
            assert_eq!([datadog.as_str(), github.as_str()], names);
            assert_eq!(Subject::named(datadog, github), subject);
            assert_eq!(subject.to_string(), printed);
            let json = json!({"datadog_team": names[0], "github": names[1]});
            assert_eq!(serde_json::to_value(&subject).unwrap(), json);
        }
    }
}
