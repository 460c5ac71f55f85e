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
    },
    /// Two such looks, far enough apart.
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

/// A repository as GitHub describes it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryFacts {
    /// Its id, which never changes.
    pub id: RepositoryId,
    /// Its name without the owner.
    pub name: String,
    /// The login of the account that owns it.
    pub owner: String,
    /// Whether it is archived.
    pub archived: bool,
    /// `public`, `private` or `internal`.
    pub visibility: String,
    /// Its topics.
    pub topics: Vec<String>,
}
