//! What should be, and which steps lead there: desire → plan → guard. Pure and synchronous; the clock is an
//! argument, nothing is fetched, nothing is logged. A plan leaves no choice to whoever applies it.
//!
//! The rules, in the order in which they are decided:
//! 1. A team in the mirror that GitHub shows (or only suspects gone) wants one connection for each Datadog team
//!    that its mapping rule resolves to. A handle that resolves to nothing keeps the Datadog team that an owned
//!    connection of that team already has.
//! 2. A wanted pair that exists is satisfied, whoever made it. One that is ours on paper of another team is
//!    passed on without a write.
//! 3. Only owned connections are ever deleted, only with a cause that carries its proof, and never one that any
//!    team in the mirror wants. An orphan goes in the same way, but only when a person approves it.
//!
//! Documents of integrations are merged entry by entry ([`merge`]): what teamlink added and no longer wants goes,
//! what others added stays.

mod adoption;
mod desire;
mod guard;
mod interrupted;
mod merge;
mod names;
mod orphans;
mod planner;
mod release;
mod removal;
mod repositories;
mod rows;
mod second_writer;
mod steps;
mod suspect;
#[cfg(test)]
mod tests;

pub use adoption::{TakeOver, take_over};
pub use desire::{DatadogTeams, Desired, Wanted, desire};
pub use guard::{Guarded, Limits, Population, guard};
pub use interrupted::Interrupted;
pub use merge::{Merged, contents, merge};
pub use names::logins;
pub use orphans::{Orphan, plan_orphans, unwanted_orphans};
pub use planner::{Actual, Policy, VISIBLE_WITHIN, plan};
pub use release::{Binding, Holder, Judged, Release, judge_binding};
pub use removal::RemovalCause;
pub use repositories::{Fit, RepositoryFilter, hostname};
pub use second_writer::missing_connections;
pub use steps::{Action, LeftAlone, Plan, Planned, StepKey, Why};
pub use suspect::{Read, judge_read};

use std::collections::BTreeMap;

use crate::model::{MirrorTeam, OrgFacts, TeamId};

/// An organisation as GitHub last described it.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// The organisation.
    pub org: OrgFacts,
    /// The login that was bound to its id at first sight; rules match it too.
    pub bound_login: String,
    /// Its teams, those that are gone too.
    pub teams: BTreeMap<TeamId, MirrorTeam>,
}
