//! Ids, values and snapshots that every room speaks.
//!
//! Nothing here does I/O, reads a clock or logs. A type lives here only when two rooms pass it to each other.

mod answer;
mod datadog;
mod delivery;
mod document;
mod github;
mod held;
mod ids;
mod json_text;
mod lane;
mod paused;
mod policy;
mod second_writer;
mod subject;
mod target;
mod time;

pub use answer::{Answer, Class, Trouble};
pub use datadog::{
    Answered, Connection, ConnectionKey, Connections, DatadogOrg, DatadogTeam, GithubHandle, LISTS_LAG,
    Owned, OwnedBy,
};
pub use delivery::{Delivery, cut};
pub use document::{
    Configuration, Contents, Document, DocumentMode, Entry, EntryChange, EntryKey, Misshapen, Suspicion,
};
pub use github::{MirrorTeam, OrgFacts, RepositoryFacts, TeamFacts, TeamState, TeamType};
pub use held::{HeldKey, HeldKind, HoldReason, HoldRule, RuleKind, held_hash};
pub use ids::{ConnectionId, DatadogTeamId, OrgId, RepositoryId, TeamId, TeamKey, team_or_zero};
pub use json_text::JsonText;
pub use lane::{Fence, Lane};
pub use paused::{Pause, PauseScope, Paused};
pub use policy::{MissingTeam, Mode};
pub use second_writer::{Again, RemovedByOthers};
pub use subject::Subject;
pub use target::{Asks, Cause, Integration, Mark, Target};
pub use time::Time;
