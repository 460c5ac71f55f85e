//! Identifiers. GitHub's are numeric and never change; Datadog's are opaque text.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

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
impl TeamId {
    /// No team: what an orphan belongs to. GitHub gives no team this id.
    pub const NONE: Self = Self(0);
}

numeric_id! {
    /// A GitHub repository's numeric id; survives renames and transfers.
    RepositoryId
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The id as Datadog sends it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
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
