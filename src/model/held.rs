//! What waits for a person, and the hash by which a person names it.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::{Lane, Subject};

/// What a held action would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldKind {
    /// Create a connection, in an organisation's first pass.
    Create,
    /// Delete a connection, or remove an entry.
    Delete,
    /// Disown a connection that Datadog has no more, though neither a delete of ours nor the end of its Datadog team explains
    /// that.
    Disown,
    /// End the binding of a login to an organisation that is gone.
    Release,
}

impl HeldKind {
    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Disown => "disown",
            Self::Release => "release",
        }
    }

    /// The kind that this word names.
    pub fn named(word: &str) -> Option<Self> {
        [Self::Create, Self::Delete, Self::Disown, Self::Release]
            .into_iter()
            .find(|kind| kind.as_str() == word)
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

/// The rule by which the guard holds an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldRule {
    /// No change in GitHub caused the removal: a mapping rule or Datadog's team list did.
    NotFromGithub,
    /// The connection has our mark, and this ledger doesn't know it.
    Orphan,
    /// `guard.max_removals`
    MaxRemovals,
    /// `guard.max_share`
    MaxShare,
    /// `guard.max_per_window`
    MaxPerWindow,
    /// The removals, or the rows that would be disowned, would leave the organisation without a connection.
    LastConnection,
    /// The removals would leave the list of a document empty.
    EmptyList,
    /// Two reads of a document lack all entries of ours, or more than half of all entries that it had.
    SuspectRead,
    /// A document is absent, or its list is empty, which may mean all: the first entries would narrow that to themselves.
    FirstEntries,
    /// `guard.first_creates`
    FirstCreates,
    /// Somebody else removes the connection again and again.
    SecondWriter,
    /// The organisation was deleted.
    OrgDeleted,
    /// The organisation has another login, and somebody else has the one that it is bound to.
    OrgRenamed,
    /// The organisation answers 404, and somebody else has the login that it is bound to.
    OrgReplaced,
}

/// The two kinds of rules. The kind decides how a hold may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// The rule looks at what caused the action. Each look judges it again.
    Cause,
    /// The rule bounds how much may happen without a person. Such a hold never lapses by time: it ends with an approval,
    /// or when the action is no longer wanted.
    Limit,
}

impl HoldRule {
    /// Every rule.
    pub const ALL: [Self; 14] = [
        Self::NotFromGithub,
        Self::Orphan,
        Self::MaxRemovals,
        Self::MaxShare,
        Self::MaxPerWindow,
        Self::LastConnection,
        Self::EmptyList,
        Self::SuspectRead,
        Self::FirstEntries,
        Self::FirstCreates,
        Self::SecondWriter,
        Self::OrgDeleted,
        Self::OrgRenamed,
        Self::OrgReplaced,
    ];

    /// The kind of the rule.
    pub fn kind(self) -> RuleKind {
        match self {
            Self::NotFromGithub | Self::Orphan | Self::OrgDeleted | Self::OrgRenamed | Self::OrgReplaced => {
                RuleKind::Cause
            }
            Self::MaxRemovals
            | Self::MaxShare
            | Self::MaxPerWindow
            | Self::LastConnection
            | Self::EmptyList
            | Self::SuspectRead
            | Self::FirstEntries
            | Self::FirstCreates
            | Self::SecondWriter => RuleKind::Limit,
        }
    }

    /// The rule as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFromGithub => "not_from_github",
            Self::Orphan => "orphan",
            Self::MaxRemovals => "max_removals",
            Self::MaxShare => "max_share",
            Self::MaxPerWindow => "max_per_window",
            Self::LastConnection => "last_connection",
            Self::EmptyList => "empty_list",
            Self::SuspectRead => "suspect_read",
            Self::FirstEntries => "first_entries",
            Self::FirstCreates => "first_creates",
            Self::SecondWriter => "second_writer",
            Self::OrgDeleted => "org_deleted",
            Self::OrgRenamed => "org_renamed",
            Self::OrgReplaced => "org_replaced",
        }
    }

    /// Derives the rule from a reason. Ledgers of a version that stored no rule have only that. A text that nobody knows
    /// counts as a limit, because such a hold needs a person.
    fn of_text(text: &str) -> Self {
        let texts = [
            ("no change in GitHub caused it", Self::NotFromGithub),
            // Protection held removals once. It is judged again at each look, as a cause is.
            ("is protected by `policy.protected`", Self::NotFromGithub),
            ("this ledger does not know it", Self::Orphan),
            ("`guard.max_share`", Self::MaxShare),
            ("`guard.max_per_window`", Self::MaxPerWindow),
            ("leave the org with no connection", Self::LastConnection),
            ("leave the list empty", Self::EmptyList),
            ("`guard.first_creates`", Self::FirstCreates),
        ];
        texts.iter().find(|(part, _)| text.contains(part)).map_or(Self::MaxRemovals, |(_, rule)| *rule)
    }
}

/// Why an action is held. It is printed and serialised as its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldReason {
    /// The rule.
    pub rule: HoldRule,
    /// The reason, for people.
    pub text: String,
}

impl HoldReason {
    /// A hold by this rule.
    pub fn new(rule: HoldRule, text: impl Into<String>) -> Self {
        Self { rule, text: text.into() }
    }

    /// The reason that these columns of a ledger hold. `rule` is empty in rows of a version that stored none, and may be
    /// one that only a later version knows.
    pub fn stored(rule: Option<&str>, text: String) -> Self {
        let known = rule.and_then(|word| HoldRule::ALL.into_iter().find(|rule| rule.as_str() == word));
        Self { rule: known.unwrap_or_else(|| HoldRule::of_text(&text)), text }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for HoldReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// Returns the hash of a held set. It covers the lane, because a login and all keys under it may pass to another
/// organisation, and the sorted kinds and subjects. It covers nothing else, so that it stays the same while other teams
/// come and go. It has 48 bits: short enough to be typed.
pub fn held_hash<'a>(lane: Lane, set: impl IntoIterator<Item = &'a HeldKey>) -> String {
    let line = |held: &HeldKey| {
        let (datadog, github) = held.subject.names();
        format!("{}\t{github}\t{datadog}\n", held.kind.as_str())
    };
    let mut lines: Vec<String> = set.into_iter().map(line).collect();
    lines.sort_unstable();
    lines.dedup();
    let mut hash = hex::encode(Sha256::digest(format!("{lane}\n{}", lines.concat())));
    hash.truncate(12);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConnectionKey, DatadogTeamId, OrgId};

    const ORG: Lane = Lane::Org(OrgId(7));

    fn connection(kind: HeldKind, slug: &str) -> HeldKey {
        let datadog_team = DatadogTeamId::from("6b2fd20c-05b5-4887-8f77-29a8e92dbd3b");
        HeldKey::new(kind, ConnectionKey { datadog_team, github: format!("@acme/{slug}") })
    }

    #[test]
    fn a_hash_names_a_set_of_one_lane_in_any_order() {
        let set = [connection(HeldKind::Delete, "b"), connection(HeldKind::Create, "a")];
        let [one, other] = &set;
        assert_eq!(held_hash(ORG, [other, one, other]), held_hash(ORG, &set));
        assert_ne!(held_hash(Lane::Org(OrgId(8)), &set), held_hash(ORG, &set), "the login passed to another");
        assert_ne!(held_hash(ORG, [one]), held_hash(ORG, [other]));
    }

    #[test]
    fn a_release_adds_to_the_set_of_its_organisation() {
        let removal = connection(HeldKind::Delete, "a");
        let release = HeldKey::new(HeldKind::Release, Subject::Organisation(OrgId(7)));
        let both = held_hash(ORG, [&removal, &release]);
        assert_ne!(both, held_hash(ORG, [&removal]));
        assert_ne!(both, held_hash(ORG, [&release]));
    }

    #[test]
    fn each_kind_is_found_again_by_its_word() {
        for kind in [HeldKind::Create, HeldKind::Delete, HeldKind::Disown, HeldKind::Release] {
            assert_eq!(HeldKind::named(kind.as_str()), Some(kind));
        }
        assert_eq!(HeldKind::named("let go"), None);
    }

    #[test]
    fn a_rule_is_found_again_by_its_word_and_in_old_ledgers_by_its_text() {
        for rule in HoldRule::ALL {
            assert_eq!(HoldReason::stored(Some(rule.as_str()), "x".into()), HoldReason::new(rule, "x"));
        }
        for (text, rule) in [
            ("no change in GitHub caused it", HoldRule::NotFromGithub),
            ("@acme/a is protected by `policy.protected`", HoldRule::NotFromGithub),
            ("it has our mark, but this ledger does not know it", HoldRule::Orphan),
            ("12 removals exceed `guard.max_removals` (3)", HoldRule::MaxRemovals),
            ("4 removals of 12 connections exceed `guard.max_share` (0.3)", HoldRule::MaxShare),
            ("the removals of `guard.window` reach `guard.max_per_window`", HoldRule::MaxPerWindow),
            ("it would leave the org with no connection", HoldRule::LastConnection),
            ("it would leave the list empty, which may mean all", HoldRule::EmptyList),
            (
                "the 9 creates of the org's first pass exceed `guard.first_creates` (3)",
                HoldRule::FirstCreates,
            ),
            ("what nobody knows", HoldRule::MaxRemovals),
        ] {
            assert_eq!(HoldReason::stored(None, text.into()), HoldReason::new(rule, text));
            assert_eq!(HoldReason::stored(Some("of a later version"), text.into()).rule, rule);
        }
    }
}
