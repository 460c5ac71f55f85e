//! A map that remembers how it was: every row keeps its past versions for [`HORIZON_US`], so that a reader may
//! ask for the table as of an earlier moment (`stale_ms`). A write costs one row, whatever the size of the world.
//!
//! Moments are microseconds since the unix epoch and must not go backwards between two writes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeBounds;
use std::sync::Arc;

/// How far back a table can be read; older questions are answered with the oldest version kept.
pub(crate) const HORIZON_US: u64 = 120_000_000;

/// "As of now": later than any write.
pub(crate) const NOW: u64 = u64::MAX;

/// Rows by key, each with its recent past.
pub(crate) struct Table<K, V> {
    rows: BTreeMap<K, Row<V>>,
    /// Removed rows, oldest first: they leave the map once nobody can ask for them any more.
    dead: VecDeque<(u64, K)>,
}

struct Version<V> {
    since: u64,
    value: Option<Arc<V>>,
}

struct Row<V> {
    latest: Version<V>,
    /// Oldest first; empty for most rows, and then without an allocation.
    past: Vec<Version<V>>,
}

impl<V> Row<V> {
    fn at(&self, at: u64) -> Option<&Arc<V>> {
        if self.latest.since <= at {
            return self.latest.value.as_ref();
        }
        self.past.iter().rev().find(|version| version.since <= at)?.value.as_ref()
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), dead: VecDeque::new() }
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// The row as of `at`.
    pub(crate) fn get(&self, key: &K, at: u64) -> Option<&Arc<V>> {
        self.rows.get(key)?.at(at)
    }

    /// Whether the row is there now.
    pub(crate) fn has(&self, key: &K) -> bool {
        self.get(key, NOW).is_some()
    }

    /// The rows of a range as of `at`, by key.
    pub(crate) fn range(
        &self,
        range: impl RangeBounds<K>,
        at: u64,
    ) -> impl DoubleEndedIterator<Item = (&K, &Arc<V>)> {
        self.rows.range(range).filter_map(move |(key, row)| Some((key, row.at(at)?)))
    }

    /// Every row as of `at`, by key.
    pub(crate) fn iter(&self, at: u64) -> impl DoubleEndedIterator<Item = (&K, &Arc<V>)> {
        self.range(.., at)
    }

    /// Writes a row at the moment `now`.
    pub(crate) fn put(&mut self, key: K, value: V, now: u64) {
        self.write(key, Some(Arc::new(value)), now);
    }

    /// Removes a row at the moment `now`; a row that is not there stays so.
    pub(crate) fn remove(&mut self, key: &K, now: u64) {
        if self.has(key) {
            self.dead.push_back((now, key.clone()));
            self.write(key.clone(), None, now);
        }
    }

    fn write(&mut self, key: K, value: Option<Arc<V>>, now: u64) {
        self.bury(now);
        let latest = Version { since: now, value };
        match self.rows.get_mut(&key) {
            None => {
                self.rows.insert(key, Row { latest, past: Vec::new() });
            }
            Some(row) => {
                let before = std::mem::replace(&mut row.latest, latest);
                row.past.push(before);
                let horizon = now.saturating_sub(HORIZON_US);
                // The last version older than the horizon is still what was true at the horizon.
                let outdated = row.past.iter().filter(|version| version.since <= horizon).count();
                row.past.drain(..outdated.saturating_sub(1));
            }
        }
    }

    fn bury(&mut self, now: u64) {
        let horizon = now.saturating_sub(HORIZON_US);
        while self.dead.front().is_some_and(|(since, _)| *since < horizon) {
            let Some((since, key)) = self.dead.pop_front() else { return };
            if self.rows.get(&key).is_some_and(|row| row.latest.since == since && row.latest.value.is_none())
            {
                self.rows.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rows_as_they_were() {
        let mut table = Table::default();
        table.put("a", 1, 10);
        table.put("a", 2, 20);
        table.remove(&"a", 30);
        table.put("a", 3, 40);
        let seen: Vec<_> = [5, 10, 19, 20, 30, 39, 40, NOW].map(|at| table.get(&"a", at).map(|v| **v)).into();
        assert_eq!(seen, [None, Some(1), Some(1), Some(2), None, None, Some(3), Some(3)]);
        assert_eq!(table.iter(25).count(), 1);
        assert_eq!(table.iter(35).count(), 0);
    }

    #[test]
    fn forgets_what_nobody_can_ask_for() {
        let mut table = Table::default();
        for n in 0..1000 {
            table.put("busy", n, n);
        }
        table.put("gone", 1, 1000);
        table.remove(&"gone", 1001);
        table.put("busy", 1, 1002 + HORIZON_US);
        table.put("busy", 2, 1003 + HORIZON_US);
        assert_eq!(table.rows.len(), 1);
        assert_eq!(table.rows["busy"].past.len(), 2);
    }
}
