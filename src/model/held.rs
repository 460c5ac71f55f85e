//! What waits for a person, and the hash by which a person names it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ConnectionKey;

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldKind {
    /// A create of an organisation's first pass.
    Create,
    /// A removal.
    Delete,
}

impl HeldKind {
    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
        }
    }
}

/// One held action: its kind and its connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HeldKey {
    /// What would be done.
    pub kind: HeldKind,
    /// To which connection.
    pub key: ConnectionKey,
}

/// The hash of a held set: of its sorted kinds and keys, and of nothing else, so that it stays the same while
/// other teams come and go. Short enough to be typed; 48 bits.
pub fn held_hash<'a>(set: impl IntoIterator<Item = &'a HeldKey>) -> String {
    let mut lines: Vec<String> = set
        .into_iter()
        .map(|held| format!("{}\t{}\t{}\n", held.kind.as_str(), held.key.github, held.key.datadog_team))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    let mut hash = hex::encode(Sha256::digest(lines.concat()));
    hash.truncate(12);
    hash
}
