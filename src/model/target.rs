//! What there is to look at, and why somebody wants it looked at.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{OrgId, TeamKey};

/// A Datadog integration whose document teamlink keeps entries in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integration {
    /// `enabled_repos`
    Github,
    /// `enabled_projects`
    Jira,
    /// `accounts`
    Pagerduty,
}

impl Integration {
    /// The id in Datadog's path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Jira => "jira",
            Self::Pagerduty => "pagerduty",
        }
    }

    /// What stands for its document where the ledger names an organisation: a document has a writer, held and
    /// approved actions and an audit trail in just the same way. GitHub's own ids are positive.
    pub fn scope(self) -> OrgId {
        match self {
            Self::Github => OrgId(-1),
            Self::Jira => OrgId(-2),
            Self::Pagerduty => OrgId(-3),
        }
    }

    /// The integration for whose document an id stands, if it does for one.
    pub fn of_scope(org: OrgId) -> Option<Self> {
        Self::ALL.into_iter().find(|integration| integration.scope() == org)
    }
}

/// What to look at. An event never says more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// One team.
    Team(TeamKey),
    /// An organisation as a whole.
    Org(OrgId),
    /// One integration's document.
    Document(Integration),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Team(key) => write!(f, "team:{key}"),
            Self::Org(org) => write!(f, "org:{org}"),
            Self::Document(integration) => write!(f, "integration:{}", integration.as_str()),
        }
    }
}

/// Under which lease something is written: requests carry it, so that their order can be told afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// What the lease is on: an organisation or a document.
    pub target: Target,
    /// The lease's counter, which rises with each holder.
    pub count: i64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.target, self.count)
    }
}

/// Who asked for a look. It decides the order and the pace, never what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A GitHub event.
    Event,
    /// The periodic full pass, or the one at start-up.
    Pass,
    /// A person's command.
    Person,
}

/// "Look at this target", as an event asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What to look at.
    pub target: Target,
    /// The event said that this was deleted. A team's descendants in the mirror are looked at too, since
    /// GitHub does not announce them, and the event is kept as evidence.
    pub deleted: bool,
}
