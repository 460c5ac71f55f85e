//! How far teamlink may go, as the settings say and plans obey.

use serde::{Deserialize, Serialize};

/// How far an organisation's plan may go; the stricter mode is the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Plan and report; write nothing.
    Observe,
    /// Create, never delete.
    Upsert,
    /// Create and delete.
    Sync,
}

/// What to do about a handle that no Datadog team has; the stricter answer is the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingTeam {
    /// Report it.
    Report,
    /// Create the Datadog team, when the list that lacks it is complete.
    Create,
}
