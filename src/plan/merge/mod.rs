//! The merge of an integration's document: what we put there, what stands there now, what is wanted. Datadog's PUT
//! replaces the whole document, so everything that is not ours to change is carried over as it was read.
//!
//! What is *ours* is an entry that we added and that has been in the document at every look since. Who added an entry
//! that vanished and came back between two looks cannot be known; it counts as still ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{Limits, guard::WINDOW_IS_FULL};
use crate::model::{
    Configuration, Contents, DocumentMode, Entry, EntryChange, EntryKey, HoldReason, HoldRule, Integration,
    JsonText,
};

/// What a document is to become.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    integration: Integration,
    /// The document as it is, without its list.
    rest: Configuration,
    /// Its list as it is, each entry with its key. Shared: a part of what is to become of a long list is not another one.
    entries: Arc<[(EntryKey, JsonText)]>,
    /// Of each key, the place of the entry that counts as ours, if the key is.
    places: Arc<BTreeMap<EntryKey, usize>>,
    ours: Arc<BTreeSet<EntryKey>>,
    mode: DocumentMode,
    /// Entries to append, by key.
    pub added: BTreeMap<EntryKey, Entry>,
    /// Places in the list where `enabled` is not what is wanted, and what is.
    pub corrected: BTreeMap<usize, bool>,
    /// Entries to leave out, by their place in the list.
    pub removed: BTreeMap<usize, EntryKey>,
    /// Entries that would be left out, but are spared.
    pub spared: BTreeSet<EntryKey>,
    /// Entries that would be left out, and why they wait for a person.
    pub held: BTreeMap<EntryKey, HoldReason>,
    /// Entries that would be appended, and why they wait for a person.
    pub held_additions: BTreeMap<EntryKey, (Entry, HoldReason)>,
}

/// Merges. `remote` is what Datadog holds (`None`: no document yet), `ours` what we added. An entry of which `spared`
/// says so stays, wanted or not: something about it could not be read, or a policy allows no removal.
///
/// # Errors
/// When the document's list is something else than a list: nothing is decided about such a document.
pub fn merge(
    integration: Integration,
    remote: Option<&Configuration>,
    ours: &BTreeSet<EntryKey>,
    wanted: &[Entry],
    mode: DocumentMode,
    spared: impl Fn(&EntryKey) -> bool,
) -> Result<Merged, String> {
    let mut rest = remote.cloned().unwrap_or_default();
    let entries = standing(integration, rest.remove(integration.list()))?;
    let mut missing: BTreeMap<EntryKey, &Entry> =
        wanted.iter().rev().map(|entry| (entry.key(), entry)).collect();
    let wanted: BTreeMap<EntryKey, &Entry> = missing.clone();
    let (mut corrected, mut removed, mut kept) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let places = places(integration, &entries);
    for (place, (key, entry)) in entries.iter().enumerate() {
        let own = places[key] == place;
        missing.remove(key);
        let goes = match mode {
            DocumentMode::Additive => own && ours.contains(key) && !wanted.contains_key(key),
            DocumentMode::Exclusive => !own || !wanted.contains_key(key),
        };
        if goes {
            if spared(key) {
                kept.insert(key.clone());
            } else {
                removed.insert(place, key.clone());
            }
        } else if let Some(Entry::Account { enabled, .. }) = wanted.get(key)
            && fields(entry).is_none_or(|fields| fields.get("enabled") != Some(&Value::Bool(*enabled)))
        {
            corrected.insert(place, *enabled);
        }
    }
    let added = missing.into_iter().map(|(key, entry)| (key, entry.clone())).collect();
    let ours = ours.iter().filter(|key| places.contains_key(*key)).cloned().collect();
    Ok(Merged {
        integration,
        rest,
        entries: entries.into(),
        places: Arc::new(places),
        ours: Arc::new(ours),
        mode,
        added,
        corrected,
        removed,
        spared: kept,
        held: BTreeMap::new(),
        held_additions: BTreeMap::new(),
    })
}

/// The entries of a list, each with its key.
fn standing(integration: Integration, list: Option<JsonText>) -> Result<Vec<(EntryKey, JsonText)>, String> {
    let Some(list) = list.filter(|list| !list.is_null()) else { return Ok(Vec::new()) };
    let items = list.items().ok_or_else(|| {
        let (id, name) = (integration.as_str(), integration.list());
        format!("the document of integration {id} holds {list} as `{name}`, which is no list")
    })?;
    Ok(items.into_iter().map(|entry| (EntryKey::of_text(integration, &entry), entry)).collect())
}

/// Of several entries with one key, at most one was added by us: with no other fields than ours.
fn places(integration: Integration, entries: &[(EntryKey, JsonText)]) -> BTreeMap<EntryKey, usize> {
    let plain = |entry: &JsonText| {
        let known = |field: &String| integration.field_names().any(|name| name == field);
        fields(entry).is_some_and(|fields| fields.keys().all(known))
    };
    let mut places: BTreeMap<EntryKey, usize> = BTreeMap::new();
    for (place, (key, entry)) in entries.iter().enumerate() {
        match places.get(key) {
            Some(&first) if plain(&entries[first].1) || !plain(entry) => {}
            _ => drop(places.insert(key.clone(), place)),
        }
    }
    places
}

fn fields(entry: &JsonText) -> Option<Map<String, Value>> {
    match entry.value() {
        Some(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

/// What a document has.
///
/// # Errors
/// As [`merge`].
pub fn contents(integration: Integration, config: &Configuration) -> Result<Contents, String> {
    let (ours, mode) = (BTreeSet::new(), DocumentMode::Additive);
    merge(integration, Some(config), &ours, &[], mode, |_| true).map(|merged| merged.contents())
}

impl Merged {
    /// Whether a PUT is needed.
    pub fn changed(&self) -> bool {
        !(self.added.is_empty() && self.corrected.is_empty() && self.removed.is_empty())
    }

    /// Whether the list is empty or absent.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there is such an entry.
    pub fn has(&self, key: &EntryKey) -> bool {
        self.places.contains_key(key)
    }

    /// What is there.
    pub fn contents(&self) -> Contents {
        Contents {
            entries: self.places.keys().cloned().collect(),
            fields: self.rest.keys().cloned().collect(),
        }
    }

    /// What a PUT does to each entry.
    pub fn changes(&self) -> BTreeMap<EntryKey, EntryChange> {
        let removed = self.removed.values().map(|key| (key.clone(), EntryChange::Remove));
        let corrected =
            self.corrected.keys().map(|place| (self.entries[*place].0.clone(), EntryChange::Correct));
        let added = self.added.keys().map(|key| (key.clone(), EntryChange::Add));
        removed.chain(corrected).chain(added).collect()
    }

    /// How many entries there are once this is in Datadog.
    pub fn left(&self) -> usize {
        self.entries.len() - self.removed.len() + self.added.len()
    }

    /// Leaves out every change but those to these entries. What would empty the list so is left out too.
    pub fn only(mut self, changes: impl Fn(&EntryKey) -> bool) -> Self {
        let emptied = self.left() == 0;
        let entries = &self.entries;
        self.added.retain(|key, _| changes(key));
        self.corrected.retain(|place, _| changes(&entries[*place].0));
        self.removed.retain(|_, key| changes(key));
        if self.left() == 0 && !emptied {
            self.removed.clear();
        }
        self
    }

    /// The document to PUT: everything in its old order, new entries sorted at the end.
    pub fn document(&self) -> Configuration {
        self.with(self.added.values())
    }

    /// The document to PUT once the additions that are held are approved.
    pub fn document_once_approved(&self) -> Configuration {
        let held = self.held_additions.iter().map(|(key, (entry, _))| (key, entry));
        let added: BTreeMap<&EntryKey, &Entry> = self.added.iter().chain(held).collect();
        self.with(added.into_values())
    }

    fn with<'a>(&self, added: impl Iterator<Item = &'a Entry>) -> Configuration {
        let stays = self.entries.iter().enumerate().filter(|(place, _)| !self.removed.contains_key(place));
        let stays = stays.map(|(place, (_, entry))| match (self.corrected.get(&place), fields(entry)) {
            (Some(enabled), Some(mut fields)) => {
                fields.insert("enabled".to_owned(), Value::Bool(*enabled));
                JsonText::from(&Value::Object(fields))
            }
            _ => entry.clone(),
        });
        let added = added.map(|entry| JsonText::from(&Value::Object(entry.fields())));
        let mut document = self.rest.clone();
        document.insert(self.integration.list().to_owned(), JsonText::list(stays.chain(added)));
        document
    }

    /// What is there once this is in Datadog.
    pub fn contents_once_put(&self) -> Contents {
        let stay = self.entries.iter().enumerate().filter(|(place, _)| !self.removed.contains_key(place));
        let entries = stay.map(|(_, (key, _))| key).chain(self.added.keys()).cloned().collect();
        Contents { entries, ..self.contents() }
    }

    /// The entries that are ours once this is in Datadog.
    pub fn ours(&self) -> BTreeSet<EntryKey> {
        let gone = self.removed.iter().filter(|(place, key)| self.places.get(*key) == Some(*place));
        let gone: BTreeSet<&EntryKey> = gone.map(|(_, key)| key).collect();
        let stay = self.ours.iter().filter(|key| !gone.contains(key));
        stay.chain(self.added.keys()).cloned().collect()
    }

    /// Holds what is too much to be removed without a person: more entries than the limits allow, together with the `done`
    /// removals of the window, or all of them, since an empty list may mean *all*. What is `held` already stays so until
    /// it is approved or wanted again.
    pub fn guard(
        mut self,
        limits: &Limits,
        done: usize,
        held: &BTreeMap<EntryKey, HoldReason>,
        approved: &BTreeSet<EntryKey>,
    ) -> Self {
        let population = match self.mode {
            DocumentMode::Additive => self.ours.len() + done,
            DocumentMode::Exclusive => self.entries.len() + done,
        };
        let waits: BTreeSet<EntryKey> =
            self.removed.values().filter(|key| !approved.contains(key)).cloned().collect();
        let (removals, left) = (waits.len() + done, self.left());
        let reason = if removals > limits.max_removals {
            let why = format!("{removals} removals exceed `guard.max_removals` ({})", limits.max_removals);
            Some(HoldReason::new(HoldRule::MaxRemovals, why))
        } else if population > limits.above && removals as f64 > population as f64 * limits.max_share {
            let share = limits.max_share;
            let why =
                format!("{removals} removals of {population} entries exceed `guard.max_share` ({share})");
            Some(HoldReason::new(HoldRule::MaxShare, why))
        } else {
            let why = "it would leave the list empty, which may mean all";
            (left == 0).then(|| HoldReason::new(HoldRule::EmptyList, why))
        };
        for key in waits {
            if let Some(reason) = held.get(&key).or(reason.as_ref()) {
                self.held.insert(key, reason.clone());
            }
        }
        let held = &self.held;
        self.removed.retain(|_, key| !held.contains_key(key));
        self
    }

    /// Holds everything that is not approved: what was read may not be so, and a PUT would make it so.
    pub fn hold_all(
        mut self,
        reason: &HoldReason,
        approved_removals: &BTreeSet<EntryKey>,
        approved_additions: &BTreeSet<EntryKey>,
    ) -> Self {
        self.corrected.clear();
        let removed = self.removed.extract_if(.., |_, key| !approved_removals.contains(key));
        self.held.extend(removed.map(|(_, key)| (key, reason.clone())));
        let added = self.added.extract_if(.., |key, _| !approved_additions.contains(key));
        self.held_additions.extend(added.map(|(key, entry)| (key, (entry, reason.clone()))));
        self
    }

    /// The removals that need a slot of the guard's window each: those that nobody approved.
    pub fn slots_needed(&self, approved: &BTreeSet<EntryKey>) -> BTreeSet<EntryKey> {
        self.removed.values().filter(|key| !approved.contains(key)).cloned().collect()
    }

    /// Holds the removals that needed a slot and got none.
    pub fn within(mut self, refused: &BTreeSet<EntryKey>) -> Self {
        let stay = self.removed.extract_if(.., |_, key| refused.contains(key));
        let full = HoldReason::new(HoldRule::MaxPerWindow, WINDOW_IS_FULL);
        self.held.extend(stay.map(|(_, key)| (key, full.clone())));
        self
    }
}

#[cfg(test)]
mod tests;
