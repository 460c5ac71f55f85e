//! Identifiers. GitHub's are positive numbers and never change; Datadog's are opaque text.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, Unexpected},
};

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Only a positive number is read as one: others stand for something else in the ledger.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let id = i64::deserialize(deserializer)?;
                let wrong = || D::Error::invalid_value(Unexpected::Signed(id), &"a positive number");
                if id > 0 { Ok(Self(id)) } else { Err(wrong()) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

numeric_id! {
    /// A GitHub organisation's numeric id; survives a rename of its login.
    OrgId
}
numeric_id! {
    /// A GitHub team's numeric id; survives a rename of its slug.
    TeamId
}
numeric_id! {
    /// A GitHub repository's numeric id; survives renames and transfers.
    RepositoryId
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Clones share the text: a pass over a large organisation has each id in many places.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as Datadog sends it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same text, shared.
            pub fn text(&self) -> Arc<str> {
                self.0.clone()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id.into())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }
    };
}

text_id! {
    /// A Datadog team's id: a UUID of any version, treated as opaque.
    DatadogTeamId
}
text_id! {
    /// A Datadog team connection's id: a UUID of any version, treated as opaque.
    ConnectionId
}

/// Names one GitHub team for good: its organisation's id and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TeamKey {
    /// The organisation that the team belongs to.
    pub org: OrgId,
    /// The team.
    pub team: TeamId,
}

impl fmt::Display for TeamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.team)
    }
}

/// How JSON shows a team where there may be none: 0 stands for no team. Plans that were saved have this form.
pub mod team_or_zero {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::IntoDeserializer as _};

    use super::TeamId;

    /// Writes the team's id, or 0.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(team: &Option<TeamId>, serializer: S) -> Result<S::Ok, S::Error> {
        team.map_or(0, |team| team.0).serialize(serializer)
    }

    /// Reads a team's id; 0 is no team.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TeamId>, D::Error> {
        let id = i64::deserialize(deserializer)?;
        if id == 0 {
            return Ok(None);
        }
        TeamId::deserialize(id.into_deserializer()).map(Some)
    }
}
