//! What a person has paused: nothing is written for it until it is resumed.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Integration, Lane, OrgId, TeamId, TeamKey, Time};

/// How far a pause reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseScope {
    /// Everything.
    All,
    /// One organisation.
    Org(OrgId),
    /// One team.
    Team(TeamKey),
    /// One integration's document.
    Document(Integration),
}

impl fmt::Display for PauseScope {
    /// As `teamlink resume` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Org(org) => org.fmt(f),
            Self::Team(key) => key.fmt(f),
            Self::Document(integration) => Lane::Document(*integration).fmt(f),
        }
    }
}

/// One pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// How far it reaches.
    pub scope: PauseScope,
    /// Since when.
    pub since: Time,
    /// Why, as whoever paused it said.
    pub reason: String,
}

/// The pauses that concern one organisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paused {
    /// The pause of everything, or of the organisation as a whole.
    pub whole: Option<Pause>,
    /// Pauses of single teams.
    pub teams: BTreeMap<TeamId, Pause>,
}

impl Paused {
    /// The pause that a team is under, the widest one first.
    pub fn of(&self, team: TeamId) -> Option<&Pause> {
        self.whole.as_ref().or_else(|| self.teams.get(&team))
    }

    /// Every pause, the widest one first.
    pub fn all(&self) -> impl Iterator<Item = &Pause> {
        self.whole.iter().chain(self.teams.values())
    }
}
