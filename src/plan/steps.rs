//! What a plan holds: its steps with their reasons, and everything that was left alone. Nothing is decided here.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::RemovalCause;
use crate::model::{
    ConnectionId, ConnectionKey, GithubHandle, HeldKey, HeldKind, OrgId, OwnedBy, TeamId, Time, team_or_zero,
};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Action {
    /// Create a Datadog team for a handle that does not exist.
    CreateTeam {
        /// The handle.
        handle: String,
        /// The display name.
        name: String,
    },
    /// Connect.
    Create {
        /// The connection's key.
        key: ConnectionKey,
        /// The GitHub team, in the case in which it is written.
        github: GithubHandle,
    },
    /// Disconnect.
    Delete {
        /// The connection's key.
        key: ConnectionKey,
        /// Its id.
        id: ConnectionId,
        /// Why it may go.
        cause: RemovalCause,
    },
    /// Our row becomes another team's, since that team has the slug now. Nothing is written to Datadog.
    PassOn {
        /// The connection's key.
        key: ConnectionKey,
        /// Its id.
        id: ConnectionId,
        /// The team that has it from now on.
        to: TeamId,
        /// The organisation that had it, where its login moved to this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_org: Option<OrgId>,
        /// The organisation of the team that gets it, where the login moved from this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to_org: Option<OrgId>,
    },
    /// An interrupted create of ours turns out to have been done. Nothing is written to Datadog.
    Record {
        /// The connection's key.
        key: ConnectionKey,
        /// Its id.
        id: ConnectionId,
    },
    /// Our row has no connection of ours behind it any more. Nothing is written to Datadog.
    Forget {
        /// The connection's key.
        key: ConnectionKey,
    },
}

impl Action {
    /// Passes a row on within the organisation.
    pub(super) fn pass_on(key: ConnectionKey, id: ConnectionId, to: TeamId) -> Self {
        Self::PassOn { key, id, to, from_org: None, to_org: None }
    }

    /// Whether it moves a row to or from another organisation.
    pub fn passes_between_organisations(&self) -> bool {
        matches!(self, Self::PassOn { from_org: Some(_), .. } | Self::PassOn { to_org: Some(_), .. })
    }

    /// The connection; `None` for a Datadog team.
    pub fn key(&self) -> Option<&ConnectionKey> {
        match self {
            Self::CreateTeam { .. } => None,
            Self::Create { key, .. }
            | Self::Delete { key, .. }
            | Self::PassOn { key, .. }
            | Self::Record { key, .. }
            | Self::Forget { key } => Some(key),
        }
    }

    /// How a step is named when it is held; `None` for one that never is.
    pub fn held_key(&self) -> Option<HeldKey> {
        match self {
            Self::Create { key, .. } => Some(HeldKey::new(HeldKind::Create, key.clone())),
            Self::Delete { key, .. } => Some(HeldKey::new(HeldKind::Delete, key.clone())),
            Self::Forget { key } => Some(HeldKey::new(HeldKind::Disown, key.clone())),
            Self::CreateTeam { .. } | Self::PassOn { .. } | Self::Record { .. } => None,
        }
    }

    /// The identity of the step.
    pub fn step(&self) -> StepKey {
        match self {
            Self::CreateTeam { handle, .. } => StepKey::CreateTeam(handle.clone()),
            Self::Create { key, .. } => StepKey::Create(key.clone()),
            Self::Delete { key, .. } => StepKey::Delete(key.clone()),
            Self::PassOn { key, .. } => StepKey::PassOn(key.clone()),
            Self::Record { key, .. } => StepKey::Record(key.clone()),
            Self::Forget { key } => StepKey::Forget(key.clone()),
        }
    }
}

/// What makes a step the same step in another plan. Its text is for people and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepKey {
    /// Create the Datadog team with this handle.
    CreateTeam(String),
    /// Create this connection.
    Create(ConnectionKey),
    /// Delete this connection.
    Delete(ConnectionKey),
    /// Pass the row of this connection to another team.
    PassOn(ConnectionKey),
    /// Record this connection as ours.
    Record(ConnectionKey),
    /// Disown this connection.
    Forget(ConnectionKey),
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTeam(handle) => write!(f, "create Datadog team {handle}"),
            Self::Create(key) => write!(f, "create {key}"),
            Self::Delete(key) => write!(f, "delete {key}"),
            Self::PassOn(key) => write!(f, "pass on {key}"),
            Self::Record(key) => write!(f, "record {key}"),
            Self::Forget(key) => write!(f, "forget {key}"),
        }
    }
}

/// A step with the team that it is for and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The GitHub team; none for the removal of an orphan.
    #[serde(with = "team_or_zero")]
    pub team: Option<TeamId>,
    /// The step.
    #[serde(flatten)]
    pub action: Action,
    /// Why.
    pub reason: String,
}

/// Why a team, or a connection of it, was left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum Why {
    /// The wanted connection exists and is somebody else's, or an orphan of ours.
    Satisfied {
        /// The connection's key.
        key: ConnectionKey,
        /// Whose it is.
        owner: OwnedBy,
    },
    /// A rule says to ignore the team.
    Ignored,
    /// No rule matches the team.
    Unmapped,
    /// Handles that Datadog does not have.
    NoSuchHandle {
        /// The handles.
        handles: Vec<String>,
    },
    /// Two teams read back with this slug: one answer is stale.
    Conflict {
        /// The slug.
        slug: String,
    },
    /// One look says that it is gone; a second one has to agree.
    Suspected {
        /// When the first look was.
        since: Time,
    },
    /// GitHub gave no usable answer about it.
    NotRead {
        /// What it said.
        error: String,
    },
    /// A person paused it: these steps wait until it is resumed.
    Paused {
        /// Since when.
        since: Time,
        /// How many steps wait.
        steps: usize,
    },
    /// The connection is in its grace: it goes when a look after that still finds it unwanted.
    Grace {
        /// The connection's key.
        key: ConnectionKey,
        /// When a look first found it unwanted.
        since: Time,
        /// When it may go.
        until: Time,
    },
    /// Datadog answered a write with success, or a list showed the connection just now, and its lists do not show that.
    NotVisible {
        /// The connection's key.
        key: ConnectionKey,
        /// When it answered, or when the connection was recorded.
        since: Time,
    },
    /// teamlink would delete the connection, but an unanswered create of it may arrive after that.
    MayBeMade {
        /// The connection's key.
        key: ConnectionKey,
        /// When it can arrive no more.
        until: Time,
    },
    /// The connection would go, but its handle names a team of an organisation that is not served.
    OfAnother {
        /// The connection's key.
        key: ConnectionKey,
        /// The login of that organisation.
        login: String,
    },
    /// Somebody else removes the connection again and again: it is made again later.
    SomebodyRemoves {
        /// The connection that would be made.
        key: ConnectionKey,
        /// How often it was removed within a day.
        times: usize,
        /// When it is made again.
        until: Time,
    },
    /// The policy does not allow removals.
    Policy {
        /// The connection that would go.
        key: ConnectionKey,
    },
    /// The team is protected: nobody's approval lets its connection go.
    Protected {
        /// The connection that would go.
        key: ConnectionKey,
    },
    /// An orphan that no team wants and whose GitHub team is not proven gone.
    Orphan {
        /// The connection's key.
        key: ConnectionKey,
        /// What is not proven.
        because: String,
    },
}

/// Something that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// The GitHub team; none for orphans.
    #[serde(with = "team_or_zero")]
    pub team: Option<TeamId>,
    /// Why.
    #[serde(flatten)]
    pub why: Why,
}

/// The steps, in the order in which they are to be carried out, and what was left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps.
    pub actions: Vec<Planned>,
    /// What was left alone.
    pub left_alone: Vec<LeftAlone>,
}

impl Plan {
    /// The connections that are in their grace: for which team, since when, and when they may go.
    pub fn in_grace(&self) -> impl Iterator<Item = (TeamId, &ConnectionKey, Time, Time)> {
        self.left_alone.iter().filter_map(|left| match &left.why {
            Why::Grace { key, since, until } => Some((left.team?, key, *since, *until)),
            _ => None,
        })
    }

    /// The connections whose writes Datadog's lists do not show yet: for which team, and since when.
    pub fn not_visible(&self) -> impl Iterator<Item = (TeamId, &ConnectionKey, Time)> {
        self.left_alone.iter().filter_map(|left| match &left.why {
            Why::NotVisible { key, since } => Some((left.team?, key, *since)),
            _ => None,
        })
    }

    /// Whether Datadog's lists do not show yet what became of this connection.
    pub fn is_not_visible(&self, key: &ConnectionKey) -> bool {
        self.left_alone.iter().any(|left| matches!(&left.why, Why::NotVisible { key: of, .. } if of == key))
    }

    /// The teams of which a step waits for its time, and until when.
    pub fn postponed(&self) -> impl Iterator<Item = (TeamId, Time)> {
        self.left_alone.iter().filter_map(|left| match &left.why {
            Why::Grace { until, .. } | Why::SomebodyRemoves { until, .. } | Why::MayBeMade { until, .. } => {
                Some((left.team?, *until))
            }
            _ => None,
        })
    }

    /// The connections that it makes or deletes.
    pub fn written(&self) -> impl Iterator<Item = &ConnectionKey> {
        self.actions.iter().filter_map(|planned| match &planned.action {
            Action::Create { key, .. } | Action::Delete { key, .. } => Some(key),
            Action::CreateTeam { .. }
            | Action::PassOn { .. }
            | Action::Record { .. }
            | Action::Forget { .. } => None,
        })
    }

    /// The connections that it disowns.
    pub fn disowned(&self) -> impl Iterator<Item = &ConnectionKey> {
        self.actions.iter().filter_map(|planned| match &planned.action {
            Action::Forget { key } => Some(key),
            _ => None,
        })
    }

    /// Whether a step of it writes to Datadog.
    pub fn writes(&self) -> bool {
        self.actions.iter().any(|planned| match planned.action {
            Action::CreateTeam { .. } | Action::Create { .. } | Action::Delete { .. } => true,
            Action::PassOn { .. } | Action::Record { .. } | Action::Forget { .. } => false,
        })
    }
}
