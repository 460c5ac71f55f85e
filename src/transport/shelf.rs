//! The pages of lists that could not be read to their end, until somebody goes on with them: under a rate limit, a list
//! may need more pages than one window allows, and whoever waits for the next window holds nothing meanwhile.

use std::{
    any::Any,
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Clock;

/// A list that was begun longer ago than this begins again. Both upstreams' longest window is an hour.
const KEPT_FOR: Duration = Duration::from_secs(2 * 3600);

/// Pages of all lists together; the list that was put aside first goes first.
const MOST_PAGES: usize = 4_000;

/// What is kept for one upstream. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    clock: Clock,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    lists: Vec<Begun>,
    /// Lists whose wrong totals were reported.
    reported: HashSet<&'static str>,
}

struct Begun {
    query: String,
    at: Duration,
    pages: usize,
    reading: Box<dyn Any + Send>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("lists", &self.lists.len()).finish_non_exhaustive()
    }
}

impl Shelf {
    /// An empty one that goes by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, kept: Arc::default() }
    }

    /// Forgets what was begun, since it would be another list now: all of it, or what was asked by this query.
    pub fn forget(&self, query: Option<&str>) {
        self.kept().lists.retain(|begun| query.is_some_and(|query| begun.query != query));
    }

    /// The monotonic time.
    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Takes what was begun by this query, if it is not too old.
    pub(super) fn take<R: 'static>(&self, query: &str) -> Option<R> {
        let now = self.now();
        let lists = &mut self.kept().lists;
        lists.retain(|begun| begun.at + KEPT_FOR > now);
        let at = lists.iter().position(|begun| begun.query == query)?;
        lists.remove(at).reading.downcast().ok().map(|reading| *reading)
    }

    /// Puts aside what was begun at `at` by this query.
    pub(super) fn put<R: Send + 'static>(&self, query: String, at: Duration, pages: usize, reading: R) {
        let lists = &mut self.kept().lists;
        lists.retain(|begun| begun.query != query);
        lists.push(Begun { query, at, pages, reading: Box::new(reading) });
        while lists.len() > 1 && lists.iter().map(|begun| begun.pages).sum::<usize>() > MOST_PAGES {
            lists.remove(0);
        }
    }

    /// Whether a wrong total of this list was never reported before.
    pub(super) fn is_news(&self, list: &'static str) -> bool {
        self.kept().reported.insert(list)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;

    #[test]
    fn what_was_begun_is_taken_once_while_it_is_young_and_there_is_room() {
        let clock = Clock::simulated(Time(0), 1);
        let shelf = Shelf::new(clock.clone());
        shelf.put("a".into(), shelf.now(), 3, 1_u8);
        shelf.put("b".into(), shelf.now(), MOST_PAGES - 3, 2_u8);
        assert_eq!((shelf.take::<u8>("b"), shelf.take::<u8>("b")), (Some(2), None));
        shelf.put("c".into(), shelf.now(), MOST_PAGES, 3_u8);
        assert_eq!(shelf.take::<u8>("a"), None, "the oldest goes");
        clock.advance(KEPT_FOR);
        assert_eq!(shelf.take::<u8>("c"), None, "too old");
    }

    #[test]
    fn what_would_be_another_list_now_is_forgotten() {
        let shelf = Shelf::default();
        for query in ["a", "b"] {
            shelf.put(query.into(), shelf.now(), 1, 1_u8);
        }
        shelf.forget(Some("a"));
        assert_eq!((shelf.take::<u8>("a"), shelf.take::<u8>("b")), (None, Some(1)));
        shelf.put("b".into(), shelf.now(), 1, 1_u8);
        shelf.forget(None);
        assert_eq!(shelf.take::<u8>("b"), None);
    }
}
