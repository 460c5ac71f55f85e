//! GitHub as teamlink remembers it: organisations, teams and repositories by numeric id.

use serde::{Deserialize, Serialize};

use super::{OrgId, RepositoryId, TeamId, Time};

/// An organisation as GitHub describes it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgFacts {
    /// Its id, which never changes.
    pub id: OrgId,
    /// Its login in GitHub's own case; changes when it is renamed.
    pub login: String,
}

/// A team as GitHub describes it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamFacts {
    /// Its id, which never changes.
    pub id: TeamId,
    /// Its slug as GitHub sends it; never computed from the name, since the algorithm is not published.
    pub slug: String,
    /// Its display name.
    pub name: String,
    /// The team it is nested under. Deleting a parent deletes its children, which GitHub does not announce.
    pub parent: Option<TeamId>,
    /// Whose team it is.
    #[serde(default)]
    pub team_type: TeamType,
}

/// Whose team a team in an organisation's list is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeamType {
    /// The organisation's own.
    #[default]
    Organization,
    /// A team of the organisation's enterprise. Its id answers 404, and it is not nested.
    Enterprise,
}

impl TeamType {
    /// Returns the type that GitHub names. A server that names none writes enterprise teams with the slug `ent:…`.
    pub fn of(named: Option<&str>, slug: &str) -> Self {
        match named {
            Some("enterprise") => Self::Enterprise,
            Some(_) => Self::Organization,
            None if slug.starts_with("ent:") => Self::Enterprise,
            None => Self::Organization,
        }
    }

    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Enterprise => "enterprise",
        }
    }
}

/// What the mirror believes of a team's existence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TeamState {
    /// GitHub showed it at the last look.
    Present,
    /// Its id answered 404 while its org and the org's list answered; one look of the two that make proof.
    Suspected {
        /// When the first such look was.
        since: Time,
        /// When the second such look was. The organisation's list, begun after that, has to lack the team too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        second: Option<Time>,
    },
    /// Two such looks, far enough apart, and a complete list begun after them that lacks it.
    Gone {
        /// When the first such look was.
        since: Time,
        /// When the second look completed the proof.
        proven: Time,
    },
}

/// A team in the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorTeam {
    /// What GitHub said when it last showed the team.
    pub facts: TeamFacts,
    /// Whether it still exists.
    pub state: TeamState,
    /// When GitHub last showed it.
    pub seen_at: Time,
    /// The last `team.deleted` event that named it, if any: what a credential that cannot see secret teams
    /// needs beside the two looks.
    pub deleted_event_at: Option<Time>,
    /// Set when the last settle left Datadog as wanted; cleared by anything that may have changed that. While
    /// it is set and GitHub shows the same facts, Datadog need not be asked.
    pub in_step: bool,
}

impl MirrorTeam {
    /// Whether it is proven that the team does not exist any more.
    pub fn is_gone(&self) -> bool {
        matches!(self.state, TeamState::Gone { .. })
    }
}

/// A repository as GitHub describes it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryFacts {
    /// Its id, which never changes.
    pub id: RepositoryId,
    /// Its name without the owner.
    pub name: String,
    /// The login of the account that owns it.
    pub owner: String,
    /// Whether it is archived; `None` where GitHub's answer does not say.
    pub archived: Option<bool>,
    /// `public`, `private` or `internal`; `None` where GitHub's answer does not say.
    pub visibility: Option<String>,
    /// Its topics; `None` where GitHub's answer does not say.
    pub topics: Option<Vec<String>>,
}
