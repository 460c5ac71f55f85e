//! What a document is to have, as far as that is known. Values only; `repositories.rs` and `document` fill them in.

use std::collections::{BTreeMap, BTreeSet};

use super::linked::Lists;
use crate::{
    ledger::EntryRow,
    model::{Entry, EntryKey, TeamId, Time, Trouble},
};

/// What a document is to have.
#[derive(Default)]
pub(super) struct Wants {
    pub(super) entries: Vec<Entry>,
    /// The rows of those that are repositories.
    pub(super) rows: BTreeMap<EntryKey, EntryRow>,
    /// Entries of ours that stay though they are not wanted.
    pub(super) spared: BTreeSet<EntryKey>,
    /// Others' entries stay too, in `exclusive` as well: not everything that may be wanted is known.
    pub(super) spare_others: bool,
    /// Why entries of ours go.
    pub(super) reasons: BTreeMap<EntryKey, String>,
    /// Entries whose repositories one look of two found gone.
    pub(super) suspected: BTreeMap<EntryKey, Time>,
    /// When the second look is.
    pub(super) second_look: Option<Time>,
    /// Entries of ours whose repositories are wanted under another name: they go with the PUT that adds that one, which
    /// is no removal.
    pub(super) renamed: BTreeSet<EntryKey>,
    /// The organisations that were listed, by lower-cased login.
    pub(super) served: BTreeMap<String, Served>,
    /// The repositories of teams, as far as they were read again.
    pub(super) lists: Lists,
    /// Entries of others that certainly are not wanted.
    pub(super) unwanted: BTreeSet<EntryKey>,
    /// Something could not be read.
    pub(super) unread: Option<Trouble>,
    /// Whether anything may be written.
    pub(super) writes: bool,
}

impl Wants {
    /// Whether it is not known yet if this entry of ours is to go.
    pub(super) fn is_undecided(&self, key: &EntryKey) -> bool {
        self.suspected.contains_key(key) || self.unread.is_some() && self.spared.contains(key)
    }

    /// These entries stay.
    pub(super) fn spare<'a>(&mut self, keys: impl IntoIterator<Item = &'a EntryKey>) {
        self.spared.extend(keys.into_iter().cloned());
        self.spare_others = true;
    }

    /// These entries stay, since what they depend on could not be read.
    pub(super) fn unread<'a>(&mut self, trouble: Trouble, keys: impl IntoIterator<Item = &'a EntryKey>) {
        self.spare(keys);
        self.unread = Some(trouble);
    }
}

/// An organisation that is served, by the names under which its repositories are listed.
pub(super) struct Served {
    /// Its login now.
    pub(super) login: String,
    pub(super) bound_login: String,
    /// Its linked teams by slug, with their ids where the connections are ours; `None` when all repositories count.
    pub(super) teams: Option<BTreeMap<String, Option<TeamId>>>,
    /// What is wrong with Datadog's list of connections, so that it may lack some.
    pub(super) missing: Option<String>,
}
