//! GitHub webhook JSON → [`Event`] → marks. Pure; the only place that sees webhook JSON.
//!
//! An event says what to look at and nothing else, so only ids, a login and flags are read. Everything else in
//! the body may be of any shape, null or missing: GitHub adds fields and actions without notice, and no event
//! may be lost because of one. Only what a mark cannot do without makes a body undecodable.

mod decode;
mod marks;
#[cfg(test)]
mod tests;

pub use decode::{Undecodable, decode};
pub use marks::marks;

use crate::model::{OrgId, TeamId};

/// A decoded delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `X-GitHub-Event`: `team`, `membership`, …
    pub name: String,
    /// The payload's `action`; `ping` and `team_add` have none.
    pub action: Option<String>,
    /// The organisation that it happened in; enterprises and users have none.
    pub org: Option<EventOrg>,
    /// What it is about.
    pub about: About,
}

/// An organisation as an event names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventOrg {
    /// Its id.
    pub id: OrgId,
    /// Its login at the time of the event, which may be long ago.
    pub login: Option<String>,
}

/// What an event is about, as far as anything follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// One team.
    Team {
        /// The team.
        team: TeamId,
        /// The event says that the team is gone.
        deleted: bool,
        /// The team's repositories changed too.
        repositories: bool,
    },
    /// The organisation as a whole, or what the app may see of it.
    Org {
        /// The event says that the organisation is gone.
        deleted: bool,
    },
    /// A repository.
    Repository,
    /// Known, and nothing follows from it.
    Nothing,
    /// An event or an action that this version does not know; nothing follows, but it is counted.
    Unknown,
}
