//! What a look hands over to be stored: how each mark ended, what was found, what was done.

use super::{Held, SettledDocument};
use crate::model::{Cause, ConnectionKey, Integration, MirrorTeam, OrgFacts, Owned, TeamId, Time, Trouble};

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentKind {
    /// Connects a Datadog team with a GitHub team.
    Create,
    /// Removes such a connection.
    Delete,
    /// Removes somebody else's connection and makes it again as ours. Stays until the new one stands, or it is
    /// certain that the old one still does.
    Adopt,
}

impl IntentKind {
    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Adopt => "adopt",
        }
    }
}

/// When a target is looked at next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something marks it.
    Nothing,
    /// Again at this time: a second look for a proof, or a read that a lagging replica may have spoiled.
    At(Time),
    /// The look failed; again at `at`, and not before `floor` even if an event comes.
    Retry {
        /// When.
        at: Time,
        /// The floor that a new event does not shorten.
        floor: Time,
        /// Why it failed.
        error: Trouble,
        /// Whether it counts as an attempt. A rate limit or an outage does not.
        burns: bool,
    },
}

/// How a look at one marked target ended.
#[derive(Clone, Debug)]
pub struct MarkResult {
    /// The team; `None` for the organisation as a whole.
    pub team: Option<TeamId>,
    /// The generation that was looked at.
    pub generation: i64,
    /// What comes next.
    pub next: Next,
}

/// A team as it is stored in the mirror.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The team.
    pub team: MirrorTeam,
    /// Whether it waits for a handle that Datadog does not have.
    pub waiting: bool,
}

/// A write that was given up on.
#[derive(Clone, Debug)]
pub struct ParkedAction {
    /// The team it was for.
    pub team: TeamId,
    /// The action and its key.
    pub subject: String,
    /// The last error.
    pub error: Trouble,
    /// How many looks in a row were in vain; those before it was given up on the first time count too.
    pub attempts: u32,
}

/// One line of the audit trail.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// The team.
    pub team: TeamId,
    /// `create`, `delete`, `pass_on`, `forget`, `create_team`, `adopt`; of a document `add_entry`, `remove_entry`.
    pub action: &'static str,
    /// The connection.
    pub key: ConnectionKey,
    /// Its id in Datadog, when known.
    pub connection: Option<String>,
    /// What led to it.
    pub cause: Cause,
    /// Why.
    pub reason: String,
    /// What proves that it may be done.
    pub proof: Option<String>,
    /// `begun`, `done`, `already`, `parked`, `failed`; `unknown` for a write whose answer was lost.
    pub outcome: &'static str,
    /// What Datadog answered, when that says more.
    pub detail: Option<String>,
}

/// Everything that one look stores.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// How each mark ended.
    pub marks: Vec<MarkResult>,
    /// The organisation, when GitHub described it.
    pub org: Option<OrgFacts>,
    /// Teams that were looked at.
    pub teams: Vec<Settled>,
    /// Connections that are ours from now on, or belong to another team of ours.
    pub owned: Vec<Owned>,
    /// Connections that are ours no longer. Removed before `owned` is written.
    pub disowned: Vec<ConnectionKey>,
    /// Connections of the teams that were looked at that wait for the end of their grace, since when.
    pub unwanted: Vec<(ConnectionKey, Time)>,
    /// Writes whose end is known.
    pub closed_intents: Vec<ConnectionKey>,
    /// Creates that were surely not done. An adoption among them stays open, since its delete was.
    pub undone: Vec<ConnectionKey>,
    /// What is held of the teams that were looked at.
    pub held: Vec<Held>,
    /// A full pass was made: the connections it found that are orphans of ours, and those of others.
    pub passed: Option<(usize, usize)>,
    /// A person asked for the pass: the creates of a first pass need no approval any more.
    pub lifts_creates: bool,
    /// The teams whose held rows and parked actions this look replaces.
    pub looked_at: Vec<TeamId>,
    /// Writes that are given up on.
    pub parked: Vec<ParkedAction>,
    /// What was done.
    pub audit: Vec<AuditEntry>,
    /// Teams that this look found to be out of step or suspect: marked as due now, for a look of their own.
    pub found: Vec<TeamId>,
    /// Of a look at a document: its entries that are ours now.
    pub document: Option<SettledDocument>,
    /// Documents that depend on what this look did: marked as due now.
    pub documents: Vec<Integration>,
}
