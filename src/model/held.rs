//! What waits for a person, and the hash by which a person names it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Subject;

/// What a held action would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldKind {
    /// Create a connection, in an organisation's first pass.
    Create,
    /// Delete a connection, or remove an entry.
    Delete,
    /// End the binding of a login to an organisation that is gone.
    Release,
}

impl HeldKind {
    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Release => "release",
        }
    }

    /// The kind that this word names.
    pub fn named(word: &str) -> Option<Self> {
        [Self::Create, Self::Delete, Self::Release].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// One held action: its kind and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct HeldKey {
    /// What would be done.
    pub kind: HeldKind,
    /// To what.
    #[serde(rename = "key")]
    pub subject: Subject,
}

impl HeldKey {
    /// The held action of this kind about this subject.
    pub fn new(kind: HeldKind, subject: impl Into<Subject>) -> Self {
        Self { kind, subject: subject.into() }
    }
}

/// Returns the hash of a held set. It covers the sorted kinds and subjects and nothing else, so that it stays the same
/// while other teams come and go. It has 48 bits: short enough to be typed.
pub fn held_hash<'a>(set: impl IntoIterator<Item = &'a HeldKey>) -> String {
    let line = |held: &HeldKey| {
        let (datadog, github) = held.subject.names();
        format!("{}\t{github}\t{datadog}\n", held.kind.as_str())
    };
    let mut lines: Vec<String> = set.into_iter().map(line).collect();
    lines.sort_unstable();
    lines.dedup();
    let mut hash = hex::encode(Sha256::digest(lines.concat()));
    hash.truncate(12);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConnectionKey, DatadogTeamId, EntryKey, Integration, OrgId};

    fn connection(kind: HeldKind, slug: &str) -> HeldKey {
        let datadog_team = DatadogTeamId("6b2fd20c-05b5-4887-8f77-29a8e92dbd3b".into());
        HeldKey::new(kind, ConnectionKey { datadog_team, github: format!("@acme/{slug}") })
    }

    #[test]
    fn a_hash_that_version_0_1_0_printed_names_the_same_set() {
        let set = [connection(HeldKind::Delete, "b"), connection(HeldKind::Create, "a")];
        assert_eq!(held_hash(&set), "fbf6f7f105e8");
        let [one, other] = &set;
        assert_eq!(held_hash([other, one, other]), held_hash(&set));
        let entry = Subject::Entry(Integration::Github, EntryKey("github.com/acme/app".into()));
        assert_eq!(held_hash(&[HeldKey::new(HeldKind::Delete, entry)]), "daa1054be570");
    }

    #[test]
    fn a_release_adds_to_the_set_of_its_organisation() {
        let removal = connection(HeldKind::Delete, "a");
        let release = HeldKey::new(HeldKind::Release, Subject::Organisation(OrgId(7)));
        let both = held_hash([&removal, &release]);
        assert_ne!(both, held_hash([&removal]));
        assert_ne!(both, held_hash([&release]));
    }

    #[test]
    fn each_kind_is_found_again_by_its_word() {
        for kind in [HeldKind::Create, HeldKind::Delete, HeldKind::Release] {
            assert_eq!(HeldKind::named(kind.as_str()), Some(kind));
        }
        assert_eq!(HeldKind::named("let go"), None);
    }
}
