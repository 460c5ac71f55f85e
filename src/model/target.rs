//! What there is to look at, who asked for it, and what they asked for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Lane, OrgId, TeamKey};

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

impl Target {
    /// The lane in which it is looked at.
    pub fn lane(self) -> Lane {
        match self {
            Self::Team(key) => Lane::Org(key.org),
            Self::Org(org) => Lane::Org(org),
            Self::Document(integration) => Lane::Document(integration),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Team(key) => write!(f, "team:{key}"),
            Self::Org(_) | Self::Document(_) => self.lane().fmt(f),
        }
    }
}

/// Who asked for a look. It orders the work and is logged. What a look does depends on [`Asks`] instead.
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

/// What a mark asks for besides the look. Merged requests combine their flags with OR. A pass sets none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// An event is among the requests: the look answers the target's last event. If GitHub shows nothing that the mirror
    /// lacks, and the team was in step, Datadog need not be read.
    pub event: bool,
    /// Datadog is read even then.
    pub datadog: bool,
    /// The look may use the reserve of the rate limits that a pass leaves alone.
    pub reserve: bool,
    /// The look does not wait until its lane has rested from the last one, nor for the end of a backoff: what failed may have
    /// been mended.
    pub at_once: bool,
    /// The creates of an organisation's first pass need no approval.
    pub lifts_creates: bool,
}

impl Asks {
    /// What a pass asks for, and a look that finds something to look at again.
    pub const PASS: Self =
        Self { event: false, datadog: false, reserve: false, at_once: false, lifts_creates: false };
    /// What an event asks for.
    pub const EVENT: Self = Self { event: true, reserve: true, ..Self::PASS };
    /// What a person's command asks for.
    pub const PERSON: Self =
        Self { event: false, datadog: true, reserve: true, at_once: true, lifts_creates: true };
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
