//! What a look hands over to be stored: how each mark ended, what was found, what was done.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::{Held, Released, SettledDocument};
use crate::model::{
    Cause, ConnectionId, ConnectionKey, EntryChange, EntryKey, HeldKey, Integration, MirrorTeam, OrgFacts,
    OrgId, Owned, Subject, Target, TeamId, TeamKey, Time, Trouble,
};

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

    /// The kind that this word names.
    pub(super) fn named(word: &str) -> Self {
        match word {
            "create" => Self::Create,
            "adopt" => Self::Adopt,
            _ => Self::Delete,
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
    /// It was not looked at: its turn comes at this time, and everything else stays as it is.
    Waits(Time),
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
    /// When the list of a pass began that showed it so, unless a look has read it since.
    pub listed_at: Option<Time>,
}

/// What is retried no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParkedStep {
    /// The create of a connection.
    Create(ConnectionKey),
    /// The delete of a connection.
    Delete(ConnectionKey),
    /// The look at a team.
    Look(TeamId),
    /// The PUT of a document.
    Replace(Integration),
    /// What a PUT would do to one entry of a document.
    Entry(EntryChange, EntryKey),
}

impl ParkedStep {
    /// What it would have done, as one word.
    pub fn place(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Delete(_) => "delete",
            Self::Look(_) => "look",
            Self::Replace(_) => "replace",
            Self::Entry(change, _) => change.as_str(),
        }
    }
}

impl fmt::Display for ParkedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        match self {
            Self::Create(key) | Self::Delete(key) => write!(f, "{place} {key}"),
            Self::Look(team) => write!(f, "{place} at team {team}"),
            Self::Replace(integration) => write!(f, "{place} the document of {}", integration.as_str()),
            Self::Entry(_, key) => write!(f, "{place} {key}"),
        }
    }
}

/// A parked action.
#[derive(Clone, Debug)]
pub struct ParkedAction {
    /// The team it was for; none for an orphan or a document.
    pub team: Option<TeamId>,
    /// What is retried no more.
    pub step: ParkedStep,
    /// The last error.
    pub error: Trouble,
    /// How many looks in a row were in vain; those before it was parked the first time count too.
    pub attempts: u32,
}

/// What an audit line says was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    /// A connection was created.
    Create,
    /// A connection was deleted.
    Delete,
    /// A row passed to another team.
    PassOn,
    /// A row was disowned.
    Forget,
    /// A Datadog team was created.
    CreateTeam,
    /// A connection was taken over.
    Adopt,
    /// An entry was added to a document.
    AddEntry,
    /// An entry was removed from a document.
    RemoveEntry,
    /// Somebody else put an entry back that we removed.
    PutBackByOthers,
    /// A person approved a held action.
    Approve,
    /// Somebody else removed a connection of ours.
    RemovedByOthers,
    /// A hold ended though nobody approved its action.
    EndHold,
    /// The binding of a login ended.
    Release,
    /// A person bound the ledger to another Datadog organisation.
    Rebind,
    /// A person paused something.
    Pause,
    /// A person ended a pause.
    Resume,
    /// A person had something parked retried.
    Replay,
    /// A person discarded something parked.
    Discard,
}

impl AuditAction {
    /// As one word, for the ledger, the log and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::PassOn => "pass_on",
            Self::Forget => "forget",
            Self::CreateTeam => "create_team",
            Self::Adopt => "adopt",
            Self::AddEntry => "add_entry",
            Self::RemoveEntry => "remove_entry",
            Self::PutBackByOthers => "put_back_by_others",
            Self::Approve => "approve",
            Self::Rebind => "rebind",
            Self::EndHold => "end_hold",
            Self::RemovedByOthers => "removed_by_others",
            Self::Release => "release",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was journaled and is about to be sent.
    Begun,
    /// It was carried out.
    Done,
    /// It had been carried out before.
    Already,
    /// Datadog rejects it; it is retried no more.
    Parked,
    /// It failed.
    Failed,
    /// Its answer was lost.
    Unknown,
}

impl AuditOutcome {
    /// As one word, for the ledger, the log and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Already => "already",
            Self::Parked => "parked",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// One line of the audit trail.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// The team; none for an orphan or a document.
    pub team: Option<TeamId>,
    /// What was done.
    pub action: AuditAction,
    /// To what.
    pub subject: Subject,
    /// The connection's id in Datadog, when known.
    pub connection: Option<String>,
    /// What led to it.
    pub cause: Cause,
    /// Whether the look answered an event.
    pub of_event: bool,
    /// Why.
    pub reason: String,
    /// What proves that it may be done.
    pub proof: Option<String>,
    /// How it ended.
    pub outcome: AuditOutcome,
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
    /// Those of them that count towards the limit.
    pub unexplained: BTreeSet<ConnectionKey>,
    /// Held actions of a document that were carried out: their approvals are used up. Those of connections follow from
    /// `owned` and `disowned`.
    pub spent: Vec<HeldKey>,
    /// Connections of the teams that were looked at that wait for the end of their grace, since when.
    pub unwanted: Vec<(ConnectionKey, Time)>,
    /// Connections of ours that somebody else removed: their keys, and the ids that they had.
    pub removed_by_others: Vec<(ConnectionKey, ConnectionId)>,
    /// Writes whose end is known.
    pub closed_intents: Vec<ConnectionKey>,
    /// Creates that were surely not done. An adoption among them stays open, since its delete was.
    pub undone: Vec<ConnectionKey>,
    /// What is held of the teams that were looked at.
    pub held: Vec<Held>,
    /// What of them is approved and planned: their held rows stay as they are, unless it was done.
    pub approved: BTreeSet<HeldKey>,
    /// What could not be judged: the approvals stay.
    pub in_doubt: BTreeSet<HeldKey>,
    /// A full pass was made: the connections it found that are orphans of ours, and those of others.
    pub passed: Option<(usize, usize)>,
    /// A person asked for the pass: the creates of a first pass need no approval any more.
    pub lifts_creates: bool,
    /// The teams whose held rows and parked actions this look replaces; none stands for the orphans, or the document.
    pub looked_at: Vec<Option<TeamId>>,
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
    /// Rows that pass between organisations.
    pub passed_on: Vec<PassedOn>,
    /// Targets of other organisations that this look found to be out of step: marked as due now.
    pub found_elsewhere: Vec<Target>,
    /// Answered creates that this look read by their ids and did not find.
    pub missed: Vec<ConnectionKey>,
    /// When a complete list of the organisation's teams for a proof began.
    pub listed_at: Option<Time>,
    /// Since when the organisation's id answers 404, or that it answers otherwise.
    pub absent_since: Option<Option<Time>>,
    /// What was held until now as a release is so no more, or for another reason.
    pub ends_release: bool,
    /// A release that was carried out.
    pub released: Option<Released>,
}

/// A row that passes to a team of another organisation, because that team has the name in its key today. Nothing is
/// written to Datadog.
#[derive(Clone, Debug)]
pub struct PassedOn {
    /// The connection.
    pub key: ConnectionKey,
    /// Its id.
    pub id: ConnectionId,
    /// The organisation that has the row.
    pub from: OrgId,
    /// The team that gets it.
    pub to: TeamKey,
    /// How long to wait at least, and at most, while a write to the connection is open, whose end comes first: as long
    /// again as that write has been open.
    pub waits: (Duration, Duration),
    /// What was sent before this time shows in Datadog's lists, as the look read them, or came to nothing.
    pub over: Time,
}
