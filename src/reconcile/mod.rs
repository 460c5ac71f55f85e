//! The worker: lease an organisation → observe → plan → guard → apply → read back → settle.
//!
//! There is one path. An event, the full pass and a person's command only mark teams; a look at due teams
//! (`look/`) is the only place from which anything is written for a team. The look at a whole organisation
//! (`whole.rs`) finds the teams that are out of step and marks them, so that the periodic path cannot do anything
//! that the event path does not do; it removes nothing but the orphans that a person approved (`orphans.rs`), which
//! belong to no team. A person's `adopt` deletes what is not ours (`adopt.rs`); what it deletes, a look makes again.
//! The login of an organisation that is gone is released in the same look, once a person has approved that (`release.rs`).
//! The document of an integration is looked at by its own mark and lease (`document.rs`).
//!
//! What could race, and what is decided:
//! - *An event comes during a look.* It raises the mark's generation; settling clears only the generation that
//!   was leased, so the team stays due.
//! - *Two workers take one organisation.* The lease is one row; each holder has a higher fence, every settle and
//!   intent carries it, and a stale holder stores nothing. It sends nothing either once less of its lease is left
//!   than a write may take.
//! - *A crash between a write and its settle.* The intent was committed first. The next look finds it, sees in
//!   Datadog what became of it, and records or repeats.
//! - *GitHub's answer is older than its webhook.* The team is read again 5 s, 30 s and 2 min after its last
//!   event; while GitHub shows what the mirror has and the team is in step, Datadog is not asked.
//! - *Two teams read back with one slug.* One answer is stale: both are left alone and looked at again.
//! - *A slug moves from one team to another.* Before a connection goes, whoever holds its slug now is read, and
//!   joins the plan; its wish for the same key turns the removal into a passing-on without a write.

mod adopt;
mod apply;
mod by_id;
mod directory;
mod document;
mod drift;
mod evidence;
mod fold;
mod foresee;
mod identity;
mod judge;
mod known;
mod lease;
mod linked;
mod links;
mod listed;
mod look;
mod observe;
mod orphans;
mod pace;
mod pass;
mod release;
mod repositories;
mod second_writer;
mod shared_team;
mod strangers;
mod survey;
mod turns;
mod unknown;
mod upstreams;
mod waiting;
mod wants;
mod whole;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use adopt::{Adoption, Asked, Candidate, Outcome};
pub use document::{DocumentByHand, DocumentPlan};
pub use fold::unproven;
pub use foresee::{Foresight, OrgPlan, Survey};
pub use pass::{Begun, Taken};
pub use worker::Worker;

use crate::{
    clock::Clock,
    ledger::{OrgRow, Spans},
    mapping::Rules,
    model::{DocumentMode, Entry, Integration, MissingTeam, Mode, OrgFacts},
    plan,
    upstream::Backoff,
};

/// What a look at an organisation is governed by.
#[derive(Clone, Debug)]
pub struct Options {
    /// GitHub team → Datadog teams.
    pub rules: Arc<Rules>,
    /// What may be done where nothing else is said.
    pub policy: OrgPolicy,
    /// What may be done in single organisations, by lower-cased login.
    pub policies: BTreeMap<String, OrgPolicy>,
    /// Our mark on connections.
    pub managed_by: String,
    /// Connections in one write at most.
    pub batch: usize,
    /// Longest wait for one answer of Datadog.
    pub timeout: Duration,
    /// How long a list of Datadog's teams is good.
    pub teams_ttl: Duration,
    /// The two looks that prove a team gone are at least this far apart.
    pub grace: Duration,
    /// How much may be removed without a person.
    pub limits: plan::Limits,
    /// Removals of all organisations within `window`.
    pub max_per_window: usize,
    /// The guard's sliding window.
    pub window: Duration,
    /// Creates of an organisation's first pass.
    pub first_creates: usize,
    /// Teams that events name and the mirror does not have: so many of an organisation are read by their ids a minute, and
    /// the organisation's list decides about the rest.
    pub unknown_by_id: usize,
    /// An organisation with fewer due teams than a full chunk waits this long between looks, so that a trickle of
    /// events is looked at together.
    pub debounce: Duration,
    /// Waits after failures.
    pub backoff: Backoff,
    /// Failed looks in a row before a team is parked.
    pub max_attempts: u32,
    /// A document is looked at this long after its last look at the earliest, unless a person asks.
    pub max_wait: Duration,
    /// Logins that are served; none = all that are known.
    pub orgs: Vec<String>,
    /// The documents that are kept.
    pub documents: BTreeMap<Integration, DocumentOptions>,
    /// What time it is.
    pub clock: Clock,
}

impl Options {
    /// Returns the policy for an organisation, by today's login and the login that it is bound to. Where both have a
    /// section, the stricter answers and the protected globs of both apply.
    fn policy(&self, login: &str, bound_login: &str) -> Governing<'_> {
        Governing::of(&self.policy, &self.policies, [login, bound_login])
    }

    /// Whether GitHub's document depends on which teams are connected.
    fn lists_linked_teams(&self) -> bool {
        let document = self.documents.get(&Integration::Github);
        document.is_some_and(|document| {
            matches!(document.source, Source::Repositories { of: RepositoriesOf::LinkedTeams, .. })
        })
    }

    /// How long what waits for the clock lasts.
    fn spans(&self) -> Spans {
        let delay = self.grace.max(self.backoff.max).max(self.max_wait).max(pace::LONGEST);
        Spans { grace: self.grace, window: self.window, delay, lag: plan::VISIBLE_WITHIN }
    }

    /// Whether an organisation is served.
    fn serves(&self, org: &OrgRow) -> bool {
        org.released_at.is_none() && self.serves_as(&org.facts, &org.bound_login)
    }

    /// Whether an organisation is served that has this login today and is bound to that one.
    fn serves_as(&self, today: &OrgFacts, bound_login: &str) -> bool {
        self.lists(bound_login) || self.lists(&today.login)
    }

    /// Whether whoever has this login is served.
    fn lists(&self, login: &str) -> bool {
        self.orgs.is_empty() || self.orgs.iter().any(|it| it.eq_ignore_ascii_case(login))
    }
}

/// How a document is kept.
#[derive(Clone, Debug)]
pub struct DocumentOptions {
    /// Whether others' entries stay.
    pub mode: DocumentMode,
    /// What is wanted in it.
    pub source: Source,
}

/// What is wanted in a document.
#[derive(Clone, Debug)]
pub enum Source {
    /// What the settings say.
    Declared(Vec<Entry>),
    /// What GitHub has.
    Repositories {
        /// Whose.
        of: RepositoriesOf,
        /// Which.
        filter: plan::RepositoryFilter,
    },
}

/// Whose repositories are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoriesOf {
    /// Those of the teams that Datadog connects.
    LinkedTeams,
    /// All of each organisation.
    Org,
}

/// What may be done in an organisation.
#[derive(Clone, Debug)]
pub struct OrgPolicy {
    /// How far a plan may go.
    pub mode: Mode,
    /// What to do about handles that Datadog does not have.
    pub missing_team: MissingTeam,
    /// Matches `org/slug` of teams that are never unlinked, lower-cased.
    pub protected: globset::GlobSet,
}

/// The policy that governs one organisation.
struct Governing<'a> {
    mode: Mode,
    missing_team: MissingTeam,
    protected: Vec<&'a globset::GlobSet>,
}

impl<'a> Governing<'a> {
    fn of(default: &'a OrgPolicy, sections: &'a BTreeMap<String, OrgPolicy>, logins: [&str; 2]) -> Self {
        let logins = BTreeSet::from(logins.map(str::to_lowercase));
        let matching = || logins.iter().filter_map(|login| sections.get(login));
        let first = matching().next().unwrap_or(default);
        Self {
            mode: matching().map(|section| section.mode).fold(first.mode, Mode::min),
            missing_team: matching()
                .map(|section| section.missing_team)
                .fold(first.missing_team, MissingTeam::min),
            protected: matching().chain([first]).map(|section| &section.protected).collect(),
        }
    }

    /// Whether a team with these names must never lose its connection.
    fn protects(&self, names: &BTreeSet<String>) -> bool {
        names.iter().any(|name| self.protected.iter().any(|globs| globs.is_match(name)))
    }
}

#[cfg(test)]
mod tests;
