//! Why a connection may be removed, with the proof.

use serde::{Deserialize, Serialize};

use crate::model::{GithubHandle, Time};

/// Why a connection may be removed. Each variant is its own proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum RemovalCause {
    /// The team's id answered 404 at two looks, while its organisation and the list of its teams answered.
    TeamGone {
        /// The first look.
        since: Time,
        /// The second look.
        proven: Time,
    },
    /// The team read back by its id with another handle, and is connected under that one.
    Replaced {
        /// The handle that it has now.
        by: GithubHandle,
    },
    /// The team read back by its id with another handle, and no rule gives it a Datadog team any more.
    Renamed {
        /// The handle that it has now.
        to: GithubHandle,
    },
    /// The team is as it was; our rules or Datadog's teams are not. Never carried out without a person.
    Rules,
    /// Its organisation was deleted, as its event said, and answers 404. Never carried out without a person, who approves the
    /// release of the organisation's login.
    OrgGone {
        /// When the event came.
        told: Time,
        /// When the organisation's id answered.
        proven: Time,
    },
    /// It has our mark, this ledger does not know it, and its slug answered 404 while its organisation and the list
    /// of its teams answered. Never carried out without a person.
    Orphan {
        /// When the slug answered.
        proven: Time,
    },
}

impl RemovalCause {
    /// What proves that the removal is right, in words for the plan and for the audit.
    pub fn proof(&self) -> Option<String> {
        match self {
            Self::TeamGone { since, proven } => Some(format!(
                "404 by id at {since} and at {proven}, while its org and the org's list answered"
            )),
            Self::Replaced { by } | Self::Renamed { to: by } => Some(format!("its id reads back as {by}")),
            Self::Rules => None,
            Self::OrgGone { told, proven } => Some(format!(
                "organization.deleted came at {told}, and the id of its org answered 404 at {proven}"
            )),
            Self::Orphan { proven } => {
                Some(format!("404 by slug at {proven}, while its org and the org's list answered"))
            }
        }
    }

    /// The reason, in words.
    pub fn reason(&self) -> String {
        match self {
            Self::TeamGone { .. } => "the GitHub team is gone".to_owned(),
            Self::Replaced { by } => format!("the GitHub team is {by} now"),
            Self::Renamed { to } => format!("the GitHub team is {to} now, which no rule maps"),
            Self::Rules => "no rule gives the GitHub team this Datadog team any more".to_owned(),
            Self::OrgGone { .. } => "its GitHub organisation was deleted".to_owned(),
            Self::Orphan { .. } => "an orphan whose GitHub team is gone".to_owned(),
        }
    }
}
